"""How a port of each host is made ready and started: the only place that knows the differences.

prepare() builds what must be built and says what is missing; command() and environment() start it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy
from pygments.lexers import get_lexer_for_filename
from pygments.token import Comment, String
from pygments.util import ClassNotFound

from portbench import blame, cache, session
from portbench.errors import PortFailure, meant
from portbench.hosts import build, environment, julia, uses
from portbench.hosts.environment import search_path
from portbench.hosts.uses import Uses
from portbench.manifest import Manifest, Port
from portbench.protocol import SILENCE, RunningPort


@dataclass(frozen=True)
class Ready:
    """A port that can be started."""

    port: Port
    manifest: Manifest
    command: list[str]
    sources_hash: str
    toolchain: str  # what the toolchain's version command printed, first line
    build_seconds: float | None = None  # of the build that made it, perhaps long ago
    build_command: str = ""
    uses: Uses = field(default_factory=Uses)  # beside its sources
    beside: float = 0.0  # part of steps that it runs beside those that count (timing/selfcheck.py)

    def environment(self, threads: int) -> dict[str, str]:
        count = threads if self.port.threads else 1
        kernels = build.cache_folder() / "numba" / self.sources_hash[:16]
        cache.used(kernels)
        own = {"NUMBA_CACHE_DIR": str(kernels)}
        if self.port.host == "julia":
            own |= julia.environment(count)
        return environment.of_a_port(count, own | self.port.environment)

    def identity(self, before: dict[str, str] | None = None) -> dict[str, str]:
        """All that decides what runs, each part by a name under which it can be said to have changed; with the
        identity of a certificate, of the packages and files that were used `before`.
        """
        return {
            "sources": self.sources_hash,
            "toolchain": self.toolchain,
            "processor": build.processor(),
            "environment": build.hash_text(environment.passed()),
            **self.uses.identity(before),
        }


def missing(manifest: Manifest, port: Port) -> str:
    """One sentence on what this port lacks here and how to get it; empty if nothing."""
    get = f": {port.install}" if port.install else ": install it, or correct the manifest"
    for name in port.requires:
        if find_spec(name.partition(".")[0]) is None:
            return f"the Python package {name} is not installed{get}"
    if port.host == "julia":
        lack = julia.missing(manifest.root / port.project, get)
        if lack:
            return lack
    if port.host == "executable":
        tool = (port.build or port.run)[0]
        found = "{output}" in tool or (manifest.root / tool).is_file()
        if not found and not shutil.which(program(manifest.root, tool), path=search_path()):
            return f"the {'compiler' if port.build else 'program'} {tool} is not on the PATH{get}"
    return ""


def broken(manifest: Manifest, port: Port) -> str:
    """One sentence on what the manifest says of this port and is not so; empty if nothing."""
    if port.host == "julia" and (said := julia.broken(manifest.root / port.project)):
        return said
    if port.host == "python" and (said := blame.no_module(port.module.partition(":")[0], manifest.python_path())):
        return f"{said} (its `module` in the manifest)"
    for source in port.sources:
        if not (manifest.root / source).exists():
            beside = [os.path.relpath(path, manifest.root) for path in (manifest.root / source).parent.glob("*")]
            return f"its source {source} does not exist in {manifest.root}{meant(source, sorted(beside))}"
    if not source_files(manifest.root, port.sources):
        return f"its sources, {', '.join(port.sources)}, hold no file"
    return ""


def program(root: Path, word: str) -> str:
    """The program that a command of the manifest begins with: a file beside the manifest, or one on the PATH; Python
    is this one where there is no other.
    """
    if (root / word).is_file():
        return str(root / word)
    if word in ("python", "python3") and not shutil.which(word, path=search_path()):
        return sys.executable
    return word


def toolchain_of(manifest: Manifest, port: Port) -> str:
    """What the port's tools say of themselves. PortFailure, as prepare() raises it, if they are not as they should."""
    for kind, lack in (("missing", missing(manifest, port)), ("broken", broken(manifest, port))):
        if lack:
            raise PortFailure(kind, lack)
    return _version(manifest, port)


def prepare(manifest: Manifest, port: Port) -> Ready:
    """Build the port if need be. PortFailure in one sentence if it cannot be: "missing" where something is not
    installed, "broken" where what is there does not work.
    """
    toolchain = toolchain_of(manifest, port)
    sources = source_files(manifest.root, port.sources)
    if port.host == "executable":
        digest = build.hash_sources(manifest, port, toolchain, sources)
        made = build.executable(manifest, port, digest)
        return Ready(port, manifest, made.command, digest, toolchain, made.seconds, made.shell_command)
    worker = [sys.executable, "-m", "portbench.worker", "--host", port.host, f"--port={port.name}"]
    worker += [f"--spec={manifest.project.spec}", "--precision", port.numbers, f"--module={port.module}"]
    worker += ["--root", str(manifest.root)]
    if port.project:
        worker += ["--project", str((manifest.root / port.project).resolve()), "--packages", *port.packages]
    for folder in manifest.python_path():
        worker += ["--path", str(folder)]
    used = uses.while_it_runs(worker, sources)
    if port.host == "python" and port.name in manifest.ports:
        used = uses.of_port(worker, sources, manifest.root, environment.of_a_port(1, port.environment))
    digest = build.hash_sources(manifest, port, toolchain, sorted({*sources, *used.imported}))
    seconds = julia.prepare(worker, digest, port.environment) if port.host == "julia" else None
    return Ready(port, manifest, worker, digest, toolchain, seconds, uses=used)


def start(
    ready: Ready,
    threads: int,
    timeout: float,
    environment: dict[str, str] | None = None,
    processors: Sequence[int] = (),
    witness: bool = False,
) -> RunningPort:
    """Start a port's process, in the manifest's folder; no command may take longer than `timeout` seconds. A
    `witness` keeps what it uses beside its sources: not in a process that is timed.
    """
    given = ready.environment(threads) | (environment or {})
    # Python imports and Julia compiles, perhaps from a net, before the first reply
    silence = SILENCE if ready.port.host == "executable" else timeout
    seen = ["--used", str(ready.uses.later)] if witness and ready.uses.later else []
    command = [*ready.command, *seen]
    return RunningPort(ready.port.name, command, given, ready.manifest.root, timeout, processors, silence)


def _version(manifest: Manifest, port: Port) -> str:
    if port.host == "julia":
        return julia.version()
    if not port.version:
        own = f"Python {sys.version.split()[0]}, NumPy {numpy.__version__}"
        return own if port.host != "executable" else "unknown: the manifest gives no `version` command"
    command = [program(manifest.root, port.version[0]), *port.version[1:]]
    words = " ".join(port.version)
    try:
        said = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            cwd=manifest.root,
            env=environment.known(port.environment),
        )
    except FileNotFoundError:
        raise PortFailure("missing", f"`{words}` does not run: there is no {port.version[0]}") from None
    except OSError as error:
        raise PortFailure("broken", f"`{words}` does not run: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise PortFailure("broken", f"`{words}` was still running after 60 s") from None
    lines = said.stdout.strip().splitlines()
    if said.returncode or not lines:
        last = (said.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise PortFailure("broken", f"`{words}` ended with exit status {said.returncode}: {last[:300]}", said.stderr)
    return lines[0]


def code_lines(files: list[Path]) -> int:
    """Lines that hold more than comments, documentation and other strings; of files in no known language, none."""
    lines = set()
    for file in files:
        try:
            lexer = get_lexer_for_filename(file.name)
            text = file.read_text(encoding="utf-8")
        except (ClassNotFound, UnicodeDecodeError):
            continue
        if file.suffix == ".toml":  # what a package needs, not what it does
            continue
        line = 0
        for kind, token in lexer.get_tokens(text):
            said = kind in String or (kind in Comment and kind not in Comment.Preproc)  # #include is code
            if token.strip() and not said:
                lines.add((file, line))
            line += token.count("\n")
    return len(lines)


def source_files(root: Path, sources: list[str]) -> list[Path]:
    """The files that a manifest's `sources` name: files as they are, folders with all that a person wrote in them."""
    found: list[Path] = []
    for source in sources:
        path = Path(os.path.normpath(root / source))
        found += _written_in(path, root / "results") if path.is_dir() else [path] if path.is_file() else []
    return sorted(set(found))


def _written_in(folder: Path, results: Path) -> Iterator[Path]:
    """Without caches, virtual environments, version control, compiled objects, and sessions of portbench's own: a
    certificate would be stale as soon as it is made.
    """
    cache = build.cache_folder()
    for here, folders, files in os.walk(folder):
        inside = {name: Path(here, name) for name in folders}
        folders[:] = [
            name
            for name, path in inside.items()
            if name not in (".git", ".hg", ".svn", "__pycache__")
            and path not in (results, cache)
            and not any((path / mark).exists() for mark in ("CACHEDIR.TAG", "pyvenv.cfg"))
        ]
        for name in files:
            if not name.endswith((".pyc", ".o", ".obj")) and not session.looks_like_a_file_of_one(name):
                yield Path(here, name)

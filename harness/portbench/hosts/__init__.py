"""How a port of each host is made ready and started: the only place that knows the differences.

prepare() builds what must be built and says what is missing; command() and environment() start it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy
from pygments.lexers import get_lexer_for_filename
from pygments.token import Comment, String
from pygments.util import ClassNotFound

from portbench.errors import PortFailure
from portbench.hosts import build, julia, memory
from portbench.manifest import Manifest, Port
from portbench.protocol import RunningPort


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
    beside: float = 0.0  # part of steps that it runs beside those that count (timing/selfcheck.py)

    def environment(self, threads: int) -> dict[str, str]:
        count = str(threads if self.port.threads else 1)
        changed = {
            "PATH": search_path(),
            "PORTBENCH_THREADS": count,
            "OMP_NUM_THREADS": count,
            "OPENBLAS_NUM_THREADS": count,
            "MKL_NUM_THREADS": count,
            "NUMBA_NUM_THREADS": count,
            "NUMBA_CACHE_DIR": str(build.cache_folder() / "numba" / self.sources_hash[:16]),
            **memory.ENVIRONMENT,
            "MODULAR_TELEMETRY_ENABLED": "false",
            "MODULAR_CRASH_REPORTING_ENABLED": "false",
            "PYTHONUNBUFFERED": "1",
        }
        if self.port.host == "julia":
            changed |= julia.environment(int(count))
        return {**os.environ, **changed, **self.port.environment}


def search_path() -> str:
    """PATH with this Python's own programs first: the mojo of this environment, not of another."""
    return os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])


def missing(manifest: Manifest, port: Port) -> str:
    """One sentence on what this port lacks here and how to get it; empty if nothing."""
    get = f": {port.install}" if port.install else ""
    for name in port.requires:
        if find_spec(name.partition(".")[0]) is None:
            return f"the Python package {name} is not installed{get}"
    if port.host == "julia":
        lack = julia.missing(manifest.root / port.project, get)
        if lack:
            return lack
    if port.host == "executable":
        tool = (port.build or port.run)[0]
        if (
            "{output}" not in tool
            and not shutil.which(tool, path=search_path())
            and not (manifest.root / tool).exists()
        ):
            return f"the {'compiler' if port.build else 'program'} {tool} is not on the PATH{get}"
    for source in port.sources:
        if not (manifest.root / source).exists():
            return f"its source {source} does not exist in {manifest.root}"
    if not source_files(manifest.root, port.sources):
        return f"its sources, {', '.join(port.sources)}, hold no file"
    return ""


def prepare(manifest: Manifest, port: Port) -> Ready:
    """Build the port if need be. PortFailure("missing") in one sentence if it cannot be."""
    lack = missing(manifest, port)
    if lack:
        raise PortFailure("missing", lack)
    toolchain = toolchain_version(manifest, port)
    digest = build.hash_sources(manifest, port, toolchain)
    if port.host == "executable":
        made = build.executable(manifest, port, digest, search_path())
        return Ready(port, manifest, made.command, digest, toolchain, made.seconds, made.shell_command)
    worker = [sys.executable, "-m", "portbench.worker", "--host", port.host, "--port", port.name]
    worker += ["--spec", manifest.project.spec, "--precision", port.precision, "--module", port.module]
    if port.project:
        worker += ["--project", str((manifest.root / port.project).resolve()), "--packages", *port.packages]
    for folder in manifest.python_path():
        worker += ["--path", str(folder)]
    seconds = julia.prepare(worker, digest, port.environment) if port.host == "julia" else None
    return Ready(port, manifest, worker, digest, toolchain, seconds)


def start(
    ready: Ready,
    threads: int,
    timeout: float,
    environment: dict[str, str] | None = None,
    processors: Sequence[int] = (),
) -> RunningPort:
    """Start a port's process, in the manifest's folder; no command may take longer than `timeout` seconds."""
    given = ready.environment(threads) | (environment or {})
    return RunningPort(ready.port.name, ready.command, given, Path(ready.manifest.root), timeout, processors)


def toolchain_version(manifest: Manifest, port: Port) -> str:
    if port.host == "julia":
        return julia.version()
    if not port.version:
        own = f"Python {sys.version.split()[0]}, NumPy {numpy.__version__}"
        return own if port.host != "executable" else "unknown: the manifest gives no `version` command"
    try:
        said = subprocess.run(
            port.version,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=manifest.root,
            env={**os.environ, "PATH": search_path(), "MODULAR_TELEMETRY_ENABLED": "false"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PortFailure("missing", f"`{' '.join(port.version)}` does not run: {error}") from None
    lines = said.stdout.strip().splitlines()
    if said.returncode or not lines:
        raise PortFailure("missing", f"`{' '.join(port.version)}` ended with exit status {said.returncode}")
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
    """The files that a manifest's `sources` name: files as they are, folders with all that is in them."""
    found: list[Path] = []
    for source in sources:
        path = root / source
        inside = path.rglob("*") if path.is_dir() else [path]
        found += [p for p in inside if p.is_file() and "__pycache__" not in p.parts and p.suffix != ".pyc"]
    return sorted(set(found))

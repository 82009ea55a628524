"""What a Python-hosted port uses beside the `sources` of its manifest: modules and files of the project, packages.

Found by importing it once in a worker with a witness, and kept until one of these changes. What it imports or reads
only when it runs is found while it is checked.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from portbench import cache
from portbench.hosts import build
from portbench.protocol import die_with_the_harness

LONGEST_IMPORT = 600  # seconds
PACKAGES, FILES = "packages", "files that it reads"  # the names in a certificate's identity


@dataclass(frozen=True)
class Uses:
    sources: list[Path] = field(default_factory=list)
    imported: list[Path] = field(default_factory=list)  # with the port, and not among the sources
    packages: list[str] = field(default_factory=list)
    later: Path | None = None  # where a witness keeps what is used so far

    def identity(self, before: dict[str, str] | None = None) -> dict[str, str]:
        """What it was seen to use, as it is now; or, of a certificate's identity, what was used `before`."""
        if before is not None:
            packages = [text.rpartition(" ")[0] for text in before.get(PACKAGES, "").split(", ")]
            files = [Path(name) for name, _ in json.loads(before.get(FILES, "[]"))]
        else:
            found = _read(self.later) if self.later else {}
            packages = [*self.packages, *found.get("packages", [])]
            files = sorted({*map(Path, found.get("files", []))} - {*self.sources, *self.imported})
        return {PACKAGES: _versions(packages), FILES: json.dumps(contents(files))}


def of_port(worker: list[str], sources: list[Path], root: Path, given: dict[str, str]) -> Uses:
    """`given` is the environment in which the worker starts. A port that cannot be imported uses nothing: that it
    cannot is for the ladder to find.
    """
    record = _folder() / f"{build.hash_text(worker)[:24]}.json"

    def now(found: dict[str, Any]) -> str:
        files = contents(sorted({*sources, *map(Path, found["files"])}))
        return build.hash_text(files, _versions(found["packages"]))

    found = _read(record)
    cache.used(record)
    if not found or found.get("digest") != now(found):
        seen = record.with_name(f"{record.stem}-{os.getpid()}-import.json")  # the record is whole or not there
        try:
            found = _imported([*worker, "--used", str(seen), "--import-only"], seen, root, given)
        finally:
            seen.unlink(missing_ok=True)
        if not found:
            return while_it_runs(worker, sources)
        found["digest"] = now(found)
        build.write_whole(record, json.dumps(found))
    imported = sorted({*map(Path, found["files"])} - {*sources})
    return replace(while_it_runs(worker, sources), imported=imported, packages=found["packages"])


def while_it_runs(worker: list[str], sources: list[Path]) -> Uses:
    """Of a port that is not imported beforehand."""
    later = _folder() / f"{build.hash_text(worker)[:24]}-{os.getpid()}.json"
    atexit.register(later.unlink, missing_ok=True)
    return Uses(sources, later=later)


def _folder() -> Path:
    folder = build.cache_folder() / "uses"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def contents(files: Iterable[Path]) -> list[tuple[str, str]]:
    """Each file's path and the hash of what is in it."""
    return [(str(p), hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "gone") for p in files]


def _imported(command: list[str], record: Path, root: Path, given: dict[str, str]) -> dict[str, Any]:
    """Without compiling what Numba would compile at import, if it can be imported so."""
    record.unlink(missing_ok=True)
    for how in ({"NUMBA_DISABLE_JIT": "1"}, {"NUMBA_CACHE_DIR": str(build.cache_folder() / "numba" / "import")}):
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                command,
                cwd=root,
                env=given | how,
                timeout=LONGEST_IMPORT,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                start_new_session=True,
                preexec_fn=die_with_the_harness,
            )
        if record.is_file():
            break
    return _read(record)


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _versions(packages: Iterable[str]) -> str:
    return ", ".join(f"{name} {_version(name)}" for name in sorted({*packages} - {""}))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "gone"

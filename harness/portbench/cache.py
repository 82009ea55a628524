"""The cache knows its size: what is in it, and what goes when it grows beyond what it may hold.

An entry is what is made and used as a whole: a twin's answer, the questions of a case, a build, the kernels of a port,
a certificate. The one that was not used for longest goes first, and none that a running command uses.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from portbench import places
from portbench.errors import Refusal

DEFAULT_SIZE = 2_000_000_000  # bytes
# What the folders in it hold.
PARTS = {
    "twins": "answers of the specification and its rounding twins",
    "questions": "what ports are asked, made of these",
    "build": "programs, and records of prepared Julia packages",
    "numba": "what Numba compiled",
    "certificates": "what was proved of ports",
    "uses": "what ports import",
}
_UNITS = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# This is a cache of portbench: see `portbench cache`.\n"
_held: IO[str] | None = None
_begun = 0.0


@dataclass(frozen=True)
class Entry:
    part: str
    path: Path  # a file or a folder
    size: int  # bytes on disk
    used: float  # when it was last used, seconds since the epoch


@dataclass(frozen=True)
class Part:
    name: str
    what: str
    entries: int
    size: int  # bytes
    oldest: float | None  # seconds since the use that is longest ago
    newest: float | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def hold() -> None:
    """Use the cache until this process ends: no other prunes it meanwhile. Refusal where it cannot be written."""
    global _held, _begun
    limit()
    if _held:
        return
    places.check_cache()
    folder = places.cache_folder()
    tag = folder / "CACHEDIR.TAG"
    if not tag.is_file():
        tag.write_text(_TAG, encoding="utf-8")
    _begun = time.time() - 1  # the clock of a file system ticks more slowly
    _held = (folder / "lock").open("a")
    fcntl.flock(_held, fcntl.LOCK_SH)


def tidy() -> None:
    """At the end of a command that held it: back to its size."""
    if _held:
        with suppress(OSError):  # what cannot be removed now will be another time
            _shrink(limit(), before=_begun)


def prune(size: int) -> int:
    """Remove what was not used for longest until no more than `size` bytes are left; the bytes that went."""
    hold()
    removed = _shrink(size, before=None)
    if removed is None:
        raise Refusal("Another portbench is running and uses the cache: wait until it has ended")
    return removed


def limit() -> int:
    """Bytes that the cache may hold: PORTBENCH_CACHE_SIZE, such as 500MB."""
    given = os.environ.get("PORTBENCH_CACHE_SIZE", "")
    if not given.strip():
        return DEFAULT_SIZE
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", given.strip().lower())
    if not found:
        raise Refusal(f"PORTBENCH_CACHE_SIZE {given} must be a size, such as 500MB or 2GB")
    return int(float(found[1]) * _UNITS[found[2]])


def parts() -> list[Part]:
    every, now = list(entries()), time.time()
    made = []
    for name, what in PARTS.items():
        mine = [e for e in every if e.part == name]
        ages = [max(0.0, now - e.used) for e in mine]
        made.append(
            Part(name, what, len(mine), sum(e.size for e in mine), max(ages, default=None), min(ages, default=None))
        )
    return made


def entries() -> Iterator[Entry]:
    for part in PARTS:
        folder = places.cache_folder() / part
        if part == "twins":  # joblib keeps each answer in a folder of its own
            units = [
                Path(here) for here, _, files in os.walk(folder) if "output.pkl" in files or "metadata.json" in files
            ]
        elif part == "certificates":  # in a folder for each project
            units = [path for path in folder.rglob("*") if path.is_file()]
        else:
            units = [path for path in folder.glob("*") if not path.name.endswith(".lock")]
        for path in units:
            files = [path, *path.rglob("*")] if path.is_dir() else [path]
            with suppress(OSError):  # another command may have removed it
                facts = [file.stat() for file in files]
                # to look into a folder counts as a use of it, but for this
                touched = [f.st_mtime if stat.S_ISDIR(f.st_mode) else max(f.st_mtime, f.st_atime) for f in facts]
                yield Entry(part, path, sum(f.st_blocks * 512 for f in facts), max(touched))


def used(path: Path) -> None:
    """Say that an entry is used now; a file says still when it was made."""
    with suppress(OSError):
        now = time.time_ns()
        os.utime(path, ns=(now, now if path.is_dir() else path.stat().st_mtime_ns))


def _shrink(size: int, before: float | None) -> int | None:
    """None if another command uses the cache; with `before`, what was used since then stays."""
    assert _held
    try:
        fcntl.flock(_held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return None
    every = sorted(entries(), key=lambda e: e.used)
    total, removed = sum(e.size for e in every), 0
    for entry in every:
        if total - removed <= size or (before is not None and entry.used >= before):
            break
        if entry.path.is_dir():
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            entry.path.unlink(missing_ok=True)
        removed += entry.size
    fcntl.flock(_held, fcntl.LOCK_SH)
    return removed

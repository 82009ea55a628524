"""The folders that portbench writes to, and what to say where one of them cannot be written."""

from __future__ import annotations

import errno
import os
import tempfile
import traceback
from pathlib import Path

from portbench.errors import Refusal

_PROBE = 1 << 18  # bytes; less room than this is none
_OF_THE_MACHINE = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "EMFILE", "ENFILE", "ENOMEM", "EAGAIN", "EFBIG")
}


def cache_folder() -> Path:
    """Where builds, twins and compiled kernels are kept: PORTBENCH_CACHE, or the user's cache folder."""
    import platformdirs

    named = os.environ.get("PORTBENCH_CACHE")
    return Path(named).expanduser().absolute() if named else platformdirs.user_cache_path("portbench")


def check_cache() -> None:
    """Refusal where nothing can be kept in the cache."""
    why = _why_not(cache_folder())
    if why:
        raise Refusal(_cannot("cache folder", cache_folder(), why, "PORTBENCH_CACHE"))


def no_room(error: OSError) -> Refusal:
    """Of a failure to write temporary files."""
    why = error.strerror or "No space left on device"  # NumPy's own for a write that was cut short
    folder = Path(error.filename).parent if error.filename else Path(os.environ.get("TMPDIR") or tempfile.gettempdir())
    return Refusal(_cannot("folder for temporary files", folder, why, "TMPDIR"))


def complaint(error: OSError) -> str:
    """One sentence on a machine that has not got what it takes; empty if the error is of another kind."""
    if error.errno not in _OF_THE_MACHINE:
        return ""
    temporary = Path(os.environ.get("TMPDIR") or tempfile.gettempdir())
    for what, folder, variable in (
        ("cache folder", cache_folder(), "PORTBENCH_CACHE"),
        ("folder for temporary files", temporary, "TMPDIR"),
    ):
        inside = bool(error.filename) and Path(os.fsdecode(error.filename)).absolute().is_relative_to(folder)
        why = error.strerror if inside else "" if error.filename else _why_not(folder)
        if why:
            return _cannot(what, folder, why, variable)
    return f"{error.filename or 'The system'}: {error.strerror}"


def keep_traceback(error: BaseException) -> str:
    """The file that holds it now, or why there is none."""
    try:
        handle, name = tempfile.mkstemp(prefix="portbench-defect-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.writelines(traceback.format_exception(error))
    except OSError as why:
        return f"(no file could be written: {why.strerror or why})"
    return name


def _cannot(what: str, folder: Path, why: str, variable: str) -> str:
    return (
        f"The {what}, {folder}, cannot be written ({why}): make room in it, or set {variable} to a folder that has some"
    )


def _why_not(folder: Path) -> str:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(_PROBE))
    except OSError as error:
        return error.strerror or str(error)
    return ""

"""What a port's worker uses of the project: the modules that it imports, the files that it reads, the packages.

A certificate is of all that runs, whether the manifest's `sources` name it or not. Modules are found among those
that Python has loaded; libraries and other files by an audit hook, when they are opened for reading.
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
import tempfile
from contextlib import suppress
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

_INSTALLED = tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")})


class Witness:
    """From now on in this process. `folders` are the project's."""

    def __init__(self, folders: list[Path]):
        own_environment = [sys.prefix] if sys.prefix != sys.base_prefix else []
        caches = [os.environ[name] for name in ("PORTBENCH_CACHE", "NUMBA_CACHE_DIR") if os.environ.get(name)]
        self._folders = tuple(str(folder) + os.sep for folder in folders)
        self._not = (
            *_INSTALLED,
            *(folder.rstrip(os.sep) + os.sep for folder in [*own_environment, *caches, str(Path(__file__).parent)]),
            str(Path(tempfile.gettempdir(), "portbench-")),  # what the harness hands over
        )
        self._opened: set[str] = set()
        self._specification: set[str] = set()
        self._written = -1
        sys.addaudithook(self._hook)

    def port_begins(self) -> None:
        """What was used so far is the specification's, which has a hash of its own."""
        self._specification = self._files()

    def write(self, path: Path) -> None:
        """Into `path`, what was used since port_begins() if that grew."""
        grown = len(sys.modules) + len(self._opened)
        if grown == self._written:
            return
        self._written = grown
        found = {"files": sorted(self._files() - self._specification), "packages": _packages()}
        with suppress(OSError):  # a full disk is for the harness to say
            partial = path.with_suffix(f".{os.getpid()}")
            partial.write_text(json.dumps(found), encoding="utf-8")
            partial.replace(path)

    def _files(self) -> set[str]:
        modules = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
        own = {os.path.normpath(Path(name).absolute()) for name in modules if isinstance(name, str)}
        return {name for name in own | self._opened if self._is_own(name)}

    def _is_own(self, name: str) -> bool:
        parts = Path(name).parts
        installed = "site-packages" in parts or "dist-packages" in parts or "__pycache__" in parts
        return not installed and not name.startswith(self._not) and not name.endswith(".pyc")

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            name, mode, flags = arguments
            reads = not isinstance(flags, int) or flags & os.O_ACCMODE == os.O_RDONLY
            if not reads or (isinstance(mode, str) and any(c in mode for c in "wax+")):
                return
        elif event == "ctypes.dlopen":
            (name,) = arguments
        else:
            return
        if isinstance(name, bytes):
            name = os.fsdecode(name)
        if isinstance(name, (str, os.PathLike)):
            full = os.path.normpath(Path(name).absolute())
            if full.startswith(self._folders) and Path(full).is_file():
                self._opened.add(full)


def _packages() -> list[str]:
    """The distributions of which a module is loaded."""
    of = packages_distributions()
    top = {name.partition(".")[0] for name in list(sys.modules)}
    return sorted({one for name in top for one in of.get(name, [])} - {"portbench"})

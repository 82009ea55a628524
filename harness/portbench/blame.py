"""Where in a person's own files an error arose, and what it says, in one line.

An error is raised wherever it is noticed, often deep in a package; what is to be mended is the last of the person's own
lines on the way there. Of a kernel that Numba cannot compile that line stands only in Numba's words.
"""

from __future__ import annotations

import importlib.util
import itertools
import linecache
import re
import traceback
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

from portbench import made_of
from portbench.errors import meant


@dataclass(frozen=True)
class Place:
    file: Path
    line: int
    text: str  # what the line says
    raised: bool = False  # whether the error was raised by this very line, and not by what it calls

    def __str__(self) -> str:
        return f"{self.file.name}, line {self.line}"


def place(error: BaseException, folders: list[Path], source: Path | None = None) -> Place | None:
    """The last line in these folders, or in this file, on the way to the error; None if it passed none of them."""
    if isinstance(error, SyntaxError) and error.filename:
        return Place(Path(error.filename), error.lineno or 0, (error.text or "").strip())
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if Path(f.filename) == source or made_of.inside(Path(f.filename), folders)]
    if not own:
        return None
    return Place(Path(own[-1].filename), own[-1].lineno or 0, (own[-1].line or "").strip(), own[-1] is frames[-1])


def own_words(error: BaseException, where: Place | None) -> bool:
    """Whether it is a ValueError that a person wrote, which is passed on as it is."""
    return isinstance(error, ValueError) and where is not None and where.raised and "raise" in where.text.split()


def first_line(error: BaseException) -> str:
    text = (error.msg if isinstance(error, SyntaxError) else str(error)).strip()
    return text.splitlines()[0].strip() if text else "without a word"


def sentence(error: BaseException, folders: list[Path]) -> str:
    """ "heat.py, line 12: NameError: name 'n' is not defined"; its own words alone where a person wrote them."""
    where = place(error, folders)
    if own_words(error, where):
        return first_line(error)
    said = f"{type(error).__name__}: {first_line(error)}"
    if type(error).__module__.startswith("numba."):
        said, where = _of_numba(error, where)
    return f"{where}: {said}" if where else said


def _of_numba(error: BaseException, where: Place | None) -> tuple[str, Place | None]:
    """Of the many lines of Numba those that say what is wrong, and the line of the kernel at which it is."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not _OF_NUMBA_ITSELF.match(line)]
    reason = lines[0] if lines else "without a word"
    if reason.endswith("for signature:") and len(lines) > 1:
        reason = f"{reason} {lines[1].removeprefix('>>> ')}"
        inner = next((a for b, a in itertools.pairwise(lines) if b.endswith("raised a specific error:")), "")
        reason += f" ({inner})" if inner else ""
    arguments = [line.removeprefix("- ") for line in lines if line.startswith("- argument ")]
    at = _AT.search(str(error))
    if at:
        where = Place(Path(at[1]), int(at[2]), linecache.getline(at[1], int(at[2])).strip())
    said = "; ".join([f"{type(error).__name__}: {reason}", *arguments])
    return f"{said}: `{where.text}`" if at and where and where.text else said, where


_OF_NUMBA_ITSELF = re.compile(r"\s*(Failed in |During: |- Resolution failure)")
_AT = re.compile(r" at (\S.*\.py) \((\d+)\)$", re.MULTILINE)


def no_module(name: str, folders: list[Path]) -> str:
    """ "there is no module heat_numb in /home/me: did you mean 'heat_numba'?"; empty if it is in these folders, or
    installed. Nothing is imported, so that of an installed package it is not known what is in it.
    """
    top, *inner = name.split(".")
    found = PathFinder.find_spec(top, [*map(str, folders)])
    if not found and top and importlib.util.find_spec(top):
        return ""
    for part in inner:
        if found and found.submodule_search_locations is not None:
            found = PathFinder.find_spec(part, list(found.submodule_search_locations))
    if found:
        return ""
    return f"there is no module {name} in {', '.join(map(str, folders))}{meant(name, sorted(_modules(folders)))}"


def _modules(folders: list[Path]) -> set[str]:
    """Names that can be imported from these folders."""
    files = [
        path.relative_to(folder) for folder in folders for depth in ("*.py", "*/*.py") for path in folder.glob(depth)
    ]
    return {".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files}

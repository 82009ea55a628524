"""Which files of its project a specification is made of, and one hash of them all: the identity by which answers,
certificates and sessions know whether it is still the same.

They are found in two ways. The text says what it imports, at any depth and inside functions too; and an audit hook
sees what is opened while the specification is imported or examined, such as a table of constants or a module whose
name is put together as it runs. Python is compared as its syntax tree without documentation, so that another
comment, docstring or line break is the same specification.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

_INSTALLED = {"site-packages", "dist-packages", "__pycache__"}
_HARNESS = Path(__file__).resolve().parent


def inside(path: Path, folders: list[Path]) -> bool:
    """Whether it is a file of the project itself, and not of a package that is installed in one of its folders."""
    path = path.resolve()
    return any(
        path.is_relative_to(folder) and not _INSTALLED & set(path.relative_to(folder).parts)
        for folder in (f.resolve() for f in folders)
    ) and not path.is_relative_to(_HARNESS)


def files(source: Path, folders: list[Path]) -> set[Path]:
    """The file itself, and those of the project that it imports, and that these import."""
    found: set[Path] = set()
    todo = [source.resolve()]
    while todo:
        path = todo.pop()
        if path in found or not path.is_file():
            continue
        found.add(path)
        todo += [package for package in [path.parent / "__init__.py"] if inside(package, folders)]
        if path.suffix == ".py":
            todo += [p for name in _imports(path) for p in _places(name, path, folders) if inside(p, folders)]
    return found


def _imports(path: Path) -> set[str]:
    """Dotted names of modules, with leading dots as in the text; of `from a import b`, b too may be a module."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            dot = "" if base.endswith(".") else "."
            names |= {base, *(f"{base}{dot}{alias.name}" for alias in node.names)}
    return names


def _places(name: str, importer: Path, folders: list[Path]) -> list[Path]:
    """Where the files of this module and of the packages around it may lie."""
    level = len(name) - len(name.lstrip("."))
    parts = [part for part in name.split(".") if part]
    bases = [importer.parents[level - 1]] if level else [*folders, importer.parent]
    found = []
    for base in bases:
        for count in range(1, len(parts) + 1):
            path = base.joinpath(*parts[:count])
            found += [path.with_suffix(".py"), path / "__init__.py"]
    return [path.resolve() for path in found if path.is_file()]


def digest(paths: set[Path], folders: list[Path]) -> str:
    """SHA-256 of these files, wherever the project lies."""
    root = folders[0].resolve()
    parts = sorted((os.path.relpath(path, root), content(path)) for path in paths)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def content(path: Path) -> str:
    """A hash of what a file says: of Python, without documentation; empty if it is there no more."""
    try:
        raw = path.read_bytes()
    except OSError:
        return ""
    return _hash(raw, path.suffix == ".py")


@cache
def _hash(raw: bytes, python: bool) -> str:
    if python:
        with suppress(SyntaxError, ValueError):
            raw = _bare(raw).encode()
    return hashlib.sha256(raw).hexdigest()


def _bare(text: bytes) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return ast.dump(tree)


@contextmanager
def watched(folders: list[Path]) -> Iterator[set[Path]]:
    """Gives the set that will hold every file of the project that this thread opens for reading inside."""
    global _hooked
    if not _hooked:
        sys.addaudithook(_hook)  # for good: a hook cannot be taken away
        _hooked = True
    names: set[str] = set()
    before, _watching.names = getattr(_watching, "names", None), names
    found: set[Path] = set()
    try:
        yield found
    finally:
        _watching.names = before
        for name in names:
            path = Path(name)
            if path.suffix == ".pyc" and path.parent.name == "__pycache__":
                path = Path(importlib.util.source_from_cache(name))
            if path.is_file() and inside(path, folders):
                found.add(path.resolve())


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    names = getattr(_watching, "names", None) if event == "open" else None
    if names is None:
        return
    path, _, flags = arguments
    if isinstance(path, (str, bytes)) and not (flags or 0) & (os.O_WRONLY | os.O_RDWR):
        names.add(str(Path.cwd() / os.fsdecode(path)))


_watching = threading.local()
_hooked = False

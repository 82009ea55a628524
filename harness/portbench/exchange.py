"""The files through which harness and port hand each other parameters and arrays (docs/protocol.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from portbench.contract import Field, Fields, Parameters
from portbench.errors import Refusal

PARAMETERS = "parameters.txt"
# Precision class -> the extension of its files, and the type in them.
_TYPES = {"float64": ("f64", "<f8"), "float64-fast": ("f64", "<f8"), "float32": ("f32", "<f4")}


class BadFiles(ValueError):
    """What lies in the folder is not what the protocol says. The text is one sentence."""


def write_parameters(folder: Path, parameters: Parameters) -> None:
    """Refusal if one of them would arrive as something else."""
    refuse_unless_carried(parameters)
    lines = [f"{name} = {text(value)}" for name, value in parameters.items()]
    (folder / PARAMETERS).write_text("\n".join(lines) + "\n", encoding="utf-8")


def refuse_unless_carried(parameters: Parameters) -> None:
    """Refusal, by its name, of the first parameter that a port would not read as what it is."""
    for name, value in parameters.items():
        if not isinstance(name, str) or not name.strip() or name != name.strip() or set(name) & set("=\n\r"):
            raise Refusal(
                f"The specification has a parameter named {name!r}: a name is a word without = and line breaks"
            )
        remedy = _not_carried(value)
        if remedy:
            raise Refusal(
                f"The specification's parameter {name} = {repr(value)[:60]} cannot be carried to a port: "
                f"{remedy} (see docs/contract.md)"
            )


def _not_carried(value: Any) -> str:
    """What to write instead; empty where reading gives back what was written."""
    if isinstance(value, tuple):
        if len(value) == 1:
            return f"a tuple of one would arrive as {text(value)}, so give it as that"
        if any(isinstance(v, (tuple, list)) for v in value):
            return "a tuple of tuples would arrive as one, so give its rows as parameters of their own"
        return next((remedy for remedy in map(_not_carried, value) if remedy), "")
    if isinstance(value, (bool, np.bool_)):
        return f"it would arrive as {text(value)}, so give it as the whole number {text(value)}"
    if isinstance(value, (int, np.integer)):
        return ""
    if isinstance(value, (float, np.floating)):
        if not np.isfinite(value):
            return "a number must be finite, so leave it out or give a large one"
        return "" if float(value) == value else "it has more digits than a float64, so round it"
    if isinstance(value, str):
        words = tuple(_value(word) for word in value.split())
        if len(words) != 1:
            return "a text must be one word, as free-slip"
        return "" if words[0] == value else f"it would arrive as the number {words[0]}, so give it as that"
    kind = type(value).__name__
    if isinstance(value, (list, set, frozenset, np.ndarray)):
        return f"it is of the type {kind}, so make it a tuple of numbers, or a field of the state"
    return f"it is of the type {kind}, so give a number, a word or a tuple of these, or leave it out"


def text(value: Any) -> str:
    """A value as the protocol writes it."""
    if isinstance(value, (tuple, list)):
        return " ".join(text(v) for v in value)
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        return repr(float(value))  # the shortest text that brings back the same bits
    return str(value)


def read_parameters(folder: Path) -> Parameters:
    path = folder / PARAMETERS
    if not path.is_file():
        raise BadFiles(f"there is no {PARAMETERS}")
    found: Parameters = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.strip():
            continue
        name, equals, text = line.partition("=")
        if not equals:
            raise BadFiles(f"{PARAMETERS} has the line '{line[:80]}', which is not 'name = value'")
        words = tuple(_value(word) for word in text.split())
        found[name.strip()] = words[0] if len(words) == 1 else words
    return found


def _value(word: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            pass
    return word


def write_fields(folder: Path, fields: Fields, precision: str = "float64") -> None:
    extension, dtype = _TYPES[precision]
    for name, array in fields.items():
        np.ascontiguousarray(array, dtype=dtype).tofile(folder / f"{name}.{extension}")


def read_fields(folder: Path, fields: dict[str, Field], parameters: Parameters, precision: str = "float64") -> Fields:
    """Every field, with its shape, in the type of the class; BadFiles if one is missing or has another size."""
    return {name: _read_field(folder, field, parameters, *_TYPES[precision]) for name, field in fields.items()}


def _read_field(folder: Path, field: Field, parameters: Parameters, extension: str, dtype: str) -> np.ndarray:
    path, shape = folder / f"{field.name}.{extension}", field.shape(parameters)
    if not path.is_file():
        raise BadFiles(f"there is no {path.name}")
    size, want = path.stat().st_size, int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size != want:
        raise BadFiles(f"{path.name} has {size} bytes where shape {shape} needs {want}")
    return np.fromfile(path, dtype=dtype).reshape(shape)


def poison(folder: Path, fields: dict[str, Field], parameters: Parameters, precision: str = "float64") -> None:
    """Fill the folder with NaN, so that a field that the port never writes is seen."""
    write_fields(folder, {name: np.full(f.shape(parameters), np.nan) for name, f in fields.items()}, precision)

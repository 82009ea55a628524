"""What an array becomes by the usual slips of layout, order and representation, so that one can be named.

    of_layout(fields, name)    the numbers of the field, elsewhere: transposed, swapped, reversed, shifted
    echo(x, ...)               the sentence on a field of a loaded state that came back otherwise

Each slip is tried: what it would have made is compared with what the port gave. NaN stands where it could be anything.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from portbench.contract import Fields, Parameters
from portbench.protocol import Exchange

COMPONENTS = 4  # an axis of so many at most holds components, such as those of a vector
FEW = 8  # different numbers, at least, whose order may be told
ALIKE = 1e-2  # a part of the difference from what was given: so near to the state one step later, it is that
FEW_DIGITS = 1e-2  # relative: numbers farther apart are other numbers
_WAYS = {1: "end", -1: "start"}  # of a shift


def echo(x: Exchange, parameters: Parameters, given: Fields, back: Fields, name: str) -> str:
    """What became of this field of the loaded state: empty if it came back to the last bit."""
    if np.array_equal(back[name], given[name]):
        return ""
    at = tuple(int(i) for i in np.argwhere(~(back[name] == given[name]))[0])
    if np.all(np.isnan(back[name])):
        return (
            f"{name} came back as NaN: it is never written, or the port keeps the arrays that `load` was lent, which "
            "are overwritten afterwards, and should copy them"
        )
    how = _how(x, parameters, given, back, name)
    example = f"was given as {float(given[name][at])!r} and came back as {float(back[name][at])!r}"
    where = f"{name}[{', '.join(map(str, at))}]"
    return f"{name} came back {how}: {where} {example}" if how else f"{where} {example}"


def _how(x: Exchange, parameters: Parameters, given: Fields, back: Fields, name: str) -> str:
    """The words for the first slip that makes of what was given what came back; empty if there is none."""
    before, after = given[name], back[name]
    for other in given:
        if other != name and _equal(given[other], after) and _equal(before, back[other]):
            return f"swapped with the {other}"
    # any number may stand for another that is equal
    layouts = of_layout(given, name) if len(np.unique(before)) >= min(FEW, before.size) else ()
    for words, array in itertools.chain(_of_representation(before, x.precision), layouts):
        if _equal(array, after):
            return words
    if not np.all(np.isfinite(after)):
        return ""  # that it was never written is said elsewhere
    moved = x.specification.advance(parameters, given, 1)[name]
    off, change = (x.specification.difference(parameters, name, after, there) for there in (moved, before))
    if np.linalg.norm(off) < ALIKE * np.linalg.norm(change):
        return "as it is one step later"
    if np.array_equal(np.sort(after, axis=None), np.sort(before, axis=None)):
        return "in another order, with the same numbers"
    wrong = int(np.sum(after != before))
    with np.errstate(divide="ignore"):
        relative = float(np.max(np.abs(after - before)) / np.max(np.abs(before)))
    if relative < FEW_DIGITS:
        return f"with only {int(-math.log10(relative))} digits that are right, in {wrong} of {before.size} numbers"
    return f"with {wrong} of {before.size} numbers changed" if wrong < before.size else ""


def _equal(made: np.ndarray, came: np.ndarray) -> bool:
    return made.shape == came.shape and bool(np.all((made == came) | np.isnan(made)))


def _of_representation(given: np.ndarray, precision: str) -> Iterator[tuple[str, np.ndarray]]:
    """The same numbers in the same places, written otherwise."""
    with np.errstate(all="ignore"):
        yield "as zeros", np.zeros_like(given)
        yield "with the other sign", -given
        yield "without signs", np.abs(given)
        for kind in ("float32", "float16"):
            yield f"rounded to {kind}", given.astype(kind).astype(float)
        written = given.astype("<f4" if precision == "float32" else "<f8")
        yield "with its bytes in the other order (big-endian)", written.byteswap().astype(float)


def of_layout(fields: Fields, name: str) -> Iterator[tuple[str, np.ndarray]]:
    """The same numbers in other places, with the words for it: what belongs to [name] would then be this array."""
    array = fields[name]
    for other, values in fields.items():
        if other != name and values.shape == array.shape:
            yield f"as the {other}", values
    yield from _orders_of_axes(array)
    for axis, length in enumerate(array.shape):
        if 1 < length <= COMPONENTS:
            for order in itertools.permutations(range(length)):
                if order != tuple(range(length)):
                    yield _components(array.ndim, axis, order), np.take(array, order, axis)
    flat = array.reshape(-1)
    if sum(length > 1 for length in array.shape) > 1:
        yield "in reversed order", flat[::-1].reshape(array.shape)
        for by, way in _WAYS.items():
            yield f"shifted by one number towards the {way}", _shifted(flat, by, 0).reshape(array.shape)
    for axis, length in enumerate(array.shape):
        if length > COMPONENTS:
            along = f" along axis {axis}" if array.ndim > 1 else ""
            yield f"in reversed order{along}", np.flip(array, axis)
            for by, way in _WAYS.items():
                yield f"shifted by one place towards the {way}{along}", _shifted(array, by, axis)


def _shifted(array: np.ndarray, by: int, axis: int) -> np.ndarray:
    """By one place, with anything in the place that becomes free."""
    moved = np.roll(array, by, axis)
    np.moveaxis(moved, axis, 0)[0 if by > 0 else -1] = np.nan
    return moved


def _orders_of_axes(array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Written, or read, with the axes in another order; axes of length 1 do not matter."""
    axes = [axis for axis, length in enumerate(array.shape) if length > 1]
    small = array.reshape([array.shape[axis] for axis in axes])
    usual = tuple(range(len(axes)))
    for order in itertools.permutations(usual):
        if order == usual:
            continue
        written = small.transpose(order)
        words = f"with its axes in the order {', '.join(str(axes[k]) for k in order)}"
        if order == usual[::-1]:
            words = "transposed" if written.shape == small.shape else "in column-major (Fortran) order"
        yield words, written.reshape(array.shape)
        read = small.reshape(written.shape).transpose(np.argsort(order))
        yield words, read.reshape(array.shape)


def _components(dimensions: int, axis: int, order: tuple[int, ...]) -> str:
    """With [:, 0] and [:, 2] swapped, or in another order."""

    def slot(k: int) -> str:
        return "[" + ", ".join(str(k) if i == axis else ":" for i in range(dimensions)) + "]"

    moved = [k for k, other in enumerate(order) if k != other]
    if len(moved) == 2:
        return f"with {slot(moved[0])} and {slot(moved[1])} swapped"
    return f"with {', '.join(map(slot, range(len(order))))} in the order {', '.join(map(str, order))}"

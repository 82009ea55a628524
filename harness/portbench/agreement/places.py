"""Where in an array the wrong numbers are, by the shape of the place alone: a row, a block, every fourth, the last."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LANES = (16, 8, 4, 2)  # of SIMD registers
COMPONENTS = 8  # numbers of one element at most, such as those of a vector: more are a row or a plane of a grid
HALF = 0.5  # a place that is larger than this part of the array explains nothing
DENSE = 0.8  # a place of which less is wrong is no place
LONG = 5  # an axis so long has an edge and a middle


@dataclass(frozen=True)
class Place:
    """What may be the cause of numbers that are wrong just there, and which they are."""

    cause: str
    which: str  # for a sentence that begins with "only"
    region: str  # in index notation; empty where the place is no box


def find(name: str, bad: np.ndarray) -> Place | None:
    """The simplest place that holds all wrong numbers; None if they are everywhere, or anywhere."""
    if not bad.ndim or not bad.any() or bad.all():
        return None
    rows = [
        np.flatnonzero(np.any(bad, axis=tuple(k for k in range(bad.ndim) if k != axis))) for axis in range(bad.ndim)
    ]
    slices = [_slice(row, length) for row, length in zip(rows, bad.shape)]
    held = [s for s in slices if s is not None]
    if len(held) == bad.ndim:
        inside = bad[tuple(held)]
        if inside.size <= HALF * bad.size and inside.mean() >= DENSE:
            return _box(name, bad.shape, held)
    axis = int(np.argmax(bad.shape))
    length, row = bad.shape[axis], rows[axis]
    if length > 2 and len(row) <= 2 and _rest(bad.shape, axis) <= COMPONENTS:
        return Place(
            "a lost or double update", f"{_list(row)} of {length} {'is' if len(row) == 1 else 'are'} wrong", ""
        )
    return _edge(bad)


def _slice(row: np.ndarray, length: int) -> slice | None:
    """One index, a run of them or every k-th along the whole axis (at either end one may be right by chance, or
    because it is 0); None for anything else.
    """
    first, last = int(row[0]), int(row[-1])
    step = int(np.gcd.reduce(np.diff(row))) if len(row) > 1 else 1
    if step > 1 and (len(row) < 3 or first >= 2 * step or last + 2 * step < length):
        return None
    return slice(first, last + 1, step)


def _box(name: str, shape: tuple[int, ...], held: list[slice]) -> Place:
    counts = [len(range(*s.indices(length))) for s, length in zip(held, shape)]
    region = f"{name}[{', '.join(map(_index, held, shape))}]"
    partial = [axis for axis, length in enumerate(shape) if counts[axis] < length]
    large = [axis for axis in partial if shape[axis] > COMPONENTS or shape[axis] == max(shape)]
    if len(large or partial) > 1:
        if all(count == 1 for count in counts):
            return Place("a lost or double update", f"one number is wrong, {region}", region)
        return Place("one thread's or one block's part", f"the block {region} is wrong", region)
    axis = (large or partial)[0]
    held_here, length, count = held[axis], shape[axis], counts[axis]
    first, last = held_here.start, held_here.stop - 1
    rest = _rest(shape, axis)
    if count == 1:
        if first == length - 1 and length > 2 and length == max(shape):
            return Place("a loop that ends one too early", f"the last of {length} is wrong, {region}", region)
        if rest <= COMPONENTS:
            return Place("a lost or double update", f"{first} of {length} is wrong, {region}", region)
        noun = _noun(shape, axis)
        return Place(f"one {noun}", f"{noun} {first} of {length} is wrong, {region}", region)
    if held_here.step > 1:
        every = f"every {_ordinal(held_here.step)} of {length}, from {first}, is wrong, {region}"
        return Place("a stride, or one lane of a SIMD register", every, region)
    for lanes in LANES:
        if last == length - 1 and count == length % lanes:
            which = f"the last {count} of {length} are wrong ({lanes} lanes), {region}"
            return Place("the remainder of a SIMD loop", which, region)
    if count == 2 and rest <= COMPONENTS:
        return Place("a lost or double update", f"{first} and {last} of {length} are wrong, {region}", region)
    return Place("one thread's part", f"{first} to {last} of {length} are wrong, {region}", region)


def _edge(bad: np.ndarray) -> Place | None:
    """Whether all wrong numbers lie on the first or last index of an axis."""
    long = [axis for axis, length in enumerate(bad.shape) if length >= LONG]
    middle = tuple(slice(1, -1) if axis in long else slice(None) for axis in range(bad.ndim))
    if not long or bad[middle].any() or bad[middle].size < HALF * bad.size:
        return None
    axes = [axis for axis in long if np.take(bad, [0, -1], axis).any()]
    ends = [axis for axis in axes if not np.take(bad, range(1, bad.shape[axis] - 1), axis).any()]
    along = f"the first and the last along axis {ends[0]}" if ends else "its edges"
    return Place("the boundary", f"{along} hold wrong numbers", "")


def _rest(shape: tuple[int, ...], axis: int) -> int:
    """How many numbers belong to each index along this axis."""
    return int(np.prod(shape)) // max(1, shape[axis])


def _noun(shape: tuple[int, ...], axis: int) -> str:
    real = [k for k, length in enumerate(shape) if length > 1]
    if len(real) > 2 and shape[real[-1]] > COMPONENTS:
        return "plane"
    return "row" if axis == real[0] else "column"


def _index(held: slice, length: int) -> str:
    first, last, step = held.start, held.stop - 1, held.step
    if step > 1:
        return f"{first}::{step}"
    if first == last:
        return str(first)
    return ":" if (first, last) == (0, length - 1) else f"{first}:{last + 1}"


def _list(row: np.ndarray) -> str:
    return " and ".join(map(str, row))


def _ordinal(number: int) -> str:
    return {2: "2nd", 3: "3rd"}.get(number, f"{number}th")

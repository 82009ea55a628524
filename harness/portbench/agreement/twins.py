"""Rounding twins: the specification again, with every rounding falling differently and nothing else changed.

How far its twins drift from the specification is how far rounding alone can take a right port. The
twins sum in other orders and with more digits, renumber what may be renumbered, and start one unit
in the last place away. (The idea is CESM-ECT's: A. H. Baker et al., Geosci. Model Dev. 8, 2829 (2015).)

The same hook gives the condition of every sum: summing absolute values instead of values
yields sum_j |f_ij|, against which the rounding error of sum_j f_ij is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from portbench.contract import Add, Fields, Parameters, Specification


def one_at_a_time(terms: np.ndarray, axis: int) -> np.ndarray:
    """The loop that most ports write; numpy.sum adds in pairs, which rounds much less."""
    return np.take(np.cumsum(terms, axis=axis), -1, axis=axis)


def backwards(terms: np.ndarray, axis: int) -> np.ndarray:
    return one_at_a_time(np.flip(terms, axis=axis), axis)


def compensated(terms: np.ndarray, axis: int) -> np.ndarray:
    """As if summed with twice the digits: a tree of error-free additions (Ogita, Rump, Oishi 2005, Sum2)."""
    high = np.moveaxis(np.asarray(terms, dtype=float), axis, 0)
    low = np.zeros(high.shape[1:])
    while len(high) > 1:
        if len(high) % 2:
            high = np.concatenate([high, np.zeros((1, *high.shape[1:]))])
        a, b = high[0::2], high[1::2]
        high = a + b
        part = high - a
        low = low + np.sum((a - (high - part)) + (b - part), axis=0)  # what a + b lost (Knuth's TwoSum)
    return high[0] + low


def absolute(terms: np.ndarray, axis: int) -> np.ndarray:
    """Not a twin: the condition of the sum."""
    return np.sum(np.abs(terms), axis=axis)


@dataclass(frozen=True)
class Twin:
    """A way to run the specification that in exact arithmetic gives the same."""

    name: str
    add: Add = np.sum
    symmetry: str = ""  # a name in the specification's symmetries()
    ulp: bool = False  # start one unit in the last place away
    seed: int = 0


# The specification itself comes first.
SPEC = Twin("specification")
CONDITION = Twin("condition", add=absolute)
_ORDERS = [
    Twin("sums term by term", add=one_at_a_time),
    Twin("sums backwards", add=backwards),
    Twin("compensated sums", add=compensated),
]
_ULPS = [Twin("one ulp away", ulp=True, seed=seed) for seed in (1, 2)]


def twins(specification: Specification, parameters: Parameters) -> list[Twin]:
    """All the twins that this specification offers."""
    names = specification.symmetries(parameters, np.random.default_rng(0))
    return [*_ORDERS, *[Twin(name, symmetry=name, seed=3) for name in names], *_ULPS]


def start(
    specification: Specification, parameters: Parameters, state: Fields, twin: Twin
) -> tuple[Fields, Callable[[Fields], Fields]]:
    """The twin's initial state, and how to bring what it computes back to the specification's order."""
    random = np.random.default_rng(twin.seed)
    if twin.symmetry:
        do, undo = specification.symmetries(parameters, random)[twin.symmetry]
        return do(state), undo
    if twin.ulp:
        up_or_down = {name: random.choice([-np.inf, np.inf], a.shape) for name, a in state.items()}
        return {name: np.nextafter(a, up_or_down[name]) for name, a in state.items()}, lambda fields: fields
    return state, lambda fields: fields

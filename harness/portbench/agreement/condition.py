"""The condition of a derived field, element by element: the size against which its rounding errors are measured.

Where an element is a sum, it is the sum of the absolute values of its terms, which the specification itself gives when
its `add` sums those. That is too little in two places: where an element is computed without `add`, as the difference of
two neighbours is, its terms are not seen; and where sums are subtracted from something, their absolute values
cancel as they do. Both show themselves by another `add`: of the first, nothing depends on it; the second grow when
the signs of the sums change. There the condition is how far the element moves with the state, each number of the state
by another small part of itself, over the size of that part: what a right port may have rounded on the way.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from portbench.agreement.twins import absolute
from portbench.contract import Add, Fields, Parameters, Specification
from portbench.errors import Refusal

PART = 2.0**-10  # so large that rounding is nothing beside what it does, and so small that most functions are straight
DRAWS = 4  # the largest of so many random movements is near the largest that there is
GROWN = 1e-9


def condition(specification: Specification, parameters: Parameters, state: Fields) -> Fields:
    """Of each derived field of this state; never negative."""
    found = {name: np.abs(a) for name, a in specification.observe(parameters, state, absolute).items()}
    unknown = _observed(specification, parameters, state, lambda terms, axis: np.nan * absolute(terms, axis))
    signed = _observed(specification, parameters, state, _alternating())
    weak = {
        name: ~np.isfinite(a)
        | (np.isfinite(unknown[name]) if unknown else False)
        | (np.abs(signed[name]) > a * (1 + GROWN) if signed else False)
        for name, a in found.items()
    }
    if not any(np.any(mask) for mask in weak.values()):
        return found
    moved = _movements(specification, parameters, state)
    return {
        name: np.where(weak[name], np.fmax(np.where(np.isfinite(a), a, 0.0), moved[name]), a)
        for name, a in found.items()
    }


def _alternating() -> Add:
    """Each sum of absolute values with another sign than the last, the first with the other than it has."""
    sign = 1.0

    def add(terms: np.ndarray, axis: int) -> Any:
        nonlocal sign
        sign = -sign
        return sign * absolute(terms, axis)

    return add


def _movements(specification: Specification, parameters: Parameters, state: Fields) -> Fields:
    """How far each element moves, over PART, where each number of the state comes nearer to zero by up to that part."""
    right, random = specification.observe(parameters, state), np.random.default_rng(13)
    furthest = {name: np.zeros_like(a) for name, a in right.items()}
    for _ in range(DRAWS):
        there = specification.nearer_to_zero(state, PART, random)
        for name, a in _observed(specification, parameters, there, np.sum).items():
            off = np.abs(specification.difference(parameters, name, a, right[name])) / PART
            furthest[name] = np.fmax(furthest[name], np.where(np.isfinite(off), off, 0.0))
    return furthest


def _observed(specification: Specification, parameters: Parameters, state: Fields, add: Add) -> Fields:
    """Empty where the specification refuses: none of these is a state or a sum that it must put up with."""
    try:
        return specification.observe(parameters, state, add)
    except Refusal:
        return {}

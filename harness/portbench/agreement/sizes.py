"""Sizes and shapes: thousands of units whose right answer costs nothing.

Many copies of a small case, side by side, are a large one (`copies` of docs/contract.md): what the specification gives
of the small one is right for each copy. So a port is asked at sizes at which the specification would take minutes, in
long and narrow shapes, with many cells along a side, and with parameters that are drawn anew in each check.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from portbench.agreement import histories, twins
from portbench.agreement.levels import Deviation, Verdict, worst_element
from portbench.agreement.own import BEFORE_ACCUSED, FEWER_TWINS, Judge, here, rounded_anew
from portbench.agreement.reference import (
    Answer,
    Question,
    derived_question,
    evaluate,
    on_the_edge,
    question_after_steps,
    rounded,
    rounded_parameters,
)
from portbench.agreement.twins import CONDITION, SPEC
from portbench.contract import Case, Fields, Parameters, Specification
from portbench.errors import Refusal
from portbench.protocol import Exchange

UNIT = 48  # units of the small case
STEPS = 5
ROUNDINGS = 4  # states beside the small one, each number off by a rounding
# Copies along each axis, turned at random: long and narrow twice, as a thin state may have no pair across a face; flat;
# and a bulk.
SHAPES = ((1, 2, 19), (1, 1, 33), (1, 9, 7), (5, 4, 6))
EVEN = ((9, 9, 1), (5, 5, 5))  # where a specification makes none of those: a square grid stays square
LONGEST = 5.0  # seconds that the largest may take, as the one before it lets expect where all pairs are looked at
TRIES = 40  # to draw a case of which there can be copies


def a3_sizes(x: Exchange, judge: Judge, case: Case, seed: int) -> Verdict:
    """Derived fields and a few steps of large cases made of copies, where the specification can make them."""
    random, own = np.random.default_rng([seed, 2]), histories.small_case(judge.specification, case)
    worst, sizes, seconds = Deviation(), list[int](), 0.0
    for times, unit in _units(judge, own, random):
        question = _question(judge, unit, times, random, judge.few_twins(unit.parameters), ROUNDINGS)
        size = judge.specification.work(question.parameters)
        if sizes and seconds * (size / sizes[-1]) ** 2 > LONGEST:
            break
        begin = time.monotonic()
        given = list(x.follow(question.parameters, question.state, [a.step for a in question.answers]))
        seconds = time.monotonic() - begin
        sizes.append(size)
        for answer, fields in zip(question.answers, given, strict=True):
            illegal = judge.illegal(question.parameters, fields)
            if illegal:
                sentence = f"after {answer.step} steps from {question.name}, the saved state is not legal: {illegal}"
                return Verdict("A3", False, math.inf, sentence, {"seed": seed})
        found = _worst(judge, unit, question, given)
        if not found.ratio <= 1:  # more is asked before a port is accused
            every = twins.twins(judge.specification, unit.parameters, judge.precision)
            question = _question(judge, unit, times, random, every, BEFORE_ACCUSED)
            found = _worst(judge, unit, question, given)
        worst = found if not found.ratio <= worst.ratio else worst
        if not worst.ratio <= 1:
            return Verdict("A3", False, worst.ratio, worst.sentence, {**worst.evidence, "seed": seed})
    if not sizes:
        none = "copies() makes none of its random states: nothing was asked of large cases"
        return Verdict("A3", True, 0.0, none if judge.specification.offers("copies") else "", {})
    what = f"copies of a small case, up to {max(sizes)} {judge.specification.work_name}s"
    return Verdict("A3", True, worst.ratio, f"{what}: at most {worst.ratio:.2g} of the tolerance", {"seed": seed})


@dataclass(frozen=True)
class Unit:
    """A small case, and the `large` one of its copies with their state, `many`."""

    parameters: Parameters
    state: Fields
    large: Parameters
    many: Fields


def _units(judge: Judge, own: Case | None, random: np.random.Generator) -> Iterator[tuple[tuple[int, int, int], Unit]]:
    """A small case for each shape of which the specification makes copies, along whichever axes it can."""
    for shapes in (SHAPES, EVEN) if judge.specification.offers("copies") else ():
        found = [one for one in (_unit(judge, own, shape, random) for shape in shapes) if one]
        yield from found
        if found:
            break


def _unit(
    judge: Judge, own: Case | None, shape: tuple[int, int, int], random: np.random.Generator
) -> tuple[tuple[int, int, int], Unit] | None:
    """A small case of which there can be copies of this shape, and how many there are along each axis."""
    turned = sorted(set(itertools.permutations(shape)))
    for _ in range(TRIES):
        for world in histories.drawn(judge, own, random, UNIT):
            for k in random.permutation(len(turned)):
                unit = _copied(judge, world.parameters, world.state, turned[k])
                if unit:
                    return turned[k], unit
    return None


def _copied(judge: Judge, parameters: Parameters, fields: Fields, times: tuple[int, int, int]) -> Unit | None:
    """With copies that are legal in numbers of the class."""
    made = judge.specification.copies(parameters, fields, times)
    if made is None:
        return None
    dtype = judge.precision.dtype
    large, state = (
        rounded_parameters(made[0], dtype),
        rounded({n: made[1][n] for n in judge.specification.state}, dtype),
    )
    try:
        judge.specification.check_state(large, state)
    except Refusal:
        return None
    return Unit(parameters, fields, large, state)


def _worst(judge: Judge, unit: Unit, question: Question, given: list[Fields]) -> Deviation:
    """Of all that was given. What leaves the small case on one side is in the next copy: there is no difference, as the
    small case sees it.
    """
    as_one, worst = replace(question, parameters=unit.parameters), Deviation()
    for answer, fields in zip(question.answers, given, strict=True):
        found = worst_element(judge.specification, as_one, answer, fields)
        worst = found if not found.ratio <= worst.ratio else worst
    return worst


def _question(
    judge: Judge,
    unit: Unit,
    times: tuple[int, int, int],
    random: np.random.Generator,
    kinds: list[twins.Twin],
    roundings: int,
) -> Question:
    """The answers of the small case, and how far the rounding of larger coordinates moves them, for all copies."""
    specification, precision, oracle = judge.specification, judge.precision, here(judge)
    parameters, state = unit.parameters, unit.state
    name = f"{' x '.join(map(str, times))} copies of a random state of {specification.work(parameters)}"
    beside = [rounded_anew(judge, state, unit.many, random) for _ in range(roundings)]
    marks = [1, STEPS]
    jobs = [(parameters, s, m, t) for m in ([0], marks) for s, t in _runs(state, kinds, beside)]
    runs = oracle(evaluate, jobs)
    still, moved = runs[: len(runs) // 2], runs[len(runs) // 2 :]
    still = [*oracle(evaluate, [(parameters, state, [0], CONDITION)]), still[0], *still]
    questions = [question_after_steps(oracle, precision, name, parameters, state, marks, moved)]
    if not on_the_edge(specification, precision, still):
        questions.insert(0, derived_question(specification, precision, name, parameters, state, still))
    answers = [a for q in questions for a in q.answers]
    return Question(name, unit.large, unit.many, [_of_all(specification, parameters, a, times) for a in answers])


def _runs(state: Fields, kinds: list[Any], beside: list[Fields]) -> list[tuple[Fields, Any]]:
    return [(state, SPEC), *((state, twin) for twin in kinds), *((other, SPEC) for other in beside)]


def _of_all(
    specification: Specification, parameters: Parameters, answer: Answer, times: tuple[int, int, int]
) -> Answer:
    """An answer for all copies; tolerances by how the copies of `right + tolerance` differ from those of `right`.

    Equal terms are rounded equally: one loop over all copies is off in proportion to their number, not to its root.
    """
    right = {n: a for n, a in answer.fields.items() if n in answer.tolerance}
    wide = {n: a + FEWER_TWINS * np.broadcast_to(answer.tolerance[n], a.shape) for n, a in right.items()}
    one, other = (specification.copies(parameters, fields, times) for fields in (right, wide))
    assert one and other
    one_loop = {n: np.prod(times) / 4 if a.size == right[n].size else 1.0 for n, a in one[1].items()}
    return replace(
        answer, fields=one[1], tolerance={n: np.abs(other[1][n] - a) * one_loop[n] for n, a in one[1].items()}
    )

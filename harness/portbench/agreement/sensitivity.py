"""How small a wrong parameter the check would have seen.

A port may hold a constant that is a little off: pi by seven digits, a time step that was rounded. Each float parameter
is changed in the specification alone, and its answers are held against the questions that every port is asked: the
smallest relative change that is beyond a tolerance is what a certificate excludes, at least.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import numpy as np

from portbench.agreement.levels import worst_element
from portbench.agreement.reference import Question, Reference, evaluate
from portbench.agreement.twins import SPEC
from portbench.contract import Parameters, Specification
from portbench.errors import Refusal

MOST = 5_000  # numbers in all states of a level that are asked, small ones first: this is done many times
FIRST, LARGEST = 1e-9, 0.1  # relative changes
TRIES = 10
NEAR = 2.0  # times the tolerance: so near to it, a change need not be made smaller


def sensitivity(specification: Specification, path: str, reference: Reference) -> dict[str, float | None]:
    """Of each float parameter the smallest relative change that A2 or A3 would have seen, within a factor of NEAR or so
    and not below a rounding; None where a change by a tenth is not seen. `path` is that of the manifest.
    """
    made = {}
    for name in _floats(reference.free_run.parameters):
        levels = [[q for q in level if name in q.parameters] for level in (reference.kernel, reference.few_steps)]
        asked = [q for level in levels for q in _small(level)]
        made[name] = _smallest(specification, path, asked, name, reference.precision.eps)
    return made


def sentence(case: str, precision: str, found: dict[str, float | None]) -> str:
    """What was found, as a person reads it; empty if nothing was."""
    seen = [f"{name} by {change:.1g}" for name, change in found.items() if change]
    never = [name for name, change in found.items() if not change]
    parts = [f"seen on {case} in {precision}: a relative change of {', '.join(seen)}"] if seen else []
    parts += [f"not seen {'there' if seen else f'on {case} in {precision}'}: {', '.join(never)}"] if never else []
    return "; ".join(parts) + (f" (by up to {LARGEST:g})" if never else "")


def _small(questions: list[Question]) -> Iterator[Question]:
    """The smallest one, and more while they are not too many numbers together."""
    numbers = 0
    sized = [(sum(np.size(a) for a in q.state.values()), k) for k, q in enumerate(questions) if q.answers]
    for size, k in sorted(sized):
        if numbers and numbers + size > MOST:
            return
        numbers += size
        yield questions[k]


def _floats(parameters: Parameters) -> Iterator[str]:
    for name, value in parameters.items():
        every = value if isinstance(value, tuple) else (value,)
        if every and all(isinstance(v, float) for v in every):
            yield name


def _smallest(specification: Specification, path: str, asked: list[Question], name: str, eps: float) -> float | None:
    """By the rule of three, from one change to the next: a deviation grows with the change, if not across an edge."""
    change, smallest = max(FIRST, eps), None
    for _ in range(TRIES):
        ratio = _ratio(specification, path, asked, name, change)
        if ratio > 1:
            smallest = change
            if ratio <= NEAR or change <= eps:
                break
            change = max(eps, change * max(np.sqrt(NEAR) / ratio, 1e-3))
            continue
        if smallest or change >= LARGEST:
            break
        change = min(LARGEST, change * min(np.sqrt(NEAR) / ratio if ratio else np.inf, 1e3))
    return smallest


def _ratio(specification: Specification, path: str, asked: list[Question], name: str, change: float) -> float:
    """The largest deviation in tolerances; more than 1 is enough."""
    worst = 0.0
    for question in asked:
        value = question.parameters[name]
        other = tuple(v * (1 + change) for v in value) if isinstance(value, tuple) else value * (1 + change)
        answer = question.answers[0]  # the first step sees what the tenth would, and costs less
        with suppress(Refusal):  # not legal with this parameter
            given = evaluate(path, "", {**question.parameters, name: other}, question.state, [answer.step], SPEC)[0]
            worst = max(worst, worst_element(specification, question, answer, given).ratio)
        if worst > NEAR:
            break
    return worst

"""A port's own saved state is a question.

What it saved beside a state must be what derives from that state (A2's tolerance), and a few steps later it must be
where the specification goes from there (A3's tolerance): at any time of a run however long, after any order of
commands, in the process that is timed. Neither chaos nor the horizon of a free run matters there.

All is computed here and now, without a cache: such a state comes once. Of a state that is too large for the
specification, a part is judged (`part` of docs/contract.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from portbench.agreement import twins
from portbench.agreement.levels import Deviation, deviation
from portbench.agreement.reference import (
    Answer,
    Asker,
    Question,
    derived_question,
    evaluate,
    on_the_edge,
    question_after_steps,
)
from portbench.agreement.twins import CONDITION, SPEC, Precision, Twin
from portbench.contract import Fields, Parameters, Specification
from portbench.errors import Refusal

WHOLE = 1500  # units, of which a specification that looks at all pairs evaluates a state in some hundredths of a second
FEWER_TWINS = 8  # times the tolerances of the ladder, which come from more twins
# Steps beyond which as many times more: few twins show little of how chaos makes a rounding grow in a few units, where
# what such a run is asked for, a number of steps that is lost, moves all of them.
FEW_STEPS = 20
# States beside the saved one, each number off by a rounding of the largest: a port may keep another form of it.
ROUNDINGS, MOST_ROUNDINGS, BEFORE_ACCUSED = 2, 8, 16
NEAR = 0.25  # of what is tolerated without any twin: nearer than that, no twin need be asked
ENOUGH = 96  # numbers so changed, lest by chance all in a small state are changed alike


class _Here:
    """What the functions of reference.py ask, answered in this process."""

    def __init__(self, specification: Specification, path: str):
        self.specification, self.path = specification, path

    def __call__(self, function: Callable, jobs: list[tuple], *_: Any) -> list[Any]:
        return [function(self.path, "", *job) for job in jobs]


@dataclass(frozen=True)
class Judge:
    """Of saved states of ports of one precision class. `path` is that of the manifest; beyond `whole` units a part is
    judged; a `light` one asks as few twins as it can, of states that are large.
    """

    specification: Specification
    path: str
    precision: Precision
    whole: int = WHOLE
    light: bool = False

    def derived(self, what: str, parameters: Parameters, fields: Fields, random: np.random.Generator) -> Deviation:
        """How far what was saved beside a state is from what derives from it; `what` names the state."""
        return self.moved(what, parameters, fields, fields, 0, random)

    def moved(
        self,
        what: str,
        parameters: Parameters,
        before: Fields,
        after: Fields,
        steps: int,
        random: np.random.Generator,
    ) -> Deviation:
        """How far `after` is from where the specification goes from `before` in so many steps; of none it is what
        derives from `before` that is judged.
        """
        state = {name: before[name] for name in self.specification.state}
        illegal = self.illegal(parameters, after)
        if illegal:
            when = f"{steps} step{'s' * (steps > 1)} after {what}" if steps else what
            return Deviation(
                math.inf, f"{when}: the saved state is not legal: {illegal}", {"from": what, "step": steps}
            )
        places: dict[str, tuple[Any, Any]] = {}
        if self.specification.work(parameters) > self.whole and steps <= 1:
            cut = self.specification.part(parameters, state, random)
            if cut:
                parameters_of_part, state, places = cut
                whole, parameters = parameters, parameters_of_part
        found = Deviation()
        for beside in ("nothing", "few", "many"):
            question, runs = self._question(what, parameters, state, steps, random, beside)
            if not question.answers:
                return Deviation()
            asked, answer = replace(question, parameters=whole if places else parameters), question.answers[0]
            # where a rounding decides what a wall turns back, what any twin does is right
            for fields in [answer.fields, *(run[0] for run in runs[1:] if beside == "many")]:
                one = replace(answer, fields=fields)
                one = _in_the_whole(one, after, places) if places else one
                nearest = deviation(self.specification, asked, one, after)
                if fields is answer.fields or nearest.ratio <= 1:
                    found = nearest
            if found.ratio <= (NEAR if beside == "nothing" else 1):
                break  # else more is asked before a port is accused
        if places or found.ratio <= 1:
            return found
        return replace(found, question=replace(question, state=before, answers=[answer]), gave=after)

    def illegal(self, parameters: Parameters, fields: Fields) -> str:
        """Why the specification calls the state among these fields illegal; empty if it does not."""
        try:
            self.specification.check_state(parameters, {name: fields[name] for name in self.specification.state})
        except Refusal as refusal:
            return str(refusal)
        return ""

    def _question(
        self,
        what: str,
        parameters: Parameters,
        state: Fields,
        steps: int,
        random: np.random.Generator,
        how_many: str,
    ) -> tuple[Question, list[list[Fields]]]:
        """With the runs of the specification and its twins, from which it was made, the specification's own first."""
        oracle, kinds, beside = here(self), list[Twin](), list[Fields]()
        if how_many != "nothing":
            kinds, size = self.few_twins(parameters), sum(a.size for a in state.values())
            count = min(MOST_ROUNDINGS, max(1 if self.light else ROUNDINGS, ENOUGH // max(1, size)))
            if how_many == "many":
                kinds, count = twins.twins(self.specification, parameters, self.precision), BEFORE_ACCUSED
            beside = [rounded_anew(self, state, state, random) for _ in range(count)]
        jobs = [(parameters, state, [steps], twin) for twin in [SPEC, *kinds]]
        jobs += [(parameters, other, [steps], SPEC) for other in beside]
        runs = oracle(evaluate, jobs)
        if steps:
            made = question_after_steps(oracle, self.precision, what, parameters, state, [steps], runs)
        else:
            condition = oracle(evaluate, [(parameters, state, [0], CONDITION)])
            runs = [*condition, runs[0], *runs]
            if on_the_edge(self.specification, self.precision, runs):
                return Question(what, parameters, state, []), runs
            made = derived_question(self.specification, self.precision, what, parameters, state, runs)
            runs = runs[2:]
        return replace(made, answers=[_wider(answer, max(1.0, steps / FEW_STEPS)) for answer in made.answers]), runs

    def few_twins(self, parameters: Parameters) -> list[Twin]:
        """Beside states rounded anew: sums in another order, and of a class whose terms may be off, one of those."""
        if self.light and self.precision.dtype == "float64":
            return []
        every = twins.twins(self.specification, parameters, self.precision)
        one_of = {twin.add: twin for twin in every if not twin.symmetry and not twin.ulp}
        return [one_of.get("jittered", one_of["backwards"]), *(t for t in every if t == every[0] and t.add == SPEC.add)]


def here(judge: Judge) -> Asker:
    """The specification, asked in this process."""
    return _Here(judge.specification, judge.path)


def rounded_anew(judge: Judge, state: Fields, among: Fields, random: np.random.Generator) -> Fields:
    """Each number that may be changed a little off by a rounding of the largest `among` these."""
    precision, fields = judge.precision, judge.specification.state
    off = {
        n: precision.eps * precision.size(n, among[n]) * random.choice([-1.0, 1.0], a.shape) for n, a in state.items()
    }
    return {n: a + off[n] if fields[n].may_move(a) else a for n, a in state.items()}


def _wider(answer: Answer, times: float) -> Answer:
    return replace(answer, tolerance={name: times * FEWER_TWINS * t for name, t in answer.tolerance.items()})


def _in_the_whole(answer: Answer, after: Fields, places: dict[str, tuple[Any, Any]]) -> Answer:
    """The answer of a part as one of the whole: elsewhere what was saved, which asks nothing."""
    right, tolerance = {}, {}
    for name, (here, there) in places.items():
        if name not in answer.tolerance:
            continue
        right[name], tolerance[name] = after[name].copy(), np.zeros(after[name].shape)
        right[name][here] = answer.fields[name][there]
        tolerance[name][here] = np.broadcast_to(answer.tolerance[name], answer.fields[name].shape)[there]
    return Answer(answer.step, right, tolerance, {})

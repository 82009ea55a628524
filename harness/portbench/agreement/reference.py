"""What a right port must give, and how far from it rounding may take it; cached by content.

An Answer holds the specification's fields at one point, and the tolerance of each. Two kinds:

* after steps (A3, A4): the largest deviation of any twin so far, times MARGIN, plus FLOOR units of
  rounding of the field's largest value (twins can agree by luck, and a right port can round where
  no twin does, as where it keeps an image of a particle beyond the box);
* derived fields of a given state (A2): element by element KAPPA * eps * condition, where the
  condition is the sum of the absolute values of the terms, and KAPPA comes from the twins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from joblib.externals.loky import get_reusable_executor

from portbench import contract, manifest
from portbench.agreement.twins import CONDITION, SPEC, Twin, start, twins
from portbench.contract import Case, Fields, Parameters, Specification
from portbench.hosts.build import cache_folder

EPS = float(np.finfo(float).eps)
MARGIN = (
    30  # honest ports were measured at up to 1.74 times the envelope, wrong ones (sigma off by 1e-12) at 118 times 30
)
FLOOR = 8
LEAST_KAPPA = 16  # honest ports need up to 2.5
KAPPA_MARGIN = 4
DISCONTINUITY = 1e-8  # a twin that moves a derived field by so much of its condition has crossed a cutoff: not rounding
HORIZON = 1e-3  # in units of a field's scale: beyond this the envelope proves nothing


@dataclass(frozen=True)
class Answer:
    """The specification's fields, and how far from them a right port may be, element by element."""

    step: int
    fields: Fields
    tolerance: Fields
    envelope: dict[str, float]  # largest deviation of a twin so far


@dataclass(frozen=True)
class Question:
    """A state from which a port starts, and the answers after some numbers of steps (0: derived fields)."""

    name: str
    parameters: Parameters
    state: Fields
    answers: list[Answer]


@dataclass(frozen=True)
class Reference:
    """All that a port is asked about one case."""

    case: str
    kernel: list[Question]  # A2
    one_step: list[Question]  # A3
    free_run: Question  # A4
    horizon: int  # steps for which the free run proves something
    twins: list[str]


def make(
    source: manifest.Manifest,
    specification: Specification,
    case: Case,
    progress: Callable[[float], None] = lambda _: None,
) -> Reference:
    """Run the specification and its twins; from the cache, where this was done before."""
    steps = source.check.steps.get(case.name, source.check.steps.get("default", 100))
    marks = checkpoints(steps)
    disordered = specification.disordered_state(case.parameters)
    ask = _Asker(source, specification)
    kinds = [SPEC, *twins(specification, case.parameters)]
    runs = ask([(case.parameters, disordered, marks, twin) for twin in kinds], progress, 0.0, 0.7)
    free_run = _after_steps(specification, "free run", case.parameters, disordered, marks, runs)
    horizon = max((a.step for a in free_run.answers), default=0)

    states = {"the disordered state": disordered}
    for mark in sorted({marks[len(marks) // 2], marks[-1]}):
        states[f"the state after {mark} steps"] = runs[0][marks.index(mark)]
    asked = {name: (case.parameters, state) for name, state in states.items()}
    probed = {f"probe: {name}": probe for name, probe in specification.probes().items()}
    kernel, one_step = [], []
    points = list((asked | probed).items())
    for done, (name, (parameters, state)) in enumerate(points):
        kinds = [SPEC, *twins(specification, parameters)]
        share = 0.3 / len(points)
        at = 0.7 + done * share
        derived = ask([(parameters, state, [0], t) for t in [CONDITION, *kinds]], progress, at, share / 2)
        kernel.append(_derived(specification, name, parameters, state, derived))
        if name != "the disordered state":  # the free run begins with that one
            stepped = ask([(parameters, state, [1], t) for t in kinds], progress, at + share / 2, share / 2)
            one_step.append(_after_steps(specification, name, parameters, state, [1], stepped))
    progress(1.0)
    return Reference(case.name, kernel, one_step, free_run, horizon, [t.name for t in kinds[1:]])


def release() -> None:
    """End the processes in which twins ran: none may idle beside a port that is timed."""
    get_reusable_executor().shutdown(wait=True, kill_workers=True)


def checkpoints(steps: int) -> list[int]:
    """1, 2, 5, 10, 20, 50, ... up to `steps`."""
    marks = [m * 10**k for k in range(7) for m in (1, 2, 5) if m * 10**k < steps]
    return [*marks, max(1, steps)]


def _after_steps(
    specification: Specification,
    name: str,
    parameters: Parameters,
    state: Fields,
    marks: list[int],
    runs: list[list[Fields]],
) -> Question:
    answers = []
    envelope = dict.fromkeys(specification.state, 0.0)
    for k, step in enumerate(marks):
        right = runs[0][k]
        tolerance = {}
        for field in specification.state:
            for twin in runs[1:]:
                off = specification.difference(parameters, field, twin[k][field], right[field])
                envelope[field] = max(envelope[field], float(np.max(np.abs(off), initial=0.0)))
            floor = FLOOR * EPS * float(np.max(np.abs(right[field]), initial=0.0))
            tolerance[field] = np.array(MARGIN * envelope[field] + floor)
        if any(MARGIN * envelope[f] > HORIZON * (specification.state[f].scale or 1.0) for f in envelope):
            break
        answers.append(Answer(step, right, tolerance, dict(envelope)))
    return Question(name, parameters, state, answers)


def _derived(
    specification: Specification, name: str, parameters: Parameters, state: Fields, runs: list[list[Fields]]
) -> Question:
    condition, right = runs[0][0], runs[1][0]
    tolerance, envelope = {}, {}
    for field in specification.derived:
        unit = EPS * condition[field]
        kappa = 0.0
        for twin in runs[2:]:
            off = np.abs(twin[0][field] - right[field])
            rounding = (unit > 0) & (off <= DISCONTINUITY * condition[field])
            kappa = max(kappa, float(np.max(off[rounding] / unit[rounding], initial=0.0)))
        tolerance[field] = max(LEAST_KAPPA, KAPPA_MARGIN * kappa) * unit
        envelope[field] = kappa
    return Question(name, parameters, state, [Answer(0, right, tolerance, envelope)])


class _Asker:
    """Evaluates (parameters, state, marks, twin) in parallel processes, through the cache."""

    def __init__(self, source: manifest.Manifest, specification: Specification):
        self.path = str(source.path)
        self.identity = hashlib.sha256(specification.source.read_bytes() + np.__version__.encode()).hexdigest()
        self.memory = joblib.Memory(cache_folder() / "twins", verbose=0)
        self.evaluate = self.memory.cache(_evaluate, ignore=["path"])

    def __call__(
        self, jobs: list[tuple], progress: Callable[[float], None], at: float, share: float
    ) -> list[list[Fields]]:
        results: list[Any] = [None] * len(jobs)
        new = [k for k, job in enumerate(jobs) if not self.evaluate.check_call_in_cache(self.path, self.identity, *job)]
        big = sum(np.size(a) for k in new for a in jobs[k][1].values()) > 20_000
        parallel: Iterable = (
            joblib.Parallel(n_jobs=-1, return_as="generator")(
                joblib.delayed(self.evaluate)(self.path, self.identity, *jobs[k]) for k in new
            )
            if big
            else (self.evaluate(self.path, self.identity, *jobs[k]) for k in new)
        )
        for done, (k, result) in enumerate(zip(new, parallel)):
            results[k] = result
            progress(at + share * (done + 1) / len(new))
        for k, job in enumerate(jobs):
            if results[k] is None:
                results[k] = self.evaluate(self.path, self.identity, *job)
        return results


def _evaluate(
    path: str, identity: str, parameters: Parameters, state: Fields, marks: list[int], twin: Twin
) -> list[Fields]:
    """The state after each of `marks` steps; the derived fields where a mark is 0."""
    specification = _specification(path)
    now, undo = start(specification, parameters, state, twin)
    seen, step = [], 0
    for mark in marks:
        now = specification.advance(parameters, now, mark - step, twin.add) if mark else now
        step = mark
        seen.append(undo(now if mark else specification.observe(parameters, now, twin.add)))
    return seen


@lru_cache(maxsize=1)
def _specification(path: str) -> Specification:
    return contract.load(manifest.read(Path(path)))

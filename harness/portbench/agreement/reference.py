"""What a right port must give, and how far from it rounding may take it; cached by content.

An Answer holds the specification's fields at one point, and the tolerance of each. Two kinds:

* after steps (A3, A4): the largest deviation of any twin so far, times MARGIN, plus FLOOR units of
  rounding of the field's largest value (twins can agree by luck, and a right port can round where
  no twin does, as where it keeps an image of a particle beyond the box);
* derived fields of a given state (A2): element by element KAPPA * eps * condition, where the
  condition is the sum of the absolute values of the terms (condition.py), and KAPPA comes from the
  twins. Right is the specification evaluated in more digits.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import joblib
import numpy as np
from joblib.externals.loky import get_reusable_executor

from portbench import cache, contract, made_of, manifest
from portbench.agreement import twins
from portbench.agreement.condition import condition as condition_of
from portbench.agreement.twins import CONDITION, SPEC, TRUTH, Precision, Twin
from portbench.contract import Case, Fields, Parameters, Specification
from portbench.errors import Refusal
from portbench.hosts import memory
from portbench.hosts.build import cache_folder, hash_text

# Honest ports were measured at up to 1.74 times the envelope, wrong ones (sigma off by 1e-12) at 118 times 30.
MARGIN = 30
FLOOR = 8
LEAST_KAPPA = 16  # honest ports need up to 2.5
# A port may add all terms in one loop, which the twins of a specification that adds in parts do not. Rounding takes a
# sum of n such terms off by eps * sum * sqrt(n) / 6, and n was seen to be up to 10 times the numbers in the state:
# this is four times as far.
ONE_LOOP = 2.0
KAPPA_MARGIN = 4
DISCONTINUITY = 1e-8  # a twin that moves a derived field by so much of its condition has crossed a cutoff: not rounding
DISCONTINUITY_ULPS = 1000  # ... or by so many roundings, in a class whose digits are fewer
HORIZON = 1e-3  # in units of a field's scale: an envelope beyond this proves nothing
SEVERAL = 10  # steps of a long A3
MANY = 20_000  # numbers; so many are worth several processes
MANY_STEPS = 1_000_000  # numbers times steps
_CONTINUOUS = "make that field continuous there, and add its terms by add(terms, axis=...) (see docs/contract.md)"
_SHORTER = "give it a smaller time step, or that field of STATE a larger scale"


class Asker(Protocol):
    """Asks the specification: function(path of the manifest, identity, *job) for each job."""

    specification: Specification

    def __call__(self, function: Callable, jobs: list[tuple], /) -> list[Any]: ...


@dataclass(frozen=True)
class Answer:
    """The specification's fields, and how far from them a right port may be, element by element."""

    step: int
    fields: Fields
    tolerance: Fields
    envelope: dict[str, float]  # largest deviation so far of a twin; of derived fields, of any state in the envelope


@dataclass(frozen=True)
class Question:
    """A state from which a port starts, and the answers after some numbers of steps (0: derived fields)."""

    name: str
    parameters: Parameters
    state: Fields
    answers: list[Answer]
    silent: str = ""  # why there is no answer, or none after more steps


@dataclass(frozen=True)
class Reference:
    """All that a port of one precision class is asked about one case, up to A4."""

    case: str
    precision: Precision
    kernel: list[Question]  # A2
    few_steps: list[Question]  # A3
    free_run: Question  # A4
    growth: float  # by which factor the envelope of the free run grows in one step
    silent: tuple[str, ...] = ()  # why states ask nothing in A2, a sentence each

    @property
    def horizon(self) -> int:
        """Steps for which the free run proves something."""
        return max((a.step for a in self.free_run.answers), default=0)


def make(
    oracle: Oracle,
    case: Case,
    precision: Precision,
    steps: int,
    progress: Callable[[float], None] = lambda _: None,
) -> Reference:
    """Run the specification and its twins; from the cache, where this was done before."""
    specification = oracle.specification
    marks = checkpoints(steps)
    parameters = rounded_parameters(case.parameters, precision.dtype)
    disordered = rounded(specification.disordered_state(parameters), precision.dtype)
    precision = _measured(oracle, precision, parameters, disordered)
    kinds = [SPEC, *twins.twins(specification, parameters, precision)]
    runs = oracle(evaluate, [(parameters, disordered, marks, twin) for twin in kinds], progress, 0.0, 0.6)
    _refuse_unless_finite(case, marks, runs[0])
    free_run = question_after_steps(oracle, precision, "the free run", parameters, disordered, marks, runs)

    states = {"the disordered state": disordered}
    # where few steps can be asked for, the states between are much alike; the only one is that of the free run
    looked_at = list(zip(marks, runs[0]))[0 if steps >= SEVERAL**2 else -1 :] if steps > 1 else []
    for mark, fields in looked_at:
        then = {name: fields[name] for name in specification.state}
        states[f"the state after {mark} step{'s' * (mark > 1)}"] = rounded(then, precision.dtype)
    asked = {name: (parameters, state) for name, state in states.items()}
    probed = {
        probe_name(name): (rounded_parameters(given, precision.dtype), rounded(state, precision.dtype))
        for name, (given, state) in specification.probes(np.dtype(precision.dtype).type).items()
    }
    kernel, few_steps, silent = [], [], []
    points = list((asked | probed).items())
    for done, (name, (given, state)) in enumerate(points):
        at, share = 0.6 + 0.4 * done / len(points), 0.2 / len(points)
        kinds = [SPEC, *twins.twins(specification, given, precision)]
        exact = [TRUTH] if twins.truth_is_affordable(state) else []
        derived = oracle(evaluate, [(given, state, [0], t) for t in [CONDITION, *exact, *kinds]], progress, at, share)
        edge = "" if name in probed else on_the_edge(specification, precision, derived)
        if edge:
            silent.append(f"{edge} in {name}; {_CONTINUOUS}")
        else:
            question = derived_question(specification, precision, name, given, state, derived)
            kernel.append(question if exact else _witnessed(specification, question))
        if name != "the disordered state":  # the free run begins with that one
            few = [1] if name in probed or steps < SEVERAL**2 else [1, SEVERAL]
            stepped = oracle(evaluate, [(given, state, few, t) for t in kinds], progress, at + share, share)
            few_steps.append(question_after_steps(oracle, precision, name, given, state, few, stepped, name in probed))
    progress(1.0)
    return Reference(case.name, precision, kernel, few_steps, free_run, _growth(free_run), tuple(silent))


def _refuse_unless_finite(case: Case, marks: list[int], run: list[Fields]) -> None:
    """Refusal if the specification's own run of this case leaves the finite numbers: no port could be judged by it."""
    for mark, fields in zip(marks, run):
        for name, array in fields.items():
            if not np.all(np.isfinite(array)):
                raise Refusal(
                    f"The specification's own run of case '{case.name}' is not finite: {name} overflows within {mark} "
                    f"step{'s' * (mark > 1)}: give the case a smaller time step, or fewer steps in [check] of the "
                    "manifest"
                )


def probe_name(name: str) -> str:
    """What a question is called that asks about this probe of the specification."""
    return f"the probe '{name}'"


def checkpoints(steps: int) -> list[int]:
    """1, 2, 5, 10, 20, 50, ... up to `steps`."""
    marks = [m * 10**k for k in range(7) for m in (1, 2, 5) if m * 10**k < steps]
    return [*marks, max(1, steps)]


def rounded(state: Fields, dtype: str) -> Fields:
    """The state in numbers that a port of this type can hold."""
    return {name: a.astype(dtype).astype(float) for name, a in state.items()}


def rounded_parameters(parameters: Parameters, dtype: str) -> Parameters:
    """The same for parameters: or else the rounding of a box side would hide what a port does."""

    def one(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(one(v) for v in value)
        return float(np.dtype(dtype).type(value)) if isinstance(value, float) else value

    return {name: one(value) for name, value in parameters.items()}


def largest(specification: Specification, parameters: Parameters, name: str, a: Fields, b: Fields) -> float:
    """The largest difference between two of the field `name`."""
    return float(np.max(np.abs(specification.difference(parameters, name, a[name], b[name])), initial=0.0))


def _measured(oracle: Oracle, precision: Precision, parameters: Parameters, usual: Fields) -> Precision:
    """A class of its own with the sizes of a usual state, and of the terms of what derives from it."""
    if not precision.epsilon:
        return precision
    seen = [oracle(evaluate, [(parameters, usual, [0], twin)])[0][0] for twin in (SPEC, CONDITION)]
    sizes = {n: max(float(np.max(np.abs(a), initial=0.0)) for a in (seen[0][n], seen[1][n])) for n in seen[0]}
    return replace(precision, sizes=sizes | {n: precision.size(n, a) for n, a in usual.items()})


def jumps_of(specification: Specification, parameters: Parameters, precision: Precision) -> dict[str, float]:
    """With few digits it is chance on which side of a discontinuity a port finds itself a step earlier or later."""
    few = precision.eps > float(np.finfo(float).eps)
    return specification.jumps(parameters) if few else {}


def tolerance_of(
    precision: Precision,
    name: str,
    envelope: float,
    right: np.ndarray,
    jump: float = 0.0,
    condition: np.ndarray | None = None,
    least_kappa: float = LEAST_KAPPA,
) -> np.ndarray:
    """How far a right port may be after steps, where its twins were found no farther than `envelope`."""
    floor = FLOOR * precision.eps * precision.size(name, right)
    if condition is not None:
        floor += least_kappa * precision.eps * float(np.max(condition, initial=0.0))
    return np.array(MARGIN * envelope + floor + jump)


def least_kappa_of(state: Fields, derived: np.ndarray) -> float:
    """More where a field has few elements, each a sum over all of the state."""
    return max(LEAST_KAPPA, ONE_LOOP * math.sqrt(sum(a.size for a in state.values()) / max(1, derived.size)))


def question_after_steps(
    oracle: Asker,
    precision: Precision,
    name: str,
    parameters: Parameters,
    state: Fields,
    marks: list[int],
    runs: list[list[Fields]],
    on_purpose: bool = False,
) -> Question:
    """`runs` is that of the specification and those of its twins, if any; `on_purpose`: a state at a discontinuity is
    asked all the same.
    """
    specification, answers = oracle.specification, []
    envelope = dict.fromkeys(specification.fields, 0.0)
    jumps = jumps_of(specification, parameters, precision)
    by_rounding = runs[1:]
    if not jumps:
        by_rounding = [t for t in runs[1:] if not _jumped(specification, precision, parameters, t[0], runs[0][0])]
    moved = [t for t in runs[1:] if any(not np.array_equal(t[0][n], runs[0][0][n]) for n in specification.state)]
    if not jumps and moved and not on_purpose and not any(t is m for t in by_rounding for m in moved):
        first = {n: largest(specification, parameters, n, moved[0][0], runs[0][0]) for n in specification.state}
        most = max(first, key=lambda n: first[n] / (specification.state[n].scale or 1.0))
        far = f"rounding alone moves the specification's {most} by {first[most]:.2g} in the first step from {name}"
        return Question(name, parameters, state, [], f"{far}; {_SHORTER}")
    there = [(parameters, {n: fields[n] for n in specification.state}, [0], CONDITION) for fields in runs[0]]
    conditions = [found[0] for found in oracle(evaluate, there)]
    envelopes: list[dict[str, float]] = []
    silent = ""
    for k in range(len(marks)):
        for field in specification.fields:
            apart = [largest(specification, parameters, field, twin[k], runs[0][k]) for twin in by_rounding]
            envelope[field] = max([envelope[field], *apart])
        lost = [n for n, f in specification.state.items() if not envelope[n] <= HORIZON * (f.scale or 1.0)]
        if lost:
            silent = (
                f"the specification's own twins are {envelope[lost[0]]:.2g} apart in {lost[0]} after {marks[k]} "
                f"step{'s' * (marks[k] > 1)} from {name}, and a thousandth of its scale is "
                f"{HORIZON * (specification.state[lost[0]].scale or 1.0):.2g}; {_SHORTER}"
            )
            break
        envelopes.append(dict(envelope))
    moved_by = _anywhere_within(oracle, parameters, runs[0], envelopes) if len(runs) > 1 else []
    for envelope, more in zip(envelopes, moved_by):
        envelope |= {field: max(envelope[field], more[field]) for field in more}
    for step, right, condition, envelope in zip(marks, runs[0], conditions, envelopes):
        tolerance = {
            field: tolerance_of(
                precision,
                field,
                size,
                right[field],
                jumps.get(field, 0.0),
                condition.get(field),
                least_kappa_of(state, right[field]),
            )
            for field, size in envelope.items()
        }
        answers.append(Answer(step, right, tolerance, envelope))
    return Question(name, parameters, state, answers, silent)


def _anywhere_within(
    oracle: Asker, parameters: Parameters, right: list[Fields], envelopes: list[dict[str, float]]
) -> list[dict[str, float]]:
    """How far the derived fields are moved where each element of the state is off by its envelope, independently.

    Twins share what the specification's terms cancel exactly: forces that are opposite to the last bit keep the
    momentum of each, but not of a port that sees a pair from either side through different images.
    """
    specification, random = oracle.specification, np.random.default_rng(9)
    jobs = []
    for fields, envelope in zip(right, envelopes):
        off = {n: envelope[n] * random.choice([-1.0, 1.0], fields[n].shape) for n in specification.state}
        jobs += [(parameters, {n: fields[n] + sign * off[n] for n in off}, [0], SPEC) for sign in (1, -1)]
    found = [seen[0] for seen in oracle(evaluate, jobs)]
    return [
        # of the two the smaller: one may lie across a discontinuity
        {n: min(largest(specification, parameters, n, one, fields) for one in pair) for n in specification.derived}
        for fields, pair in zip(right, zip(found[0::2], found[1::2]))
    ]


def derived_question(
    specification: Specification,
    precision: Precision,
    name: str,
    parameters: Parameters,
    state: Fields,
    runs: list[list[Fields]],
) -> Question:
    """`runs` is the condition, the truth (or, without it, the specification), and the specification and its twins."""
    right = runs[1][0]
    condition = {field: np.maximum(runs[0][0][field], np.abs(right[field])) for field in specification.derived}
    tolerance, envelope = {}, {}
    for field in specification.derived:
        allowed = precision.allowed(field, condition[field], right[field])
        unit = precision.eps * allowed
        kappa = 0.0
        for twin in runs[2:]:
            off = np.abs(twin[0][field] - right[field])
            rounding = (unit > 0) & (off <= _discontinuity(precision) * allowed)
            kappa = max(kappa, float(np.max(off[rounding] / unit[rounding], initial=0.0)))
        tolerance[field] = max(least_kappa_of(state, right[field]), KAPPA_MARGIN * kappa) * unit
        envelope[field] = kappa
    return Question(name, parameters, state, [Answer(0, right, tolerance, envelope)])


def _witnessed(specification: Specification, question: Question) -> Question:
    """The same, with some elements in more digits, where all of them would take too long."""
    random = np.random.default_rng(5)
    exact = {name: twins.cast(a, "extended") for name, a in question.state.items()}
    right = {name: a.copy() for name, a in question.answers[0].fields.items()}
    for name, field in specification.derived.items():
        for _ in range(twins.affordable_witnesses()):
            index = tuple(int(i) for i in random.integers(field.shape(question.parameters)))
            terms = specification.terms(question.parameters, exact, name, index)
            if terms:
                right[name][index] = float(sum(value for _, value in terms))
    return replace(question, answers=[replace(question.answers[0], fields=right)])


def _jumped(
    specification: Specification, precision: Precision, parameters: Parameters, twin: Fields, right: Fields
) -> bool:
    """Whether this twin's first answer lies across a discontinuity: that is not rounding."""
    return any(
        largest(specification, parameters, name, twin, right) > _discontinuity(precision) * (field.scale or 1.0)
        for name, field in specification.state.items()
    )


def on_the_edge(specification: Specification, precision: Precision, runs: list[list[Fields]]) -> str:
    """Whether rounding decides on which side of a discontinuity this state lies, and of what: it asks nothing of a
    port then. Empty if it does not.
    """
    right = runs[1][0]
    for field in specification.derived:
        condition = np.maximum(runs[0][0][field], np.abs(right[field]))
        limit = _discontinuity(precision) * precision.allowed(field, condition, right[field])
        for twin in runs[2:]:
            off = np.abs(twin[0][field] - right[field])
            if np.any(off > limit):
                return f"rounding alone moves the specification's {field} by {float(np.max(off)):.2g}"
    return ""


def _discontinuity(precision: Precision) -> float:
    return max(DISCONTINUITY, DISCONTINUITY_ULPS * precision.eps)


def _growth(free_run: Question) -> float:
    """Of the envelope, by a straight line through its logarithm."""
    points = [(a.step, max(a.envelope.values())) for a in free_run.answers if max(a.envelope.values()) > 0]
    if len(points) < 2:
        return 1.0
    step, envelope = np.array(points).T
    return float(np.exp(np.polyfit(step, np.log(envelope), 1)[0]))


class Oracle:
    """Asks the specification, in parallel processes and through the cache. Leaving the context ends the processes:
    none may idle beside a port that is timed.
    """

    def __init__(self, source: manifest.Manifest, specification: Specification):
        self.specification = specification
        self.path = str(source.path)
        own = [made_of.content(Path(twins.__file__).with_name(name)) for name in ("twins.py", "condition.py")]
        self.identity = hash_text(specification.identity, own, np.__version__)
        self.memory = joblib.Memory(cache_folder() / "twins", verbose=0)

    def __enter__(self) -> Oracle:
        return self

    def __exit__(self, *_: object) -> None:
        if processes_can_share():
            get_reusable_executor().shutdown(wait=True, kill_workers=True)

    def __call__(
        self,
        function: Callable,
        jobs: list[tuple],
        progress: Callable[[float], None] = lambda _: None,
        at: float = 0.0,
        share: float = 1.0,
    ) -> list[Any]:
        """function(path of the manifest, identity, *job) for each job; a job begins with parameters, state, marks."""
        cached = self.memory.cache(function, ignore=["path"])
        results: list[Any] = [None] * len(jobs)
        new = [k for k, job in enumerate(jobs) if not cached.check_call_in_cache(self.path, self.identity, *job)]
        sizes = [sum(np.size(a) for a in jobs[k][1].values()) for k in new]
        work = sum(size * (1 + max(jobs[k][2])) for k, size in zip(new, sizes))
        parallel: Iterable = (cached(self.path, self.identity, *jobs[k]) for k in new)
        if len(new) > 1 and (sum(sizes) > MANY or work > MANY_STEPS):
            workers = joblib.Parallel(n_jobs=-1 if processes_can_share() else 1, return_as="generator")
            with _no_ctrl_c_for_children():
                parallel = workers(joblib.delayed(cached)(self.path, self.identity, *jobs[k]) for k in new)
        for done, (k, result) in enumerate(zip(new, parallel)):
            results[k] = result
            progress(at + share * (done + 1) / len(new))
        for k, job in enumerate(jobs):
            if results[k] is None:
                results[k] = cached(self.path, self.identity, *job)
        return results

    def remember(self, make: Callable[[], Any], *what: Any) -> Any:
        """make(), or what it returned for the same `what` before: a whole set of questions and answers in one file."""
        digest = hash_text(self.identity, ladder(), *what)
        path = cache_folder() / "questions" / f"{digest[:24]}.joblib"
        cache.used(path)
        try:
            return joblib.load(path)
        except (OSError, EOFError, ValueError, KeyError, AttributeError):  # not there, or cut short
            made = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        joblib.dump(made, partial)
        partial.replace(path)
        return made


@contextmanager
def _no_ctrl_c_for_children() -> Iterator[None]:
    """A process that is started meanwhile leaves Ctrl-C to this one, which ends it then: its imports else say on the
    terminal where they were interrupted.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@lru_cache(maxsize=1)
def processes_can_share() -> bool:
    """Whether this machine has semaphores: some containers have no /dev/shm to keep them in."""
    try:
        multiprocessing.get_context("spawn").Lock()
    except (OSError, ImportError):
        return False
    return True


@lru_cache(maxsize=1)
def ladder() -> str:
    """A hash of the ladder's own text: another ladder asks other questions."""
    return hash_text(*(made_of.content(path) for path in sorted(Path(__file__).parent.glob("*.py"))))


def evaluate(
    path: str, identity: str, parameters: Parameters, state: Fields, marks: list[int], twin: Twin
) -> list[Fields]:
    """The derived fields of the state after each of `marks` steps, and that state itself where a step was made; of the
    CONDITION, that of the derived fields of the state.
    """
    specification = specification_at(path)
    if twin == CONDITION:
        return [condition_of(specification, parameters, state)]
    now, back = twins.start(specification, parameters, state, twin)
    add = twins.adding(twin)
    seen, step = [], 0
    for mark in marks:
        now = specification.advance(parameters, now, mark - step, add) if mark else now
        step = mark
        derived = specification.observe(parameters, now, add)
        seen.append(back({**now, **derived} if mark else derived))
    return seen


@lru_cache(maxsize=1)
def specification_at(path: str) -> Specification:
    memory.keep()
    return contract.load(manifest.read(Path(path)))

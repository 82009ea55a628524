"""A5: what must hold of a run whatever its rounding, and however chaotic it is.

Four kinds of evidence, each as far as the specification offers it (contract.py), each beside what the
specification and its twins do themselves:

conserved   quantities that the exact motion keeps, over a long run: their drift and their fluctuation
reversal    there and back again in time: how far from the start
relations   the same run mirrored, turned, moved: how far from the run itself
order       how fast the error of the conserved quantities falls with the time step. The order is compared
            with the specification's own: a truncated potential does not give the 2 of the textbook.

Where the twins of the long run have lost each other in chaos, they are a sample of all right runs, and
a port must lie in its prediction interval (Student's t; G. J. Hahn, W. Q. Meeker, Statistical Intervals,
1991, eq. 4.8); where they have not, it must stay by the specification as closely as in A4.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy  # which imports its parts when they are used

from portbench.agreement import twins
from portbench.agreement.levels import Deviation, Verdict, compare
from portbench.agreement.reference import (
    LEAST_KAPPA,
    MARGIN,
    Answer,
    Oracle,
    Question,
    checkpoints,
    evaluate,
    jumps_of,
    largest,
    rounded,
    rounded_parameters,
    specification_at,
    tolerance_of,
)
from portbench.agreement.twins import CONDITION, SPEC, Precision, Twin
from portbench.contract import Case, Fields, Parameters, Specification
from portbench.errors import Refusal
from portbench.protocol import Exchange

SAMPLES = 32  # of the conserved quantities, in the long run
FALSE_ALARM = 1e-5  # two-sided, for each interval
LOST = 0.01  # in units of a field's scale: twins that are farther apart than this are independent
FINER = (1, 2, 4)
NOISE = 1e3  # an error of fewer roundings than this has no order
PART = 20  # the runs there and back again take this part of the steps of A4


@dataclass(frozen=True)
class Interval:
    """A figure of a run, what it is for the specification, and how far from that a right port may be."""

    name: str
    right: float
    tolerance: float


@dataclass(frozen=True)
class Series:
    """A run whose conserved quantities are looked at after each of `marks` steps, and what must come of it."""

    parameters: Parameters
    state: Fields
    marks: list[int]
    intervals: list[Interval]


@dataclass(frozen=True)
class Invariants:
    """All that A5 asks of a port of one precision class on one case."""

    long: Series | None
    reversal: Question | None
    relations: dict[str, Question]
    order: list[Series]  # one per time step; the intervals of all are those of the last
    orders: list[Interval]


def make(
    oracle: Oracle,
    case: Case,
    precision: Precision,
    steps: int,
    long: int,
    progress: Callable[[float], None] = lambda _: None,
) -> Invariants:
    """Run the specification and its twins; from the cache, where this was done before."""
    specification, parameters = oracle.specification, rounded_parameters(case.parameters, precision.dtype)
    state = rounded(specification.disordered_state(parameters), precision.dtype)
    kinds = [SPEC, *twins.twins(specification, parameters, precision)]
    marks = checkpoints(steps)
    there = max(mark for mark in marks if mark <= max(1, steps // PART))
    some = kinds if there > 1 else kinds[:3]  # a specification so slow that few steps are asked for
    with np.errstate(all="ignore"):
        long_series = _long(oracle, precision, parameters, state, long, kinds, progress) if long else None
    for interval in long_series.intervals if long_series else ():
        if not math.isfinite(interval.right):
            raise Refusal(
                f"The specification's own run of case '{case.name}' is not finite: the {interval.name} overflows "
                f"within {long} steps: give the case a smaller time step, or fewer steps in [check] long of the "
                "manifest"
            )
    reversal, related = None, {}
    steps_finer: tuple[list[Series], list[Interval]] = ([], [])
    if specification.offers("reverse"):
        reversal = _reversal(oracle, precision, parameters, state, there, some, progress)
    names = list(specification.relations(parameters, _random()))
    if names:  # the plain runs are those of A4
        runs = oracle(evaluate, [(parameters, state, marks, twin) for twin in kinds])
        plain = [run[marks.index(there)] for run in runs]
        for done, name in enumerate(names):
            progress(0.8 + 0.1 * done / len(names))
            related[name] = _related(oracle, precision, parameters, state, there, kinds[:3], name, plain)
    if steps > 1 and specification.offers("refine") and specification.offers("conserved"):
        steps_finer = _order(oracle, precision, parameters, state, there, some, progress)
    progress(1.0)
    return Invariants(long_series, reversal, related, *steps_finer)


def a5_invariants(x: Exchange, asked: Invariants) -> Verdict:
    """Every figure of this level, in units of its tolerance; the largest decides."""
    figures: list[dict[str, float | str]] = []
    worst = Deviation()

    def note(kind: str, name: str, found: Deviation, value: float, right: float, tolerance: float) -> None:
        nonlocal worst
        figures.append(
            {"kind": kind, "name": name, "value": value, "right": right, "tolerance": tolerance, "ratio": found.ratio}
        )
        if not found.ratio <= worst.ratio:
            worst = found

    def note_interval(kind: str, interval: Interval, value: float) -> None:
        ratio = _ratio(abs(value - interval.right), interval.tolerance)
        sentence = (
            f"{kind}: the {interval.name} is {value:.6g}, and {interval.right:.6g} ± {interval.tolerance:.2g} "
            f"for the specification and its twins"
        )
        note(kind, interval.name, Deviation(ratio, sentence), value, interval.right, interval.tolerance)

    def note_question(kind: str, name: str, question: Question, fields: Fields) -> None:
        found = compare(x, question, question.answers[0], fields)
        biggest = max(float(np.max(t)) for t in question.answers[0].tolerance.values())
        sentence = f"{kind}: {name}: {found.sentence}"
        note(kind, name, Deviation(found.ratio, sentence, found.evidence), found.ratio * biggest, 0.0, biggest)

    if asked.reversal:
        note_question("reversal", "there and back again", asked.reversal, _there_and_back(x, asked.reversal))
    plain: Fields = {}
    for name, question in asked.relations.items():
        if not plain:
            (plain,) = x.follow(question.parameters, question.state, [question.answers[0].step])
        note_question("relation", name, *_run_related(x, question, name, plain))
    if asked.order:
        values = orders([_port_series(x, series) for series in asked.order])
        for interval in asked.orders:
            note_interval("order", interval, values.get(interval.name, math.nan))
    if asked.long:
        values = figures_of(_port_series(x, asked.long))
        for interval in asked.long.intervals:
            note_interval("conserved", interval, values.get(interval.name, math.nan))
    passed = worst.ratio <= 1
    if not figures:
        return Verdict("A5", True, 0.0, "A5 asked nothing: the specification declares no invariants", asked=False)
    finding = f"{len(figures)} invariants, at most {worst.ratio:.2g} of the tolerance" if passed else worst.sentence
    return Verdict("A5", passed, worst.ratio, finding, {"figures": figures, **({} if passed else worst.evidence)})


def _ratio(off: float, tolerance: float) -> float:
    ratio = 0.0 if off == 0 else off / tolerance if tolerance else math.inf
    return math.inf if math.isnan(ratio) else ratio


# ---------------------------------------------------------------- conserved quantities


def _long(
    oracle: Oracle,
    precision: Precision,
    parameters: Parameters,
    state: Fields,
    steps: int,
    kinds: list[Twin],
    progress: Callable[[float], None],
) -> Series | None:
    if not oracle.specification.offers("conserved"):
        return None
    marks = sorted({max(1, round(m)) for m in np.linspace(0, steps, SAMPLES + 1)[1:]})
    runs = oracle(series, [(parameters, state, marks, twin) for twin in [CONDITION, *kinds]], progress, 0.0, 0.7)
    condition = runs[0]["conserved"]
    ends = [run["end"] for run in runs[1:]]
    apart = max(
        largest(oracle.specification, parameters, name, end, ends[0]) / (field.scale or 1.0)
        for end in ends[1:]
        for name, field in oracle.specification.state.items()
    )
    figures = [figures_of(run["conserved"]) for run in runs[1:]]
    intervals = []
    for name, right in figures[0].items():
        values = np.array([f[name] for f in figures])
        quantity = name.split(" of ", 1)[1]
        rounding = LEAST_KAPPA * precision.eps * float(np.max(condition[quantity], initial=0.0)) * math.sqrt(steps)
        if apart > LOST:
            count = len(values)
            right = float(np.mean(values))
            quantile = float(scipy.stats.t.ppf(1 - FALSE_ALARM / 2, count - 1))
            tolerance = quantile * float(np.std(values, ddof=1)) * math.sqrt(1 + 1 / count)
        else:
            tolerance = MARGIN * float(np.max(np.abs(values - right)))
        intervals.append(Interval(name, right, tolerance + rounding))
    return Series(parameters, state, marks, intervals)


def figures_of(kept: dict[str, np.ndarray]) -> dict[str, float]:
    """Drift (straight line, end to end) and fluctuation about it; of several components, the largest."""
    found = {}
    for name, values in kept.items():
        flat = values.reshape(len(values), -1) - values.reshape(len(values), -1)[0]
        time = np.linspace(-0.5, 0.5, len(flat))
        slope = (time @ flat) / (time @ time)
        rest = flat - flat.mean(axis=0) - time[:, None] * slope
        found[f"drift of {name}"] = float(slope[0]) if slope.size == 1 else float(np.max(np.abs(slope)))
        found[f"fluctuation of {name}"] = float(np.max(np.std(rest, axis=0)))
    return found


def series(
    path: str, identity: str, parameters: Parameters, state: Fields, marks: list[int], twin: Twin
) -> dict[str, dict[str, np.ndarray]]:
    """The conserved quantities at the start and after each of `marks` steps, and the state after the last."""
    specification = specification_at(path)
    now, back = twins.start(specification, parameters, state, twin)
    add = twins.adding(twin)
    seen: dict[str, list[np.ndarray]] = {}
    step = 0
    # the condition is wanted of the first state only: summing absolute values is no way to move
    for mark in [0] if twin == CONDITION else [0, *marks]:
        now = specification.advance(parameters, now, mark - step, add) if mark else now
        step = mark
        derived = specification.observe(parameters, now, add)
        size = np.abs if twin == CONDITION else np.asarray
        fields = back({name: np.asarray(size(a)) for name, a in {**now, **derived}.items()})
        for name, value in specification.conserved(parameters, fields).items():
            seen.setdefault(name, []).append(value)
    end = back({name: now[name] for name in specification.state})
    return {"conserved": {name: np.array(values) for name, values in seen.items()}, "end": end}


def _port_series(x: Exchange, asked: Series) -> dict[str, np.ndarray]:
    seen: dict[str, list[np.ndarray]] = {}
    for fields in x.follow(asked.parameters, asked.state, [0, *asked.marks]):
        for name, value in x.specification.conserved(asked.parameters, fields).items():
            seen.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in seen.items()}


# ---------------------------------------------------------------- order in the time step


def _order(
    oracle: Oracle,
    precision: Precision,
    parameters: Parameters,
    state: Fields,
    steps: int,
    kinds: list[Twin],
    progress: Callable[[float], None],
) -> tuple[list[Series], list[Interval]]:
    asked = [
        Series(oracle.specification.refine(parameters, finer), state, [k * finer for k in range(1, steps + 1)], [])
        for finer in FINER
    ]
    jobs = [(s.parameters, s.state, s.marks, twin) for s in asked for twin in [CONDITION, *kinds]]
    runs = [run["conserved"] for run in oracle(series, jobs, progress, 0.9, 0.1)]
    per_twin = len(kinds) + 1
    found = [orders([runs[k * per_twin + 1 + t] for k in range(len(FINER))]) for t in range(len(kinds))]
    intervals = []
    for name, right in found[0].items():
        quantity = name.split(" of ", 1)[1].split(",")[0]
        rounding = precision.eps * float(np.max(runs[0][quantity], initial=0.0))
        smallest = min(rms(runs[k * per_twin + 1][quantity]) for k in range(len(FINER)))
        if smallest <= NOISE * rounding:
            continue  # conserved to rounding whatever the time step: there is no order
        spread = max(abs(f[name] - right) for f in found)
        intervals.append(Interval(name, right, MARGIN * spread + LEAST_KAPPA * 4 * rounding / smallest))
    return asked if intervals else [], intervals


def orders(runs: list[dict[str, np.ndarray]]) -> dict[str, float]:
    """Of the root mean square error of each quantity, between each time step and its half."""
    found = {}
    for name in runs[0]:
        errors = [rms(run[name]) for run in runs]
        for coarse, (a, b) in zip(FINER, itertools.pairwise(errors)):
            value = math.log2(a / b) if a > 0 and b > 0 else math.nan
            found[f"order of {name}, from dt{_part(coarse)} to dt{_part(2 * coarse)}"] = value
    return found


def rms(values: np.ndarray) -> float:
    """Root mean square deviation from the first value."""
    return float(np.sqrt(np.mean((values - values[0]) ** 2)))


def _part(n: int) -> str:
    return f"/{n}" if n > 1 else ""


# ---------------------------------------------------------------- there and back; the same otherwise


def _reversal(
    oracle: Oracle,
    precision: Precision,
    parameters: Parameters,
    state: Fields,
    steps: int,
    kinds: list[Twin],
    progress: Callable[[float], None],
) -> Question:
    ends = oracle(there_and_back, [(parameters, state, [steps], twin) for twin in kinds], progress, 0.7, 0.1)
    name = f"the state after {steps} steps, reversed"
    return _question(oracle.specification, precision, name, parameters, state, steps, state, ends)


def there_and_back(
    path: str, identity: str, parameters: Parameters, state: Fields, marks: list[int], twin: Twin
) -> Fields:
    """Forward, reversed, as many steps again, reversed: the state in which that ends."""
    specification = specification_at(path)
    now, back = twins.start(specification, parameters, state, twin)
    add = twins.adding(twin)
    for _ in range(2):
        now = specification.reverse(parameters, specification.advance(parameters, now, marks[0], add))
    return back(now)


def _there_and_back(x: Exchange, asked: Question) -> Fields:
    state, steps = asked.state, asked.answers[0].step
    for _ in range(2):
        (fields,) = x.follow(asked.parameters, state, [steps])
        state = x.specification.reverse(asked.parameters, {name: fields[name] for name in x.specification.state})
    return state


def _related(
    oracle: Oracle,
    precision: Precision,
    parameters: Parameters,
    state: Fields,
    steps: int,
    kinds: list[Twin],
    relation: str,
    plain: list[Fields],
) -> Question:
    ends = oracle(run_related, [(parameters, state, [steps], twin, relation, precision.dtype) for twin in kinds])
    specification, right = oracle.specification, {name: plain[0][name] for name in oracle.specification.state}
    return _question(specification, precision, relation, parameters, state, steps, right, ends + plain[1:])


def run_related(
    path: str,
    identity: str,
    parameters: Parameters,
    state: Fields,
    marks: list[int],
    twin: Twin,
    relation: str,
    dtype: str,
) -> Fields:
    """The state after marks[0] steps of the changed start, changed back."""
    specification = specification_at(path)
    other, do, undo = specification.relations(parameters, _random())[relation]
    now, back = twins.start(specification, other, rounded(do(state), dtype), twin)
    now = specification.advance(other, now, marks[0], twins.adding(twin))
    return undo(back(now))


def _run_related(x: Exchange, asked: Question, relation: str, plain: Fields) -> tuple[Question, Fields]:
    """The port's own plain run as the right answer, and what it gives for the changed one."""
    answer = asked.answers[0]
    other, do, undo = x.specification.relations(asked.parameters, _random())[relation]
    (fields,) = x.follow(other, do(asked.state), [answer.step])
    right = {name: plain[name] for name in x.specification.state}
    question = Question(f"the start {relation}", asked.parameters, asked.state, [replace(answer, fields=right)])
    return question, undo(fields)


def _question(
    specification: Specification,
    precision: Precision,
    name: str,
    parameters: Parameters,
    state: Fields,
    steps: int,
    right: Fields,
    ends: list[Fields],
) -> Question:
    jumps = jumps_of(specification, parameters, precision)
    envelope = {
        field: max(largest(specification, parameters, field, end, right) for end in ends)
        for field in specification.state
    }
    tolerance = {
        field: tolerance_of(precision, field, size, right[field], jumps.get(field, 0.0))
        for field, size in envelope.items()
    }
    return Question(name, parameters, state, [Answer(steps, right, tolerance, envelope)])


def _random() -> np.random.Generator:
    return np.random.default_rng(7)  # the same relations for the specification and for every port

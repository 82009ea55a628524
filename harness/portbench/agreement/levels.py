"""The rungs of the ladder: each asks a running port, and says pass or fail with a number and the evidence.

A0 contract     what the protocol promises: bits come back, every field is written, refusals are refusals,
                the clock is true, no more threads than given
A1 determinism  the same run three times: the same bits, or a spread that rounding explains
A2 kernel       derived fields of given states, among them the specification's probes
A3 few steps    one step and several from given states of the specification's own run: no chaos, any time
A4 free run     a whole run inside the envelope of the twins

A5 is in invariants.py, A6 in statistics.py. Every comparison is written so that NaN fails.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from portbench import exchange
from portbench.agreement import slips
from portbench.agreement.reference import Answer, Question, Reference
from portbench.contract import Fields, Parameters, Specification
from portbench.errors import PortFailure, Refusal
from portbench.protocol import Exchange
from portbench.timing import clock, conditions
from portbench.timing.clock import Timed
from portbench.timing.conditions import Watch

REPEATS = 3  # of the free run, in A1
LAST_BITS = 4  # roundings of the largest number of a field, by which a state may come back otherwise
CLOCK_SECONDS = 0.1  # of runs by which the clock and the threads are judged; the processor's ticks are 10 ms
SHORTEST_RUN = 1e-3  # seconds; the round trip itself takes a tenth of that
MOST_STEPS = 1 << 20
MOST_RUNS = 100
LONGEST_LOADS = 1.0  # seconds; where runs are short beside them, the port may make its steps there
LONGEST_RUNS = 10.0  # seconds of runs, after which no number of steps lasts long enough twice
TRIES = 3  # in which a port breaks a promise
MOST_HELD_UP = 8  # tries in which something held it up
SLOWEST_CLOCK = 0.5  # of the time that the harness waits, a port's clock must see this part at least
MOST_CPU = 1.3  # processors used, over threads given
TICKS = 0.03  # seconds of processor time that prove nothing
_NOTHING = "nothing can be proved, of this port or any other"


@dataclass(frozen=True)
class Verdict:
    """What one level found."""

    level: str
    passed: bool
    ratio: float  # largest deviation over its tolerance: at most 1 passes
    finding: str  # one sentence
    evidence: dict[str, Any] = field(default_factory=dict)
    asked: bool = True  # or the specification offers nothing to ask at this level, and passing it says nothing


@dataclass(frozen=True)
class Deviation:
    """The worst of some comparisons: how many times its tolerance, and where; of a port's own state also what was
    asked and what it `gave`, for the microscope.
    """

    ratio: float = 0.0
    sentence: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)
    question: Question | None = None
    gave: Fields = field(default_factory=dict)


def together(level: str, parts: list[Callable[[], Verdict]]) -> Verdict:
    """Several parts of one level as one verdict; what comes after the first that fails is not asked."""
    verdicts: list[Verdict] = []
    for part in parts:
        verdicts.append(part())
        if not verdicts[-1].passed:
            return verdicts[-1]
    finding = "; ".join(v.finding for v in verdicts if v.finding)
    evidence = {name: value for v in verdicts for name, value in v.evidence.items()}
    return Verdict(level, True, max(v.ratio for v in verdicts), finding, evidence)


def a0_contract(x: Exchange, reference: Reference, threads: int) -> Verdict:
    """Exact: nothing here is a matter of rounding."""
    complaint = _contract(x, reference, threads)
    passed = not complaint
    return Verdict("A0", passed, 0.0 if passed else math.inf, complaint or "every promise of the protocol is kept")


def _contract(x: Exchange, reference: Reference, threads: int) -> str:
    """The first promise that is broken, in a sentence; empty if none is."""
    parameters, state = reference.free_run.parameters, reference.free_run.state
    said = x.port.hello()
    if said.get("threads") != str(threads):
        serial = said.get("threads") == "1"
        remedy = ": if it can only use one, say `threads = false` of it in the manifest" if serial else ""
        return f"it was given {threads} threads and says that it uses {said.get('threads')}{remedy}"
    if said.get("precision") != x.precision:
        told = f"says {said['precision']}" if "precision" in said else "does not say its precision= in reply to `hello`"
        return f"the manifest declares {x.precision} and the port {told}"
    x.load(parameters, state)
    echoed, fields = x.save(parameters)
    changed = parameter_that_changed(parameters, echoed)
    if changed:
        return changed
    for name in state:
        if not _same_but_for_rounding(reference, name, fields[name]) and (
            complaint := slips.echo(x, parameters, state, fields, name)
        ):
            return complaint
    for name, array in fields.items():
        if not np.all(np.isfinite(array)):
            return f"{name}{_at(np.argwhere(~np.isfinite(array))[0])} was never written, or is not finite"
    complaint = _refusals(x, parameters, state)
    if complaint:
        return complaint
    _, after_refusals = x.save(parameters)
    if any(not np.array_equal(after_refusals[name], fields[name]) for name in state):
        return "a command that was refused changed the loaded state"
    x.port.run(1)
    _, moved = x.save(parameters)
    step = reference.free_run.answers[0].fields if reference.free_run.answers else state
    if all(np.array_equal(moved[name], fields[name]) for name in state) and any(
        not np.array_equal(step[name], state[name]) for name in state
    ):
        return "run 1 changed nothing: the port gives back what it was given"
    return _clock_and_threads(x, reference, threads)


def _same_but_for_rounding(reference: Reference, name: str, back: np.ndarray) -> bool:
    """A port may keep a state in another form, as velocities times the time step or half a step on, and give it back
    to the last bits but some.
    """
    given, precision = reference.free_run.state[name], reference.precision
    return bool(np.all(np.abs(back - given) <= LAST_BITS * precision.eps * precision.size(name, given)))


def parameter_that_changed(given: Parameters, back: Parameters) -> str:
    """The first that a port did not save as it was given, in a sentence; empty if all are the same bits."""
    for name, value in given.items():
        if name not in back:
            return f"the parameter {name} did not come back"
        if not _came_back(value, back[name]):
            return f"the parameter {name} came back as {back[name]} instead of {value}"
    return ""


def _came_back(given: Any, back: Any) -> bool:
    """The same bits; a port may write 1.0 as 1, as C does."""
    if isinstance(given, (tuple, list)):
        back = back if isinstance(back, tuple) else (back,)
        return len(given) == len(back) and all(map(_came_back, given, back))
    if isinstance(given, float) and isinstance(back, int):
        return float(str(back)) == given  # by way of the text: a number may be too long for a float
    return exchange.text(given) == exchange.text(back)


def _clock_and_threads(x: Exchange, reference: Reference, threads: int) -> str:
    """Whether its nanoseconds are those that the harness waits, and its processor time that of its threads."""
    trip, complaint = clock.round_trip(x.port), ""
    busy, held_up, broken, claims = False, 0, 0, list[int]()
    while broken < TRIES and held_up < MOST_HELD_UP:  # one good try is enough
        runs = _timed_runs(x, reference, claims)
        if runs is None:
            return ""  # its motion ran away: the levels above will say why; or the end-to-end check will judge
        timed, used, shortest = runs
        tick = clock.tick(claims)
        verdict = clock.judge(timed, threads, trip, SLOWEST_CLOCK, tick)
        told = f"it says that its runs took {timed.claimed:.6g} s, and the harness waited {timed.waited:.6g} s"
        told += f"; its clock ticks every {1e3 * tick:.3g} ms" if tick else ""
        if verdict == "ahead":
            return told
        if shortest < SHORTEST_RUN:  # the longest may have waited for the machine
            return ""  # too short for a judgement; the timing will judge
        if verdict == "held up":
            complaint, held_up = told, held_up + 1
            busy |= conditions.disturbed(used)
        elif verdict == "leaves out work":
            complaint, broken = told, broken + 1
        elif timed.cpu > MOST_CPU * threads * timed.waited + TICKS:
            broken += 1
            complaint = f"it used {used['cpu']:.2g} processors and was given {threads} thread{'s' * (threads > 1)}"
        else:
            return ""
    return complaint if broken == TRIES or not busy else ""  # the timing will judge


def _timed_runs(x: Exchange, reference: Reference, claims: list[int]) -> tuple[Timed, dict[str, float], float] | None:
    """Of runs that are long enough to tell; what the machine did meanwhile; and the seconds of the shortest one.
    None if the port refuses to run so far, runs are nothing beside loads, or a run is quick only when it is repeated.
    All its nanoseconds are added to `claims`.
    """
    steps, rehearsed, family = 1, 0, conditions.family(x.port)
    claimed = waited = loading = running = 0.0
    spent, shortest, runs = Watch(), math.inf, 0
    while waited < CLOCK_SECONDS and runs < MOST_RUNS:
        begin = time.perf_counter()
        x.load(reference.free_run.parameters, reference.free_run.state)
        loading += time.perf_counter() - begin
        if (loading > LONGEST_LOADS and running < clock.EARLY * loading) or running > LONGEST_RUNS:
            return None
        before, begin = Watch.now(family), time.perf_counter()
        try:
            nanoseconds = x.port.run(steps)
        except PortFailure as failure:
            if failure.kind != "refused":
                raise
            return None
        seconds = time.perf_counter() - begin
        claims.append(nanoseconds)
        running += seconds
        if steps < MOST_STEPS and seconds < CLOCK_SECONDS / 2 and nanoseconds / 1e9 < seconds + clock.COARSEST:
            steps *= 2  # on the way to a run that is long enough
            continue
        if steps != rehearsed:  # a port may compile for each number of steps
            rehearsed = steps
            continue
        claimed, waited, runs = claimed + nanoseconds / 1e9, waited + seconds, runs + 1
        shortest, spent = min(shortest, seconds), spent + (Watch.now(family) - before)
    return Timed(claimed, waited, spent.port, runs), spent.over(waited), shortest


def _refusals(x: Exchange, parameters: Parameters, state: Fields) -> str:
    """Send what must be refused."""
    first = next(iter(state))
    poisoned = {name: array.copy() for name, array in state.items()}
    poisoned[first].flat[0] = np.nan
    short = {name: array for name, array in state.items() if name != first}

    def load_poisoned() -> None:
        x.load(parameters, poisoned)

    def load_short() -> None:
        x.load(parameters, short)

    attempts = {
        "an unknown command": lambda: x.port.ask("dance"),
        "a load whose first field holds a NaN": load_poisoned,
        "a load without its first field": load_short,
        "a load from a folder that does not exist": lambda: x.port.load(x.folder / "nowhere"),
    }
    for what, attempt in attempts.items():
        try:
            with x.port.at_once(what):
                attempt()
        except PortFailure as failure:
            if failure.kind != "refused":
                raise
        else:
            return f"{what} got `ok` and should have been refused with `error`{_behind(x)}"
    return ""


def _behind(x: Exchange) -> str:
    """Whether its replies come late: that to `hello` says who it is."""
    try:
        in_order = "protocol" in x.port.ask("hello")
    except PortFailure as failure:
        if failure.kind != "refused":
            raise
        in_order = False
    return "" if in_order else ": its replies run behind, each to an earlier command"


def trace(x: Exchange, question: Question) -> list[Fields]:
    """What the port gives at each of the question's answers."""
    return list(x.follow(question.parameters, question.state, [answer.step for answer in question.answers]))


def a1_determinism(specification: Specification, reference: Reference, traces: list[list[Fields]]) -> Verdict:
    """The traces of the same free run several times: bits, or else the tolerance of A4."""
    worst, same = spread(specification, reference.free_run, traces)
    badge = "bitwise" if same else "within rounding" if worst.ratio <= 1 else "a race"
    if same:
        finding = f"{len(traces)} runs gave the same bits"
    elif worst.ratio <= 1:
        finding = f"{len(traces)} runs differ by at most {worst.ratio:.2g} of what rounding explains"
    else:
        finding = f"the same run gives different answers, as a data race does: {worst.sentence}"
    return Verdict("A1", worst.ratio <= 1, worst.ratio, finding, {"badge": badge, **worst.evidence})


def spread(specification: Specification, question: Question, traces: list[list[Fields]]) -> tuple[Deviation, bool]:
    """The largest difference of any trace from the first, in tolerances, and whether all bits are the same."""
    worst, same = Deviation(), True
    for other in traces[1:]:
        for answer, a, b in zip(question.answers, traces[0], other, strict=True):
            if all(np.array_equal(a[name], b[name], equal_nan=True) for name in a):  # NaN twice is no race
                continue
            same = False
            first = Answer(answer.step, {name: a[name] for name in answer.tolerance}, answer.tolerance, {})
            found = worst_element(specification, question, first, b)
            if not found.ratio <= worst.ratio:
                worst = found
    return worst, same


def a2_kernel(x: Exchange, reference: Reference, refuses: Mapping[str, str]) -> Verdict:
    """Derived fields, element by element, in units of eps times the sum of the absolute terms."""
    if not x.specification.derived:
        return Verdict("A2", True, 0.0, "A2 asked nothing: the specification has no derived fields", asked=False)
    question = reference.kernel[0] if reference.kernel else None
    if question:
        # the promise of `load`: what is derived from a state can be saved without any run
        x.load(question.parameters, question.state)
        found = compare(x, question, question.answers[0], x.save(question.parameters)[1])
        if not found.ratio <= 1:
            return Verdict("A2", False, found.ratio, f"saved without a run, {found.sentence}", found.evidence)
    return _worst(x, "A2", reference.kernel, "derived fields of given states", refuses, reference.silent)


def a3_few_steps(x: Exchange, reference: Reference, refuses: Mapping[str, str]) -> Verdict:
    silent = [question.silent for question in reference.few_steps if not question.answers]
    return _worst(x, "A3", reference.few_steps, "a few steps from given states", refuses, silent)


def a4_free_run(x: Exchange, reference: Reference, seen: list[Fields]) -> Verdict:
    """`seen` is the trace of the free run."""
    question = reference.free_run
    worst, curve = Deviation(), []
    for answer, fields in zip(question.answers, seen, strict=True):
        found = compare(x, question, answer, fields)
        curve.append({"step": answer.step, "ratio": found.ratio, "envelope": answer.envelope})
        if not found.ratio <= worst.ratio:
            worst = found
        if not worst.ratio <= 1:
            return Verdict("A4", False, worst.ratio, worst.sentence, {**worst.evidence, "curve": curve})
    if not curve:
        return Verdict("A4", False, math.inf, f"{_NOTHING}: {question.silent}")
    finding = f"a free run of {reference.horizon} steps: at most {worst.ratio:.2g} of the tolerance"
    return Verdict("A4", True, worst.ratio, finding, {"curve": curve, "growth": reference.growth})


def _worst(
    x: Exchange, level: str, questions: list[Question], what: str, refuses: Mapping[str, str], silent: Sequence[str]
) -> Verdict:
    """Ask all the questions; the largest ratio of deviation to tolerance decides. What a port `refuses`, by the name
    of the question, may get `error` instead of an answer, and is said in the finding. `silent` says why states ask
    nothing, a sentence each.
    """
    worst, count, refused = Deviation(), 0, list[str]()
    for question in questions:
        try:
            given = trace(x, question)
        except PortFailure as failure:
            if failure.kind != "refused" or question.name not in refuses:
                raise
            refused.append(f"{question.name} ({refuses[question.name]})")
            continue
        for answer, fields in zip(question.answers, given, strict=True):
            found = compare(x, question, answer, fields)
            count += any(np.size(fields[name]) for name in answer.tolerance)
            if not found.ratio <= worst.ratio:
                worst = found
            if not worst.ratio <= 1:
                return Verdict(level, False, worst.ratio, worst.sentence, worst.evidence)
    if not count:
        why = silent[0] if silent else "it refuses every state" if refused else "there is no state with a number in it"
        return Verdict(level, False, math.inf, f"{what}: {_NOTHING}: {why}")
    left_out = f"; {len(silent)} states ask nothing, for rounding alone decides there" if silent else ""
    not_done = f"; it refuses {', '.join(refused)}" if refused else ""
    finding = f"{what}: {count} comparisons, at most {worst.ratio:.2g} of the tolerance{left_out}{not_done}"
    return Verdict(level, True, worst.ratio, finding, {"refused": refused} if refused else {})


def compare(x: Exchange, question: Question, answer: Answer, fields: Fields) -> Deviation:
    """The worst element of the fields for which the answer has a tolerance."""
    return deviation(x.specification, question, answer, fields)


def deviation(specification: Specification, question: Question, answer: Answer, fields: Fields) -> Deviation:
    """The same, without a port."""
    if answer.step:
        try:
            specification.check_state(question.parameters, {name: fields[name] for name in specification.state})
        except Refusal as refusal:
            sentence = f"after {answer.step} steps from {question.name}, the saved state is not legal: {refusal}"
            return Deviation(math.inf, sentence, {"from": question.name, "step": answer.step})
    return worst_element(specification, question, answer, fields)


def worst_element(specification: Specification, question: Question, answer: Answer, fields: Fields) -> Deviation:
    """The same of a state that is known to be legal."""
    worst = Deviation()
    for name, right in answer.fields.items():
        if name not in answer.tolerance:
            continue
        with np.errstate(all="ignore"):
            off = np.abs(specification.difference(question.parameters, name, fields[name], right))
            tolerance = np.broadcast_to(answer.tolerance[name], off.shape)
            # zero tolerance (an empty sum) asks for the exact value; NaN is infinitely wrong
            ratio = np.where(off == 0, 0.0, off / tolerance)
            ratio = np.where(np.isnan(ratio), math.inf, ratio)
        if not off.size:
            continue
        at = np.unravel_index(int(np.argmax(ratio)), off.shape)
        if not ratio[at] <= worst.ratio:
            when = f"after {answer.step} step{'s' * (answer.step > 1)} from" if answer.step else "of"
            got, want = float(fields[name][at]), float(right[at])
            sentence = (
                f"{name}{_at(at)} {when} {question.name} is {got!r} and should be {want!r}: "
                f"off by {float(off[at]):.2g}, {float(ratio[at]):.3g} times the tolerance"
            )
            evidence = {
                "field": name,
                "index": [int(i) for i in at],
                "step": answer.step,
                "from": question.name,
                "got": got,
                "want": want,
                "got_hex": got.hex(),
                "want_hex": want.hex(),
                "tolerance": float(tolerance[at]),
            }
            worst = Deviation(float(ratio[at]), sentence, evidence)
    return worst


def _at(index: Any) -> str:
    return "[" + ", ".join(str(int(i)) for i in index) + "]"

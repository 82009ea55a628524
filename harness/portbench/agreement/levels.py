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
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil

from portbench import exchange
from portbench.agreement.reference import Answer, Question, Reference
from portbench.contract import Fields, Parameters, Specification
from portbench.errors import PortFailure, Refusal
from portbench.protocol import Exchange

REPEATS = 3  # of the free run, in A1
CLOCK_SECONDS = 0.1  # of runs by which the clock and the threads are judged; the processor's ticks are 10 ms
SHORTEST_RUN = 1e-3  # seconds; the round trip itself takes a tenth of that
MOST_STEPS = 1 << 20
MOST_RUNS = 100
TRIES = 3
SLOWEST_CLOCK = 0.5  # of the time that the harness waits, a port's clock must see this part at least
MOST_CPU = 1.3  # processors used, over threads given
TICKS = 0.03  # seconds of processor time that prove nothing


@dataclass(frozen=True)
class Verdict:
    """What one level found."""

    level: str
    passed: bool
    ratio: float  # largest deviation over its tolerance: at most 1 passes
    finding: str  # one sentence
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Deviation:
    """The worst of some comparisons: how many times its tolerance, and where."""

    ratio: float = 0.0
    sentence: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)


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
        return f"it was given {threads} threads and says that it uses {said.get('threads')}"
    if said.get("precision") != x.precision:
        return f"the manifest declares {x.precision} and the port says {said.get('precision')}"
    x.load(parameters, state)
    echoed, fields = x.save(parameters)
    for name, value in parameters.items():
        if name not in echoed:
            return f"the parameter {name} did not come back"
        if not _came_back(value, echoed[name]):
            return f"the parameter {name} came back as {echoed[name]} instead of {value}"
    for name, array in state.items():
        if not np.array_equal(fields[name], array):
            at = tuple(np.argwhere(~(fields[name] == array))[0])
            given, back = float(array[at]), float(fields[name][at])
            return f"{name}{_at(at)} was given as {given!r} and came back as {back!r}"
    for name, array in fields.items():
        if not np.all(np.isfinite(array)):
            return f"{name}{_at(np.argwhere(~np.isfinite(array))[0])} was never written, or is not finite"
    complaint = _refusals(x, parameters, state)
    if complaint:
        return complaint
    _, after_refusals = x.save(parameters)
    if any(not np.array_equal(after_refusals[name], state[name]) for name in state):
        return "a command that was refused changed the loaded state"
    x.port.run(1)
    _, moved = x.save(parameters)
    step = reference.free_run.answers[0].fields if reference.free_run.answers else state
    if all(np.array_equal(moved[name], state[name]) for name in state) and any(
        not np.array_equal(step[name], state[name]) for name in state
    ):
        return "run 1 changed nothing: the port gives back what it was given"
    return _clock_and_threads(x, reference, threads)


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
    complaint = ""
    for _ in range(TRIES):  # of several tries one is enough: the machine may have been away for a while
        claimed, waited, used, shortest = _timed_runs(x, reference)
        if claimed > waited:
            return f"it says that its runs took {claimed:.6g} s, and the harness waited {waited:.6g} s"
        if shortest < SHORTEST_RUN:  # the longest may have waited for the machine
            return ""  # too short for a judgement; the timing will judge
        if claimed < SLOWEST_CLOCK * waited:
            complaint = f"it says that its runs took {claimed:.6g} s, and the harness waited {waited:.6g} s"
        elif used > MOST_CPU * threads * waited + TICKS:
            complaint = f"it used {used / waited:.2g} processors and was given {threads} thread{'s' * (threads > 1)}"
        else:
            return ""
    return complaint


def _timed_runs(x: Exchange, reference: Reference) -> tuple[float, float, float, float]:
    """Seconds that the port claims, that the harness waited, and of processor time; waited for the shortest run."""
    steps = 1
    claimed = waited = used = 0.0
    shortest, runs = math.inf, 0
    while waited < CLOCK_SECONDS and runs < MOST_RUNS:
        x.load(reference.free_run.parameters, reference.free_run.state)
        cpu, begin = _cpu_seconds(x), time.perf_counter()
        try:
            nanoseconds = x.port.run(steps)
        except PortFailure as failure:
            if failure.kind != "refused":
                raise
            return 0.0, 0.0, 0.0, 0.0  # its motion ran away: the levels above will say why
        seconds = time.perf_counter() - begin
        if steps < MOST_STEPS and seconds < CLOCK_SECONDS / 2:
            steps *= 2  # on the way to a run that is long enough
            if nanoseconds / 1e9 > seconds:
                return nanoseconds / 1e9, seconds, 0.0, seconds
            continue
        claimed, waited, runs = claimed + nanoseconds / 1e9, waited + seconds, runs + 1
        shortest, used = min(shortest, seconds), used + _cpu_seconds(x) - cpu
    return claimed, waited, used, shortest


def _cpu_seconds(x: Exchange) -> float:
    """Processor time of the port's process and its children so far."""
    try:
        process = psutil.Process(x.port.process.pid)
        times = [p.cpu_times() for p in [process, *process.children(recursive=True)]]
    except psutil.Error:
        return 0.0
    return sum(t.user + t.system for t in times)


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
            attempt()
        except PortFailure as failure:
            if failure.kind != "refused":
                raise
        else:
            return f"{what} got `ok` and should have been refused with `error`"
    return ""


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
            found = _largest(specification, question, first, b)
            if not found.ratio <= worst.ratio:
                worst = found
    return worst, same


def a2_kernel(x: Exchange, reference: Reference, refuses: Mapping[str, str]) -> Verdict:
    """Derived fields, element by element, in units of eps times the sum of the absolute terms."""
    question = reference.kernel[0] if reference.kernel else None
    if question:
        # the promise of `load`: what is derived from a state can be saved without any run
        x.load(question.parameters, question.state)
        found = compare(x, question, question.answers[0], x.save(question.parameters)[1])
        if not found.ratio <= 1:
            return Verdict("A2", False, found.ratio, f"saved without a run, {found.sentence}", found.evidence)
    return _worst(x, "A2", reference.kernel, "derived fields of given states", refuses)


def a3_few_steps(x: Exchange, reference: Reference, refuses: Mapping[str, str]) -> Verdict:
    return _worst(x, "A3", reference.few_steps, "a few steps from given states", refuses)


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
        no = "the envelope of the twins leaves no step at which anything can be proved"
        return Verdict("A4", False, math.inf, no)
    finding = f"a free run of {reference.horizon} steps: at most {worst.ratio:.2g} of the tolerance"
    return Verdict("A4", True, worst.ratio, finding, {"curve": curve, "growth": reference.growth})


def _worst(x: Exchange, level: str, questions: list[Question], what: str, refuses: Mapping[str, str]) -> Verdict:
    """Ask all the questions; the largest ratio of deviation to tolerance decides. What a port `refuses`, by the name
    of the question, may get `error` instead of an answer, and is said in the finding.
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
            count += 1
            if not found.ratio <= worst.ratio:
                worst = found
            if not worst.ratio <= 1:
                return Verdict(level, False, worst.ratio, worst.sentence, worst.evidence)
    if not count:
        return Verdict(level, False, math.inf, f"{what}: the twins leave nothing that can be proved")
    silent = sum(not question.answers for question in questions)
    left_out = f"; {silent} states ask nothing, for rounding alone decides there" if silent else ""
    not_done = f"; it refuses {', '.join(refused)}" if refused else ""
    finding = f"{what}: {count} comparisons, at most {worst.ratio:.2g} of the tolerance{left_out}{not_done}"
    return Verdict(level, True, worst.ratio, finding, {"refused": refused} if refused else {})


def compare(x: Exchange, question: Question, answer: Answer, fields: Fields) -> Deviation:
    """The worst element of the fields for which the answer has a tolerance."""
    if answer.step:
        try:
            x.specification.check_state(question.parameters, {name: fields[name] for name in x.specification.state})
        except Refusal as refusal:
            sentence = f"after {answer.step} steps from {question.name}, the saved state is not legal: {refusal}"
            return Deviation(math.inf, sentence, {"from": question.name, "step": answer.step})
    return _largest(x.specification, question, answer, fields)


def _largest(specification: Specification, question: Question, answer: Answer, fields: Fields) -> Deviation:
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

"""The rungs of the ladder: each asks a running port, and says pass or fail with a number and the evidence.

A0 contract    what the protocol promises: bits come back, every field is written, refusals are refusals
A2 kernel      derived fields of given states, among them the specification's probes
A3 one step    one step from given states of the specification's own run: no chaos, any time
A4 free run    a whole run inside the envelope of the twins

Every comparison is written so that NaN fails.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from portbench.agreement.reference import Answer, Question, Reference
from portbench.contract import Fields, Parameters, Specification
from portbench.errors import PortFailure
from portbench.protocol import Exchange


@dataclass(frozen=True)
class Verdict:
    """What one level found."""

    level: str
    passed: bool
    ratio: float  # largest deviation over its tolerance: at most 1 passes
    finding: str  # one sentence
    evidence: dict[str, Any] = field(default_factory=dict)


def a0_contract(x: Exchange, reference: Reference, threads: int, precision: str) -> Verdict:
    """Exact: nothing here is a matter of rounding."""
    parameters, state = reference.free_run.parameters, reference.free_run.state
    complaint = _contract(x, parameters, state, reference, threads, precision)
    passed = not complaint
    return Verdict("A0", passed, 0.0 if passed else math.inf, complaint or "every promise of the protocol is kept")


def _contract(
    x: Exchange, parameters: Parameters, state: Fields, reference: Reference, threads: int, precision: str
) -> str:
    """The first promise that is broken, in a sentence; empty if none is."""
    said = x.port.hello()
    if said.get("threads") != str(threads):
        return f"it was given {threads} threads and says that it uses {said.get('threads')}"
    if said.get("precision") != precision:
        return f"the manifest declares {precision} and the port says {said.get('precision')}"
    x.load(parameters, state)
    echoed, fields = x.save(parameters)
    for name, value in parameters.items():
        if name not in echoed:
            return f"the parameter {name} did not come back"
        if np.any(np.asarray(echoed[name]) != np.asarray(value)):
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
    step = reference.free_run.answers[0].fields
    if all(np.array_equal(moved[name], state[name]) for name in state) and any(
        not np.array_equal(step[name], state[name]) for name in state
    ):
        return "run 1 changed nothing: the port gives back what it was given"
    return ""


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


def a2_kernel(x: Exchange, reference: Reference) -> Verdict:
    """Derived fields, element by element, in units of eps times the sum of the absolute terms."""
    return _worst(x, "A2", reference.kernel, "derived fields of given states")


def a3_one_step(x: Exchange, reference: Reference) -> Verdict:
    return _worst(x, "A3", reference.one_step, "one step from given states")


def a4_free_run(x: Exchange, reference: Reference) -> Verdict:
    return _worst(x, "A4", [reference.free_run], f"a free run of {reference.horizon} steps")


def _worst(x: Exchange, level: str, questions: list[Question], what: str) -> Verdict:
    """Ask all the questions; the largest ratio of deviation to tolerance decides."""
    worst, count, curve = _Deviation(), 0, []
    for question in questions:
        x.load(question.parameters, question.state)
        step = 0
        for answer in question.answers:
            x.port.run(answer.step - step)
            step = answer.step
            _, fields = x.save(question.parameters)
            found = _compare(x.specification, question, answer, fields)
            count += 1
            if len(questions) == 1:
                curve.append({"step": step, "ratio": found.ratio, "envelope": answer.envelope})
            if not found.ratio <= worst.ratio:
                worst = found
            if not worst.ratio <= 1:
                return Verdict(level, False, worst.ratio, worst.sentence, worst.evidence)
    if not count:
        return Verdict(
            level, False, math.inf, "the envelope of the twins leaves no step at which anything can be proved"
        )
    finding = f"{what}: {count} comparisons, at most {worst.ratio:.2g} of the tolerance"
    return Verdict(level, True, worst.ratio, finding, {"curve": curve} if curve else {})


@dataclass(frozen=True)
class _Deviation:
    ratio: float = 0.0
    sentence: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)


def _compare(specification: Specification, question: Question, answer: Answer, fields: Fields) -> _Deviation:
    worst = _Deviation()
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
            when = f"after {answer.step} steps from" if answer.step else "of"
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
            worst = _Deviation(float(ratio[at]), sentence, evidence)
    return worst


def _at(index: Any) -> str:
    return "[" + ", ".join(str(int(i)) for i in index) + "]"

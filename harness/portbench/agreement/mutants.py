"""A7: the ladder's test of itself. Wrong ports die, by the level that they name or an earlier one; right ones live.

Two catalogues. A project's own (`[mutants]` in its manifest) are wrong ports in Python. The generic faults
of faults.py are put into the stream of any port, in any language: they show that the checks of *this* port,
on *these* cases, would have seen them.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from portbench import hosts, streams
from portbench.agreement import certificate, faults
from portbench.agreement.certificate import LADDER, Certificate
from portbench.agreement.invariants import Invariants
from portbench.agreement.levels import Verdict
from portbench.agreement.reference import Reference
from portbench.contract import Case, Specification
from portbench.errors import Refusal, known
from portbench.hosts import Ready
from portbench.manifest import Manifest, Port
from portbench.protocol import Exchange

CHECKS = 3  # of a wrong port, before it is said to live: few random states show some faults
# Case, what it is asked up to A5, and (or None) A6.
Asked = list[tuple[Case, Reference, Invariants, Callable[[Exchange], Verdict] | None]]


@dataclass(frozen=True)
class Outcome:
    """What became of one mutant."""

    name: str
    what: str
    level: str  # that must kill it at the latest; empty for a right port
    killed: bool
    killed_by: str
    case: str  # on which it died
    finding: str
    guesses: list[str]  # what the microscope suggested

    @property
    def as_it_should(self) -> bool:
        """Right ports live; wrong ones die, and in time."""
        if not self.level:
            return not self.killed
        return self.killed and LADDER.index(self.killed_by) <= LADDER.index(self.level)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "as_it_should": self.as_it_should}


def catalogue(manifest: Manifest) -> dict[str, Any]:
    """The project's own mutants, by name: each has `level` and `what`, and `precision` if it is not float64."""
    if not manifest.mutants.module:
        raise Refusal(f"{manifest.path} names no catalogue of mutants: add [mutants] with `module`, or give --port")
    try:  # its folder is on the path since the specification was loaded
        with streams.others():
            return dict(importlib.import_module(manifest.mutants.module).MUTANTS)
    except (ImportError, AttributeError) as error:
        raise Refusal(f"The catalogue of mutants '{manifest.mutants.module}' cannot be imported: {error}") from None


def precision_of(mutant: Any) -> str:
    """The class as a port of which it is judged."""
    return getattr(mutant, "precision", "") or "float64"


def run_catalogue(
    manifest: Manifest,
    specification: Specification,
    asked: dict[str, Asked],
    names: list[str],
    done: Callable[[], None],
) -> list[Outcome]:
    """Every mutant of the project, or those named; what is asked of one depends on its class."""
    mutants = catalogue(manifest)
    highest = LADDER[-1] if any(six for every in asked.values() for *_, six in every) else certificate.NEEDED
    chosen = known("mutant", names or [n for n, m in mutants.items() if m.level <= highest], mutants)

    def one(name: str) -> Outcome:
        kind = precision_of(mutants[name])
        ready = hosts.prepare(manifest, _port(manifest, name, kind))
        # statistics take minutes: they are asked where they must be the ones to kill
        last = mutants[name].level == LADDER[-1]
        every: Asked = [(case, a, b, six if last else None) for case, a, b, six in asked[kind]]
        for _ in range(CHECKS if mutants[name].level else 1):  # what is drawn at random is another in each
            made = _die(ready, specification, every, None)
            if not made[-1].holds:
                break
        done()
        return _outcome(name, mutants[name].what, mutants[name].level, made)

    return _in_parallel(one, chosen)


def run_faults(
    ready: Ready, specification: Specification, asked: Asked, names: list[str], done: Callable[[], None]
) -> list[Outcome]:
    """A port as it is, which must live, and then with every generic fault, or those named."""
    chosen = ["none", *known("fault", names or list(faults.FAULTS), faults.FAULTS)]

    def one(name: str) -> Outcome:
        fault = faults.FAULTS.get(name)
        made = _die(ready, specification, asked, fault)
        done()
        return _outcome(name, fault.what if fault else "the port as it is", fault.level if fault else "", made)

    return _in_parallel(one, chosen)


def _in_parallel(one: Callable[[str], Outcome], names: list[str]) -> list[Outcome]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # the work is done in the ports' processes
        return list(pool.map(one, names))


def _port(manifest: Manifest, name: str, precision: str) -> Port:
    """A mutant as a port of the manifest."""
    given = manifest.mutants
    module = f"{given.module}:{name}"
    return Port(name=name, host="python", module=module, sources=given.sources, threads=False, precision=precision)


def _die(ready: Ready, specification: Specification, asked: Asked, fault: faults.Fault | None) -> list[Certificate]:
    """One certificate per case, until one does not hold."""
    made: list[Certificate] = []
    with certificate.Connection(ready, specification, 1, fault, patient=False) as connection:
        for case, reference, invariants, statistics in asked:
            made.append(certificate.check(connection, case, reference, invariants, {}, statistics))
            if not made[-1].holds:
                break
    return made


def _outcome(name: str, what: str, level: str, made: list[Certificate]) -> Outcome:
    last = made[-1]
    return Outcome(
        name=name,
        what=what,
        level=level,
        killed=not last.holds,
        killed_by="" if last.holds else last.verdicts[-1].level,
        case="" if last.holds else last.case,
        finding=last.finding,
        guesses=[f"{g.cause}: {g.evidence}" for g in last.sight.guesses] if last.sight else [],
    )

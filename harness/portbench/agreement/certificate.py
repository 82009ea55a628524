"""A certificate: what the ladder proved about one port on one case, and about exactly which build of it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from portbench import __version__, hosts, session
from portbench.agreement import endtoend, histories, levels, sizes, twins
from portbench.agreement.faults import Fault
from portbench.agreement.invariants import Invariants, a5_invariants
from portbench.agreement.levels import Verdict
from portbench.agreement.microscope import Guess, Sight, look
from portbench.agreement.own import Judge
from portbench.agreement.reference import Reference, ladder, probe_name
from portbench.contract import Case, Fields, Specification
from portbench.errors import PortFailure
from portbench.hosts import Ready, build
from portbench.protocol import Exchange

LADDER = ("A0", "A1", "A2", "A3", "A4", "A5", "A6")
NEEDED = "A5"  # of a port that is to be timed; A6 is asked for by name
STEP_TIMEOUT = 300  # seconds for one command during a check


@dataclass(frozen=True)
class Certificate:
    """`level` is the highest level reached with every one below it, at which something was asked; empty if there is
    none.
    """

    port: str
    case: str
    threads: int
    precision: str
    allowed: list[str]  # what the manifest says that the compiler was allowed
    level: str
    horizon: int  # steps of the free run that were proved
    growth: float  # factor per step by which rounding grows in it
    determinism: str  # "bitwise", "within rounding" or "a race"; empty if not reached
    verdicts: list[Verdict]
    identity: dict[str, str]  # what it was proved of, and with: see identity()
    # of each float parameter the smallest relative change that would have been seen; None: none by up to a tenth
    sensitivity: dict[str, float | None] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether this port may be timed: all levels that were asked passed, up to A5 at least."""
        climbed = self.verdicts[-1].level if self.verdicts else ""
        return climbed >= NEEDED and all(v.passed for v in self.verdicts)

    @property
    def finding(self) -> str:
        """The sentence that matters: of the first level that failed, or of the last."""
        failed = [v for v in self.verdicts if not v.passed]
        if failed:
            return f"{failed[0].level}: {failed[0].finding}"
        refused = dict.fromkeys(name for v in self.verdicts for name in v.evidence.get("refused", []))
        return self.verdicts[-1].finding + (f"; it refuses {', '.join(refused)}" if refused else "")

    @property
    def sight(self) -> Sight | None:
        """What the microscope showed, if a level failed at which it could look."""
        seen = self.verdicts[-1].evidence.get("microscope")
        return Sight(**{**seen, "guesses": [Guess(**g) for g in seen["guesses"]]}) if seen else None

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "holds": self.holds}

    @classmethod
    def from_json(cls, table: dict[str, Any]) -> Certificate:
        """The reverse of as_json(); a null ratio stands for infinity."""
        table = {name: value for name, value in table.items() if name != "holds"}
        verdicts = [
            Verdict(**{**v, "ratio": math.inf if v["ratio"] is None else v["ratio"]}) for v in table["verdicts"]
        ]
        return cls(**{**table, "verdicts": verdicts})


def identity(
    ready: Ready, specification: Specification, case: Case, check: Any, before: dict[str, str] | None = None
) -> dict[str, str]:
    """All that a certificate depends on, each named so that a stale one can say what has changed; `before` is the
    identity of an earlier one, which tells what the port was seen to use.
    """
    return {
        **ready.identity(before),
        "specification": specification.identity,
        "case": build.hash_text(session.plain(case.parameters)),
        "precision class": ready.port.precision,
        "states that it refuses": build.hash_text(session.plain(ready.port.refuses)),
        "length of the check": build.hash_text(session.plain(check)),
        "ladder": build.hash_text(__version__, np.__version__, ladder()),
    }


class Connection:
    """A port's process on so many threads: started when it is first asked, kept from case to case, and started
    anew after it has failed. Leaving the context ends it. `fault` is put between harness and port (mutants.py);
    `patient`: a failure may be looked at for some seconds, to shorten the history that shows it.
    """

    def __init__(
        self,
        ready: Ready,
        specification: Specification,
        threads: int,
        fault: Fault | None = None,
        patient: bool = True,
    ):
        self.ready, self.specification, self.fault, self.patient = ready, specification, fault, patient
        self.threads = threads if ready.port.threads else 1
        self.asked_at_random = False  # whether histories and sizes were asked in full, of an earlier case
        self._exchange: Exchange | None = None

    def exchange(self) -> Exchange:
        if self._exchange is None:
            started = hosts.start(self.ready, self.threads, STEP_TIMEOUT, witness=True)
            make = self.fault.make if self.fault else Exchange
            self._exchange = make(started, self.specification, self.ready.port.numbers)
        return self._exchange

    def drop(self) -> None:
        if self._exchange:
            self._exchange.close()
        self._exchange = None

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if self._exchange and kind is None:
            self._exchange.port.quit()
        self.drop()


def check(
    connection: Connection,
    case: Case,
    reference: Reference,
    invariants: Invariants,
    identity: dict[str, str],
    statistics: Callable[[Exchange], Verdict] | None = None,
) -> Certificate:
    """Climb the ladder until a level fails. A port that dies fails the level at which it died. `statistics` is A6."""
    ready, threads = connection.ready, connection.threads
    verdicts: list[Verdict] = []
    try:
        x = connection.exchange()
        at_random = _at_random(connection, x, case, reference.precision)
        for climb in _climbs(x, reference, invariants, threads, statistics, _refused(ready), at_random):
            verdicts.append(climb())
            if not verdicts[-1].passed:
                evidence = verdicts[-1].evidence
                seen = None if "microscope" in evidence else look(x, reference, verdicts[-1])
                if seen:
                    evidence["microscope"] = seen.as_json()
                connection.drop()
                break
    except PortFailure as failure:
        connection.drop()
        evidence = {"kind": failure.kind, "log": failure.log}
        verdicts.append(Verdict(LADDER[len(verdicts)], False, math.inf, failure.sentence, evidence))
    reached = [v.level for v in verdicts if v.passed and v.asked]
    badges = [v.evidence["badge"] for v in verdicts if v.level == "A1" and "badge" in v.evidence]
    return Certificate(
        port=ready.port.name,
        case=case.name,
        threads=threads,
        precision=ready.port.precision,
        allowed=ready.port.allowed,
        level=reached[-1] if reached else "",
        horizon=reference.horizon if "A4" in reached else 0,
        growth=reference.growth,
        determinism=badges[0] if badges else "",
        verdicts=verdicts,
        identity=identity,
    )


def _refused(ready: Ready) -> dict[str, str]:
    """What the manifest says that this port may refuse, by the names of the questions."""
    return {probe_name(name): why for name, why in ready.port.refuses.items()}


def _at_random(
    connection: Connection, x: Exchange, case: Case, precision: twins.Precision
) -> list[Callable[[], Verdict]]:
    """The parts of A3 that are drawn anew in each check; in full of the first case that a process is asked."""
    ready, brief = connection.ready, connection.asked_at_random
    judge = Judge(connection.specification, str(ready.manifest.path), precision)
    seed = int.from_bytes(os.urandom(4), "little")
    connection.asked_at_random = True
    asked: list[Callable[[], Verdict]] = [
        lambda: histories.a3_histories(x, judge, case, seed, _refused(ready), brief, connection.patient)
    ]
    return asked if brief else [*asked, lambda: sizes.a3_sizes(x, judge, case, seed)]


def _climbs(
    x: Exchange,
    reference: Reference,
    invariants: Invariants,
    threads: int,
    statistics: Callable[[Exchange], Verdict] | None,
    refuses: dict[str, str],
    at_random: list[Callable[[], Verdict]],
) -> list[Callable[[], Verdict]]:
    traces: list[list[Fields]] = []

    def a1() -> Verdict:
        traces.extend(levels.trace(x, reference.free_run) for _ in range(levels.REPEATS))
        return levels.a1_determinism(x.specification, reference, traces)

    return [
        lambda: levels.together(
            "A0",
            [lambda: levels.a0_contract(x, reference, threads), lambda: endtoend.a0_end_to_end(x, reference)],
        ),
        a1,
        lambda: levels.a2_kernel(x, reference, refuses),
        lambda: levels.together("A3", [lambda: levels.a3_few_steps(x, reference, refuses), *at_random]),
        lambda: levels.a4_free_run(x, reference, traces[0]),
        lambda: a5_invariants(x, invariants),
        *([lambda: statistics(x)] if statistics else []),
    ]

"""A certificate: what the ladder proved about one port on one case, and about which build of it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from portbench import hosts
from portbench.agreement import levels
from portbench.agreement.levels import Verdict
from portbench.agreement.reference import Reference
from portbench.contract import Specification
from portbench.errors import PortFailure
from portbench.hosts import Ready
from portbench.protocol import Exchange

LADDER = ("A0", "A2", "A3", "A4")
STEP_TIMEOUT = 300  # seconds for one command during a check


@dataclass(frozen=True)
class Certificate:
    """`level` is the highest level reached with every one below it; empty if not even the first."""

    port: str
    case: str
    threads: int
    precision: str
    level: str
    horizon: int  # steps of the free run that were proved
    verdicts: list[Verdict]
    sources_hash: str
    toolchain: str

    @property
    def holds(self) -> bool:
        """Whether this port may be timed: all levels passed."""
        return self.level == LADDER[-1]

    @property
    def finding(self) -> str:
        """The sentence that matters: of the first level that failed, or of the last."""
        failed = [v for v in self.verdicts if not v.passed]
        return f"{failed[0].level}: {failed[0].finding}" if failed else self.verdicts[-1].finding

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


def check(ready: Ready, specification: Specification, reference: Reference, threads: int) -> Certificate:
    """Climb the ladder until a level fails. A port that dies fails the level at which it died."""
    count = threads if ready.port.threads else 1
    verdicts: list[Verdict] = []
    if ready.port.precision == "float32":
        no = "float32 has no envelope yet: a port of this class cannot be certified"
        verdicts = [Verdict("A0", False, float("inf"), no)]
    climb = {
        "A0": lambda x: levels.a0_contract(x, reference, count, ready.port.precision),
        "A2": lambda x: levels.a2_kernel(x, reference),
        "A3": lambda x: levels.a3_one_step(x, reference),
        "A4": lambda x: levels.a4_free_run(x, reference),
    }
    level = ""
    if not verdicts:
        try:
            with Exchange(hosts.start(ready, threads, STEP_TIMEOUT), specification, ready.port.precision) as x:
                for level in LADDER:
                    verdicts.append(climb[level](x))
                    if not verdicts[-1].passed:
                        break
                x.port.quit()
        except PortFailure as failure:
            evidence = {"kind": failure.kind, "log": failure.log}
            verdicts.append(Verdict(level or "A0", False, float("inf"), failure.sentence, evidence))
    reached = [v.level for v in verdicts if v.passed]
    return Certificate(
        port=ready.port.name,
        case=reference.case,
        threads=count,
        precision=ready.port.precision,
        level=reached[-1] if reached else "",
        horizon=reference.horizon if reached and reached[-1] == "A4" else 0,
        verdicts=verdicts,
        sources_hash=ready.sources_hash,
        toolchain=ready.toolchain,
    )

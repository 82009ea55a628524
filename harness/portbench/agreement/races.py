"""The race hunter: the same run again and again, on one thread and on several, in fresh processes.

deterministic   the same bits always
per thread      the same bits for the same number of threads: sums are taken in another order on another number
reordering      other bits from run to run, but no farther apart than the rounding twins: benign
data race       farther apart than rounding explains
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from portbench import hosts
from portbench.agreement.certificate import STEP_TIMEOUT
from portbench.agreement.levels import spread, trace
from portbench.agreement.reference import Reference
from portbench.contract import Fields, Specification
from portbench.errors import PortFailure
from portbench.hosts import Ready
from portbench.protocol import Exchange

PROCESSES = 2  # for each number of threads


@dataclass(frozen=True)
class Hunt:
    """What was found of one port on one case."""

    port: str
    case: str
    threads: list[int]
    runs: int  # for each number of threads
    verdict: str
    ratio: float  # largest difference between two runs, in tolerances
    differing: dict[int, int]  # threads -> how many of its runs differ in a bit from its first
    finding: str

    @property
    def sound(self) -> bool:
        return self.verdict not in ("data race", "died")

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "sound": self.sound}


def hunt(
    ready: Ready,
    specification: Specification,
    reference: Reference,
    threads: list[int],
    runs: int,
    progress: Callable[[], None] = lambda: None,
) -> Hunt:
    """All runs, and what they say of the port; one that dies is said to have died."""
    try:
        return _hunt(ready, specification, reference, threads, runs, progress)
    except PortFailure as failure:
        name, case = ready.port.name, reference.case
        return Hunt(name, case, threads, runs, "died", math.inf, {}, failure.sentence)


def _hunt(
    ready: Ready,
    specification: Specification,
    reference: Reference,
    threads: list[int],
    runs: int,
    progress: Callable[[], None],
) -> Hunt:
    traces: dict[int, list[list[Fields]]] = {}
    for count in threads if ready.port.threads else [1]:
        traces[count] = []
        for _ in range(PROCESSES):
            with Exchange(hosts.start(ready, count, STEP_TIMEOUT), specification, ready.port.numbers) as x:
                x.port.hello()
                for _ in range(-(-runs // PROCESSES)):
                    traces[count].append(trace(x, reference.free_run))
                    progress()
                x.port.quit()
    differing = {count: sum(not _same(some[0], other) for other in some[1:]) for count, some in traces.items()}
    everything = [one for some in traces.values() for one in some]
    worst, same = spread(specification, reference.free_run, everything)
    if same:
        verdict, finding = "deterministic", "the same bits always"
    elif not worst.ratio <= 1:
        verdict, finding = "data race", worst.sentence
    elif not any(differing.values()):
        verdict = "per thread"
        finding = f"the same bits for each number of threads; {worst.ratio:.2g} of the tolerance between them"
    else:
        verdict, finding = "reordering", f"at most {worst.ratio:.2g} of what rounding explains"
    names = ready.port.name, reference.case
    return Hunt(*names, list(traces), len(everything) // len(traces), verdict, worst.ratio, differing, finding)


def _same(a: list[Fields], b: list[Fields]) -> bool:
    both = zip(a, b, strict=True)
    return all(np.array_equal(one[name], other[name], equal_nan=True) for one, other in both for name in one)

"""The measuring engine measured: how often it sees a difference where there is none, and misses one that there is.

One port runs under several names in the same rounds: as it is, as it is once more, and with a known part of steps
beside those that count, so that it is slower by just that part, in whatever language it is written. Each try is a
session of its own, at the budget and precision that a person would give.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import scipy.stats

from portbench import session
from portbench.contract import Case, Specification
from portbench.hosts import Ready
from portbench.session import Session
from portbench.timing.scheduler import AGAIN, Block, Plan, measure
from portbench.timing.statistics import confidence_of, ratio

PLANTED = (0.01, 0.02, 0.05)
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Rate:
    """Of so many tries, in how many a difference was seen, with the exact binomial interval (Clopper, Pearson 1934)."""

    planted: float  # the port was slower by this part; 0: not at all
    tries: int
    seen: int
    rate: float
    low: float
    high: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def check(
    ready: Ready, specification: Specification, case: Case, plan: Plan, tries: int, done: Callable[[], None]
) -> list[Rate]:
    """The rate of false alarms first, then that of detection for each planted slowdown."""
    name = ready.port.name
    slower = {part: f"{name} slower by {part:.0%}" for part in PLANTED}
    ports = [ready, *(_renamed(replace(ready, beside=part), other) for part, other in slower.items())]
    seen = dict.fromkeys([0.0, *PLANTED], 0)
    made = dict.fromkeys(seen, 0)
    for number in range(tries):
        document = _session(Block(case, 1, ports), specification, replace(plan, seed=number, baseline=name))
        samples = session.samples(document)
        of = dict(list(samples.groupby("port")))
        for part in seen:
            other = slower.get(part, name + AGAIN)
            known = ratio(of[name], of[other], confidence_of(document)) if {name, other} <= set(of) else None
            if known is None:
                continue  # it failed: a busy machine may hold a process up for longer than its clock explains
            made[part] += 1
            # any difference is a false alarm; of a planted one it must be seen which is the slower
            seen[part] += not known.tie if part == 0 else known.high < 1
        done()
    return [_rate(part, made[part], seen[part]) for part in seen]


def _session(block: Block, specification: Specification, plan: Plan) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="portbench-selfcheck-") as folder:
        cases = {block.case.name: {"work": specification.work(block.case.parameters)}}
        header = {"cases": cases, "threads": [1], "machine": {}, "baseline": plan.baseline}
        header["unit"] = specification.work_name
        journal = Session(Path(folder), header)
        measure([block], specification, journal, plan)
        return session.read(journal.finish())


def _renamed(ready: Ready, name: str) -> Ready:
    return replace(ready, port=ready.port.model_copy(update={"name": name}))


def _rate(planted: float, tries: int, seen: int) -> Rate:
    if not tries:
        return Rate(planted, 0, 0, 0.0, 0.0, 1.0)
    found = scipy.stats.binomtest(seen, tries)
    interval = found.proportion_ci(CONFIDENCE, method="exact")
    return Rate(planted, tries, seen, seen / tries, float(interval.low), float(interval.high))

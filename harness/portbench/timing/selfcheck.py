"""The measuring engine measured: how often it sees a difference where there is none, and misses one that there is.

One port runs under several names in the same rounds: as it is, as it is once more, and with a known part of steps
beside those that count, so that it is slower by just that part, in whatever language it is written. Each try is a
session of its own, at the budget and precision that a person would give.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy  # which imports its parts when they are used

from portbench import session
from portbench.contract import Case, Specification
from portbench.errors import Refusal
from portbench.hosts import Ready
from portbench.session import Session
from portbench.timing.scheduler import AGAIN, SAMPLES, Block, Plan, measure
from portbench.timing.statistics import LEAST_ROUNDS, Estimate, confidence_of, ratio

PLANTED = (0.01, 0.02, 0.05)
STARTING = 1.0  # seconds, roughly: until a process has started and is warm
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


@dataclass(frozen=True)
class Try:
    """One session: how many times as long the port took as itself with so much planted; None if either failed."""

    number: int
    seconds: float  # of measuring
    found: dict[float, Estimate | None]

    def as_json(self) -> dict[str, Any]:
        found = [{"planted": part, **(asdict(e) if e else {"value": None})} for part, e in self.found.items()]
        return {"number": self.number, "seconds": self.seconds, "found": found}

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Try:
        found = {
            one["planted"]: None if one["value"] is None else Estimate(one["value"], one["low"], one["high"])
            for one in said["found"]
        }
        return cls(said["number"], said["seconds"], found)


def check(
    ready: Ready,
    specification: Specification,
    case: Case,
    plan: Plan,
    numbers: Iterable[int],
    done: Callable[[Try], None],
) -> None:
    """One try for each number, which seeds the order of its turns."""
    name = ready.port.name
    slower = {part: f"{name} slower by {part:.0%}" for part in PLANTED}
    ports = [ready, *(_renamed(replace(ready, beside=part), other) for part, other in slower.items())]
    for number in numbers:
        document = _session(Block(case, 1, ports), specification, replace(plan, seed=number, baseline=name))
        samples = session.samples(document)
        of = dict(list(samples.groupby("port")))
        found = {}
        for part in (0.0, *PLANTED):
            other = slower.get(part, name + AGAIN)
            # a port that failed has none: a busy machine may hold a process up for longer than its clock explains
            known = ratio(of[name], of[other], confidence_of(document)) if {name, other} <= set(of) else None
            found[part] = known if known is None or np.isfinite(known.high) else None
        done(Try(number, document["measured"][0]["seconds"], found))


def forecast(tries: int, plan: Plan) -> str:
    """How long so many tries take, in a sentence."""
    # five processes a round, each started and warmed up, and their samples
    round_ = (len(PLANTED) + 2) * (STARTING + SAMPLES * plan.sample)
    seconds = tries * max(plan.budget, LEAST_ROUNDS * round_)
    length = f"{seconds / 3600:.1f} hours" if seconds > 5400 else f"{seconds / 60:.1f} minutes"
    many = f"{tries:,} tries" if tries > 1 else "One try"
    return (
        f"{many} of up to {seconds / tries:.0f} s, more where {LEAST_ROUNDS} rounds take longer: about {length}; "
        "Ctrl-C stops, and the same command goes on after the last finished try"
    )


def rates(tries: list[Try]) -> list[Rate]:
    """The rate of false alarms first, then that of detection for each planted slowdown."""
    found = []
    for part in (0.0, *PLANTED):
        known = [one.found[part] for one in tries]
        intervals = [e for e in known if e is not None]
        # any difference is a false alarm; of a planted one it must be seen which is the slower
        found.append(_rate(part, len(intervals), sum(not e.tie if part == 0 else e.high < 1 for e in intervals)))
    return found


class Journal:
    """Finished tries, each a line of a file after one that says what was asked; it goes on where it was."""

    def __init__(self, path: Path, asked: dict[str, Any]):
        first = json.dumps(asked)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+", encoding="utf-8")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # let go when this process ends, however it ends
            self._file.seek(0)
            lines = self._file.read().splitlines(keepends=True)
        except BlockingIOError:
            raise Refusal(f"The selfcheck of {path} is still running: wait for it, or give another --journal") from None
        except (OSError, ValueError) as error:
            raise Refusal(f"{path} cannot be used: {error}; give another --journal") from None
        try:
            cut_short = lines.pop() if lines and not lines[-1].endswith("\n") else ""
            if lines[:1] not in ([], [first + "\n"]) or (not lines and not first.startswith(cut_short)):
                raise ValueError
            self.path, self.tries = path, [Try.from_json(json.loads(line)) for line in lines[1:]]
        except (ValueError, KeyError, TypeError):
            raise Refusal(f"{path} holds something else than tries of this selfcheck: give another --journal") from None
        os.truncate(path, len("".join(lines).encode()))
        if not lines:
            self._write(first)

    def add(self, one: Try) -> None:
        self.tries.append(one)
        self._write(json.dumps(one.as_json()))

    def _write(self, line: str) -> None:
        print(line, file=self._file, flush=True)

    def close(self) -> None:
        self._file.close()

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.close()


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

"""Whether a port's clock is true: its nanoseconds against those that the harness waited for them.

A clock that sees little of that time leaves out work, or there was none to see: on a busy machine the harness is held
up before it can look at the reply, and the port before it can begin. Processor time tells which: a port that left out
work has spent processors on it. So what was held up is measured again, and only work that was left out, or a clock
that never sees its time though nothing disturbs it, is held against a port. A clock that ticks only every few
milliseconds is coarse and not wrong: what it times must be long.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from statistics import median
from typing import Literal

from portbench.protocol import RunningPort

COARSE, COARSEST = 1e-4, 0.02  # seconds between two ticks of a coarse clock
SAME = 1000  # nanoseconds by which multiples of a tick may be off: clocks are slewed, and floats rounded
LEAST_CLAIMS = 5  # of which all are multiples of one tick by chance less than once in a million processes
OVERHEAD = 1e-4  # seconds of a command that no clock need see, beside the round trip
TICKS = 0.02  # seconds of processor time that prove nothing: the system counts in steps of half of that
WORKED = 0.25  # of the unseen time: a port that spent so much of it on processors was not held up, but worked
EARLY = 0.1  # of the time that steps take: a wait that is shorter was for no steps
LOOKS = 5  # at the round trip

Verdict = Literal["true", "held up", "leaves out work", "ahead"]


@dataclass(frozen=True)
class Timed:
    """Of some runs, in seconds: what the port says, what the harness waited, and the port's processor time."""

    claimed: float
    waited: float
    cpu: float
    runs: int = 1

    def __add__(self, more: Timed) -> Timed:
        return Timed(*(a + b for a, b in zip(astuple(self), astuple(more))))

    def __sub__(self, less: Timed) -> Timed:
        return Timed(*(a - b for a, b in zip(astuple(self), astuple(less))))


def round_trip(port: RunningPort) -> float:
    """Seconds for a command that does nothing, as the harness sees it."""
    seconds = []
    for _ in range(LOOKS):
        begin = time.perf_counter()
        port.ask("hello")
        seconds.append(time.perf_counter() - begin)
    return median(seconds)


def tick(nanoseconds: Iterable[int]) -> float:
    """Seconds between two ticks of the coarse clock by which a port took these; 0 if it is not coarse, or they are few.

    It is what they are all multiples of, found by Euclid's algorithm.
    """
    claims = [n for n in nanoseconds if n]
    found = 0
    for claim in claims:
        rest = claim
        while rest > SAME:
            found, rest = rest, min(found % rest, -found % rest)
    return found / 1e9 if len(claims) >= LEAST_CLAIMS and COARSE <= found / 1e9 <= COARSEST else 0.0


def left_out(steps: int, part: float, early: bool = False) -> str:
    """A sentence: of the time by which `steps` make a load, a run and a save longer they claim this part. `early`: it
    is no part of the wait for the run either.
    """
    why = "work that belongs to `run` is done in `load` or `save`, or its clock is slow or stands still meanwhile"
    why = "it replies to `run` before the steps are done" if early else why
    return f"{steps} steps make a load, a run and a save longer by a time of which the run claims {part:.2g}: {why}"


def judge(timed: Timed, threads: int, trip: float, least: float, tick: float = 0.0) -> Verdict:
    """`least`: the part of the time that the clock must see, beside the round trip of each run and its `tick`."""
    if timed.claimed > timed.waited + max(COARSEST, timed.runs * tick):
        return "ahead"
    unseen = timed.waited - timed.runs * (trip + OVERHEAD + tick) - timed.claimed
    if unseen <= (1 - least) * (timed.claimed + unseen):
        return "true"
    worked = timed.cpu - threads * timed.claimed > max(TICKS, WORKED * unseen)
    return "leaves out work" if worked else "held up"

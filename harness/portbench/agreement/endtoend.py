"""End to end: what a run claims is what a person waits for it, from load to saved state.

A port's clock runs during `run` alone. Work that is done at `load` or `save` instead, or while that clock stands
still, is found by the harness's own: so many more steps make load, run and save together longer by just the time that
they claim.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

import psutil

from portbench.agreement.levels import Verdict
from portbench.agreement.reference import Reference
from portbench.errors import PortFailure
from portbench.protocol import Exchange
from portbench.timing import clock, conditions
from portbench.timing.conditions import Watch

LONG_ENOUGH = 0.1  # seconds that the longer of two runs lasts; longer, where a load takes so long that it hides them
MOST_STEPS = 1 << 20
TRIES = 3
PATIENCE = 3  # times so many tries, before a port is believed to be wrong
LEAST, MOST = 0.8, 1.2  # of the time that steps take, the part that they may claim
FREE = 0.2  # a step that claims less of the usual is made elsewhere, if the load lasts as long as it
WORTH_A_LOOK = 0.03  # seconds: more than a tick of a coarse clock


@dataclass(frozen=True)
class Cycle:
    """Seconds of one load, run and save by the harness's clock: of two of them, and of all; of the run by the port's;
    and of processor time.
    """

    steps: int
    load: float
    run: float
    whole: float
    claimed: float
    cpu: float


def a0_end_to_end(x: Exchange, reference: Reference, threads: int = 1) -> Verdict:
    """Whether a run's nanoseconds are those that it adds to the time from load to saved state."""
    try:
        complaint = _complaint(x, reference, threads)
    except PortFailure as failure:
        if failure.kind != "refused":
            raise
        complaint = ""  # its motion ran away: the levels above will say why
    return Verdict("A0", not complaint, 0.0 if not complaint else float("inf"), complaint)


def _complaint(x: Exchange, reference: Reference, threads: int) -> str:
    family = conditions.family(x.port)

    def cycle(steps: int) -> Cycle:
        return _cycle(x, reference, steps, family)

    cycles = [cycle(1), cycle(1)]
    enough = max(LONG_ENOUGH, cycles[1].load / 2)
    while cycles[-1].steps < MOST_STEPS:
        # one that took long once may have met a pause of the machine
        if all(c.whole - cycles[1].whole >= enough for c in (cycles[-1], cycle(cycles[-1].steps))):
            break
        cycles.append(cycle(2 * cycles[-1].steps))
    most = cycles[-1].steps
    parts, runs = list[float](), list[float]()  # of the time that steps take: claimed, and waited for the run alone
    per_step, unseen, worked = list[float](), 0.0, 0.0  # in all: time that no run claims, and work in it
    before, begun = Watch.now(family), time.perf_counter()
    for _ in range(PATIENCE):  # of several, one is enough: the machine may have been away for a while
        for _ in range(TRIES):
            one, many = cycle(1), cycle(most)
            per_step.append((many.claimed - one.claimed) / (most - 1))
            if many.whole - one.whole < enough / 2:
                continue  # steps too short for a judgement, or a machine that was away
            unseen += many.whole - one.whole - (many.claimed - one.claimed)
            worked += many.cpu - one.cpu - threads * (many.claimed - one.claimed)
            parts.append((many.claimed - one.claimed) / (many.whole - one.whole))
            runs.append((many.run - one.run) / (many.whole - one.whole))
        if any(LEAST <= part <= MOST for part in parts):
            break
    else:
        used = (Watch.now(family) - before).over(time.perf_counter() - begun)
        held_up = conditions.disturbed(used) and not worked > max(clock.TICKS, clock.WORKED * unseen)
        if len(parts) < TRIES or held_up:
            return ""  # the timing will judge
        return clock.left_out(most, median(parts), early=median(runs) < clock.EARLY)
    step = min(per_step)
    for c in cycles[2:]:
        usual = c.steps * step
        tries = [c] if usual >= WORTH_A_LOOK else []
        while tries and tries[-1].claimed < FREE * usual and tries[-1].load > 0.5 * usual and len(tries) <= TRIES:
            tries.append(cycle(c.steps))
        if len(tries) > TRIES:  # else the load took long because the machine was away, and the first steps are quick
            return (
                f"the first {c.steps} steps after a load claim {c.claimed:.2g} s, where as many later ones take "
                f"{usual:.2g} s, and the load takes {c.load:.2g} s: steps are made in `load` that belong to `run`"
            )
    return ""


def _cycle(x: Exchange, reference: Reference, steps: int, family: list[psutil.Process]) -> Cycle:
    question, spent = reference.free_run, conditions.spent(family)
    begin = time.perf_counter()
    x.load(question.parameters, question.state)
    load = time.perf_counter() - begin
    claimed = x.port.run(steps) / 1e9
    run = time.perf_counter() - begin - load
    x.save(question.parameters)
    whole = time.perf_counter() - begin
    return Cycle(steps, load, run, whole, claimed, conditions.spent(family) - spent)

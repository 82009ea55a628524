"""End to end: what a run claims is what a person waits for it, from load to saved state.

A port's clock runs during `run` alone. Work that is done at `load` or `save` instead, or while that clock stands
still, is found by the harness's own: so many more steps make load, run and save together longer by just the time that
they claim.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from statistics import median

from portbench.agreement.levels import Verdict
from portbench.agreement.reference import Reference
from portbench.errors import PortFailure
from portbench.protocol import Exchange
from portbench.timing import clock

LONG_ENOUGH = 0.1  # seconds that the longer of two runs lasts; longer, where a load takes so long that it hides them
MOST_STEPS = 1 << 20
FAR_TOO_LONG = 20  # times long enough: what is reached by doubling lasts no more than twice that
TRIES = 3
LONGER = (1, 4, 16)  # times as many steps, each in so many tries, before a port is believed to be wrong
LEAST, MOST = 0.8, 1.2  # of the time that steps take, the part that they may claim
FREE = 0.1  # steps that take less of the usual are made elsewhere, if the load lasts about as long as they
SUDDENLY = 0.2  # and as many more after them take at least this part of it
WORTH_A_LOOK = 0.005  # seconds: many round trips


@dataclass(frozen=True)
class Cycle:
    """Seconds of one load, run and save by the harness's clock: of two of them, and of all; and of the run by the
    port's.
    """

    steps: int
    load: float
    run: float
    whole: float
    claimed: float


def a0_end_to_end(x: Exchange, reference: Reference) -> Verdict:
    """Whether a run's nanoseconds are those that it adds to the time from load to saved state."""
    try:
        complaint = _complaint(x, reference)
    except PortFailure as failure:
        if failure.kind != "refused":
            raise
        complaint = ""  # its motion ran away: the levels above will say why
    return Verdict("A0", not complaint, 0.0 if not complaint else float("inf"), complaint)


def _complaint(x: Exchange, reference: Reference) -> str:
    cycles = [_cycle(x, reference, 1), _cycle(x, reference, 1)]
    enough = max(LONG_ENOUGH, cycles[1].load / 2)
    while cycles[-1].steps < MOST_STEPS:
        # what took long once may have met a pause of the machine
        if cycles[-1].whole - cycles[1].whole >= enough:
            again = _cycle(x, reference, cycles[-1].steps)
            if again.whole - cycles[1].whole >= enough:
                break
            if cycles[-1].whole - cycles[1].whole >= FAR_TOO_LONG * enough:
                return ""  # the answer was kept from the first time: the levels above ask what was not asked before
        cycles.append(_cycle(x, reference, 2 * cycles[-1].steps))
    most, per_step = cycles[-1].steps, list[float]()
    for times in LONGER:  # of several tries one is enough; what is no pause of the machine grows with the steps
        parts, runs = list[float](), list[float]()  # of the time of steps: claimed, and waited for the run alone
        for _ in range(TRIES):
            one, many = _cycle(x, reference, 1), _cycle(x, reference, times * most)
            per_step.append((many.claimed - one.claimed) / (times * most - 1))
            if many.whole - one.whole < times * enough / 2:
                continue  # steps too short for a judgement, or a machine that was away
            parts.append((many.claimed - one.claimed) / (many.whole - one.whole))
            runs.append((many.run - one.run) / (many.whole - one.whole))
        if any(LEAST <= part <= MOST for part in parts):
            break
        if len(parts) < TRIES - 1:
            return ""  # the timing will judge
    else:
        return clock.left_out(times * most, median(parts), early=median(runs) < clock.EARLY)
    step = min(per_step)
    for c, twice in itertools.pairwise(cycles[2:]):
        usual = c.steps * step
        if usual < WORTH_A_LOOK or c.load < 0.5 * usual:
            continue
        tries = [c, *(_cycle(x, reference, c.steps) for _ in range(TRIES))]  # the machine may be away in some
        load, run = min(one.load for one in tries), min(one.run for one in tries)
        # free at first and then suddenly not; the steps of a motion that grows become slower by and by
        if run < FREE * usual and load > 0.5 * usual and twice.run - run > SUDDENLY * usual:
            return (
                f"the first {c.steps} steps after a load take {run:.2g} s, where as many later ones take {usual:.2g} "
                f"s, and the load takes {load:.2g} s: steps are made in `load` that belong to `run`"
            )
    return ""


def _cycle(x: Exchange, reference: Reference, steps: int) -> Cycle:
    question = reference.free_run
    begin = time.perf_counter()
    x.load(question.parameters, question.state)
    load = time.perf_counter() - begin
    claimed = x.port.run(steps) / 1e9
    run = time.perf_counter() - begin - load
    x.save(question.parameters)
    return Cycle(steps, load, run, time.perf_counter() - begin, claimed)

"""The seal of a figure: what is timed is what was proved.

After a block's samples the port's own state, at the end of the run that was timed, is judged by the specification: what
was saved beside it must derive from it, a step more must lead where the specification goes (agreement/own.py), and what
the motion conserves may have changed on the way as far as the specification changes it. So a port is proved at the
size, the length and the number of threads at which it is timed, in the process that was timed.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from portbench.agreement import twins
from portbench.agreement.invariants import series
from portbench.agreement.levels import Deviation
from portbench.agreement.own import WHOLE, Judge
from portbench.agreement.reference import LEAST_KAPPA, rounded, rounded_parameters
from portbench.agreement.twins import CONDITION, SPEC, Twin
from portbench.contract import Case, Fields, Parameters
from portbench.errors import Refusal
from portbench.hosts import Ready
from portbench.protocol import Exchange

SUBNORMAL = 0.01  # a part of the state's numbers; on most processors each takes many times as long as others
MOST_WHOLE = 6000  # units of a state whose sums are judged whole, once; of larger ones a part is judged
# Seconds for which the specification shows how what is conserved changes; many more before a port is accused.
LOOKED_AT, BEFORE_ACCUSED = 0.1, 20.0
TOO_SLOW = 1.0  # seconds of judging a state, beside which a tenth of a second shows no change of it
# Times the range of what is conserved in a run of the specification that it may change in one so many times as long:
# FLUCTUATES times the root of that, for what goes to and fro, and DRIFTS times that itself.
FLUCTUATES, DRIFTS = 10, 2


@dataclass(frozen=True)
class Seal:
    """`ratio` is the largest deviation over its tolerance; `seconds` is what judging took the harness."""

    passed: bool
    ratio: float
    sentence: str  # what is wrong; empty if nothing is
    steps: int  # of the run that was timed
    whole: bool  # whether the whole state was judged, or a part of it
    seconds: float
    subnormal: float = 0.0  # part of the state's numbers that became so small on the way, if it is no small one

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def judge(
    ready: Ready, x: Exchange, case: Case, start: Fields, steps: int, thorough: bool, random: np.random.Generator
) -> Seal:
    """Of what the port holds now, `steps` after `start` was loaded; a step is made. `thorough`: whole, where that takes
    seconds and not minutes.
    """
    precision = twins.precision_class(ready.port.precision)
    judge = Judge(x.specification, str(ready.manifest.path), precision, light=True)
    parameters = rounded_parameters(case.parameters, precision.dtype)
    before = x.save(parameters)[1]
    x.port.run(1)
    after = x.save(parameters)[1]
    begun = time.perf_counter()
    units = x.specification.work(parameters)
    whole = units <= WHOLE or (thorough and units <= MOST_WHOLE) or not x.specification.offers("part")
    first = replace(judge, whole=max(WHOLE, units) if whole else WHOLE)
    what = f"the state after {steps} timed steps"
    found = first.derived(what, parameters, before, random)
    quick = time.perf_counter() - begun < TOO_SLOW
    if found.ratio <= 1:
        one = judge.moved(what, parameters, before, after, 1, random)
        found = one if not one.ratio <= found.ratio else found
    if found.ratio <= 1 and whole and quick and steps and x.specification.offers("conserved"):
        with suppress(Refusal), np.errstate(all="ignore"):  # the specification itself may not come so far
            kept = _conserved(first, parameters, rounded(start, precision.dtype), before, steps)
            found = kept if not kept.ratio <= found.ratio else found
    passed = found.ratio <= 1
    tiny = _subnormal(x, before, precision.dtype)
    if tiny <= SUBNORMAL or _subnormal(x, x.specification.initial_state(case.parameters), precision.dtype) > 0:
        tiny = 0.0
    sentence = "" if passed else found.sentence
    return Seal(passed, found.ratio, sentence, steps, whole, time.perf_counter() - begun, tiny)


def _conserved(judge: Judge, parameters: Parameters, start: Fields, end: Fields, steps: int) -> Deviation:
    """How far what the motion conserves has changed from the `start` of the timed run to its `end`, over how far it
    may. The specification shows that from the same start, in as many of the steps as some time allows, and in many more
    before a port is accused.
    """
    state, last = ({name: fields[name] for name in judge.specification.state} for fields in (start, end))

    def kept(state: Fields, marks: list[int], kind: Twin) -> dict[str, Any]:
        return series(judge.path, "", parameters, state, marks, kind)

    seen, final = kept(state, [], SPEC)["conserved"], kept(last, [], SPEC)["conserved"]
    change = {name: _largest(final[name][0] - of[0]) for name, of in seen.items()}
    a_rounding = LEAST_KAPPA * judge.precision.eps * steps
    rounding = {name: a_rounding * _largest(of) for name, of in kept(state, [], CONDITION)["conserved"].items()}
    made, begun, worst = 0, time.perf_counter(), Deviation()
    while made < steps and time.perf_counter() - begun < (LOOKED_AT if worst.ratio <= 1 else BEFORE_ACCUSED):
        more = min(max(1, made), steps - made)
        own = kept(state, list(range(1, more + 1)), SPEC)
        state, made, worst = own["end"], made + more, Deviation()
        longer = steps / made
        for name, values in own["conserved"].items():
            seen[name] = np.concatenate([seen[name], values[1:]])
            range_of = _largest(np.ptp(seen[name], axis=0))
            allowed = range_of * (FLUCTUATES * math.sqrt(longer) + DRIFTS * longer) + rounding[name]
            ratio = change[name] / allowed if change[name] else 0.0
            if math.isfinite(allowed) and not ratio <= worst.ratio:
                sentence = (
                    f"the {name} changed by {change[name]:.3g} in {steps} timed steps, and by {range_of:.3g} at most "
                    f"in {made} of the specification from the same start"
                )
                worst = Deviation(ratio, sentence)
    return worst


def _largest(values: np.ndarray) -> float:
    return float(np.max(np.abs(values), initial=0.0))


def _subnormal(x: Exchange, fields: Fields, dtype: str) -> float:
    """Part of the state's numbers that are smaller than the smallest with all their digits, and not 0."""
    every = np.concatenate([np.abs(fields[name]).ravel() for name in x.specification.state])
    return float(np.mean((every > 0) & (every < np.finfo(dtype).tiny))) if every.size else 0.0

"""The seal of a figure: what is timed is what was proved.

After a block's samples the port's own state, at the end of the run that was timed, is judged by the specification: what
was saved beside it must derive from it, and a step more must lead where the specification goes (agreement/own.py). So
a port is proved at the size, the length and the number of threads at which it is timed, in the process that was timed.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from portbench.agreement import twins
from portbench.agreement.own import WHOLE, Judge
from portbench.agreement.reference import rounded_parameters
from portbench.contract import Case, Fields
from portbench.hosts import Ready
from portbench.protocol import Exchange

SUBNORMAL = 0.01  # a part of the state's numbers; on most processors each takes many times as long as others
MOST_WHOLE = 6000  # units of a state whose sums are judged whole, once; of larger ones a part is judged


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


def judge(ready: Ready, x: Exchange, case: Case, steps: int, thorough: bool, random: np.random.Generator) -> Seal:
    """Of what the port holds now, `steps` after it was loaded; a step is made. `thorough`: whole, where that takes
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
    if found.ratio <= 1:
        one = judge.moved(what, parameters, before, after, 1, random)
        found = one if not one.ratio <= found.ratio else found
    passed = found.ratio <= 1
    tiny = _subnormal(x, before, precision.dtype)
    if tiny <= SUBNORMAL or _subnormal(x, x.specification.initial_state(case.parameters), precision.dtype) > 0:
        tiny = 0.0
    sentence = "" if passed else found.sentence
    return Seal(passed, found.ratio, sentence, steps, whole, time.perf_counter() - begun, tiny)


def _subnormal(x: Exchange, fields: Fields, dtype: str) -> float:
    """Part of the state's numbers that are smaller than the smallest with all their digits, and not 0."""
    every = np.concatenate([np.abs(fields[name]).ravel() for name in x.specification.state])
    return float(np.mean((every > 0) & (every < np.finfo(dtype).tiny))) if every.size else 0.0

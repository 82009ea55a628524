"""How a port's time grows with the size of a case, and falls with the threads.

The functions take a session's samples (docs/session.md). A fit is made in each round, and the interval is
Student's t of the rounds' results: what slows a whole round is in all of its points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy  # which imports its parts when they are used

from portbench.timing.statistics import CONFIDENCE, Estimate, ratio

if TYPE_CHECKING:  # importing pandas takes longer than most commands
    import pandas as pd

SIGNIFICANCE = 0.05
LEAST_SIZES = 5  # to look for a break: fewer leave an F test no more than one degree of freedom


@dataclass(frozen=True)
class Break:
    """Two lines that meet fit better than one."""

    size: float  # N where they meet: one that was measured, or half-way between two (geometrically)
    before: float  # exponents
    after: float
    p: float  # after Bonferroni, for all places where it was looked for


@dataclass(frozen=True)
class Growth:
    """time ~ N^exponent."""

    exponent: Estimate
    broken: Break | None


@dataclass(frozen=True)
class SpeedUp:
    """`efficiency` is the speed-up divided by the threads."""

    threads: int
    speed_up: Estimate
    efficiency: Estimate


@dataclass(frozen=True)
class Scaling:
    """`serial` is the part of the base's time that threads do not shorten; below 0 if they help more than their number.

    After G. M. Amdahl, "Validity of the single processor approach to achieving large scale computing
    capabilities", AFIPS 1967: time(p) / base = serial + (1 - serial) / p.
    """

    speed_ups: list[SpeedUp]
    serial: Estimate | None  # None without a round that has all thread counts


def growth(samples: pd.DataFrame, confidence: float = CONFIDENCE) -> Growth:
    """From the columns `round`, `work` (N) and `ns_per_step`, of one port on one thread count.

    Rounds that lack a size are left out. The break is looked for in the means over the rounds, so that it has to
    stand out from how the sizes lie off the lines, and not from the clock's noise alone.
    """
    table = _rounds(samples, "work", "ns_per_step")
    if table.shape[1] < 3 or table.empty:
        raise ValueError(f"{len(table)} rounds have all {table.shape[1]} sizes: an exponent needs one of three sizes")
    x, logs = np.log(table.columns.to_numpy(dtype=float)), np.log(table.to_numpy())
    slopes = np.array([scipy.stats.linregress(x, y).slope for y in logs])
    return Growth(_mean(slopes, confidence), _break(x, logs.mean(axis=0)))


def strong_scaling(samples: pd.DataFrame, base: pd.DataFrame | None = None, confidence: float = CONFIDENCE) -> Scaling:
    """From the columns `round`, `threads` and `ns_per_unit`, of one port and case.

    Speed-ups are over `base`, the serial port's samples of the same rounds; without it, over this port on 1 thread.
    Where another port is the base, its being faster or slower on 1 thread is in the serial part too.
    """
    base = samples[samples["threads"] == 1] if base is None else base
    some = samples[samples["threads"] > 1]
    speed_ups = []
    for threads, mine in some.groupby("threads"):
        count = int(str(threads))
        if (over := ratio(base, mine, confidence)) is not None:
            speed_ups.append(SpeedUp(count, over, Estimate(over.value / count, over.low / count, over.high / count)))
    serial = base.groupby("round")["ns_per_unit"].median()
    table = _rounds(some, "threads", "ns_per_unit")
    parts = table.div(serial, axis=0).dropna()
    if parts.empty:
        return Scaling(speed_ups, None)
    p = parts.columns.to_numpy(dtype=float)
    # Least squares of p times the equation: the ideal is 1 on each count of threads, and noise is in proportion.
    fitted = (parts.to_numpy() * p - 1) @ (p - 1) / np.sum((p - 1) ** 2)
    return Scaling(speed_ups, _mean(fitted, confidence))


def _rounds(samples: pd.DataFrame, columns: str, values: str) -> pd.DataFrame:
    """Medians, a row for each round that has all columns."""
    return samples.pivot_table(index="round", columns=columns, values=values, aggfunc="median").dropna()


def _mean(rounds: np.ndarray, confidence: float) -> Estimate:
    """With Student's t; of one round without an end."""
    middle, count = float(np.mean(rounds)), len(rounds)
    if count < 2:
        return Estimate(middle, -math.inf, math.inf)
    reach = float(scipy.stats.t.ppf((1 + confidence) / 2, count - 1) * np.std(rounds, ddof=1)) / math.sqrt(count)
    return Estimate(middle, middle - reach, middle + reach)


def _break(x: np.ndarray, y: np.ndarray) -> Break | None:
    """The best of all broken lines, if an F test finds it better than the straight one."""
    if len(x) < LEAST_SIZES:
        return None
    inner = x[1:-1]
    places = np.sort(np.concatenate([inner, (inner[1:] + inner[:-1]) / 2]))
    straight = np.stack([np.ones_like(x), x], axis=1)
    left = _residue(straight, y)
    freedom = len(x) - 3
    # What rounding alone leaves of a straight line.
    rounding = len(y) * float(8 * np.finfo(float).eps * np.max(np.abs(y))) ** 2
    tried = []
    for place in places:
        bent = np.column_stack([straight, np.maximum(x - place, 0)])
        rest = max(_residue(bent, y), rounding, np.finfo(float).tiny)
        tried.append((float(scipy.stats.f.sf((left - rest) / (rest / freedom), 1, freedom)), rest, place))
    p, _, place = min(tried, key=lambda t: t[1])
    p = min(1.0, p * len(places))
    if p >= SIGNIFICANCE:
        return None
    _, before, more = np.linalg.lstsq(np.column_stack([straight, np.maximum(x - place, 0)]), y)[0]
    return Break(float(np.exp(place)), float(before), float(before + more), p)


def _residue(design: np.ndarray, y: np.ndarray) -> float:
    """Sum of squares that the best fit leaves."""
    return float(np.sum((y - design @ np.linalg.lstsq(design, y)[0]) ** 2))

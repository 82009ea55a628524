"""From samples to figures: medians, and ratios of paired rounds with intervals.

A ratio is taken within a round, where both ports ran in turns, and never averaged: the median over
rounds is given. What it estimates, and its 95 % interval covers, is the median of all rounds that could be
run: a round, with its fresh processes, is what is repeated, and samples within one are no independent
evidence (T. Kalibera, R. Jones, "Rigorous benchmarking in reasonable time", ISMM 2013, section 6).
With one round there is no interval.

It is not the geometric mean: where one process in five is 15 % slower, all of few rounds may miss those
processes, and no interval made from what was seen allows for the mean that they would shift.

An interval is wrong where rounds are not independent: a slow change of the machine that hits one port
harder than the other goes on from round to round, and is in the ratio.

Rounds of two sessions are no pairs: what changed between them has Welch's t of the logarithms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy  # which imports its parts when they are used

if TYPE_CHECKING:  # importing pandas takes longer than most commands
    import pandas as pd

CONFIDENCE = 0.95
# Of sessions that end as soon as their intervals are narrow, which some are by luck: 95 % of such intervals hold the
# truth at worst, found by simulation (tests/test_statistics.py), where 95 % intervals did in 90 % of cases.
CONFIDENCE_IF_STOPPED = 0.98
LEAST_FOR_ORDER = 7  # rounds
LEAST_ROUNDS = 3  # of a session; those beyond are made where intervals are wide


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval."""

    value: float
    low: float
    high: float

    @property
    def tie(self) -> bool:
        """For a ratio: 1 lies in the interval."""
        return self.low <= 1 <= self.high

    @property
    def uncertainty(self) -> float:
        """Half the width of the interval, as a fraction of the value."""
        return (self.high - self.low) / 2 / self.value

    @property
    def says_nothing(self) -> bool:
        """The interval is wider than the value to either side: no figure."""
        return not self.uncertainty <= 1


def confidence_of(document: dict[str, Any]) -> float:
    """Of this session's intervals: more where measuring stopped because they were narrow."""
    stopped = any(m.get("stopped_early") for m in document["measured"]) or len(document["rounds"]) > LEAST_ROUNDS
    return CONFIDENCE_IF_STOPPED if stopped else CONFIDENCE


def median_time(samples: pd.DataFrame, confidence: float = CONFIDENCE) -> Estimate:
    """Nanoseconds per unit of work and step."""
    return estimate(_medians(samples).to_numpy(), confidence)


def ratio(slow: pd.DataFrame, fast: pd.DataFrame, confidence: float = CONFIDENCE) -> Estimate | None:
    """How many times as long `slow` takes as `fast`; None without a round in which both ran."""
    both = _ratios(slow, fast)
    return estimate(both, confidence) if len(both) else None


def change(before: pd.DataFrame, after: pd.DataFrame, confidence: float = CONFIDENCE) -> Estimate:
    """How many times faster `after` is than `before`, a session's samples of a port each."""
    return _welch(_medians(before).to_numpy(), _medians(after).to_numpy(), confidence)


def change_beside(
    before: pd.DataFrame,
    beside_before: pd.DataFrame,
    after: pd.DataFrame,
    beside_after: pd.DataFrame,
    confidence: float = CONFIDENCE,
) -> Estimate | None:
    """The same with each round's times divided by those of another port in it: the machine's own speed cancels."""
    old, new = _ratios(before, beside_before), _ratios(after, beside_after)
    return _welch(old, new, confidence) if len(old) and len(new) else None


def _medians(samples: pd.DataFrame) -> pd.Series:
    """Of each round."""
    return samples.groupby("round")["ns_per_unit"].median()


def _ratios(slow: pd.DataFrame, fast: pd.DataFrame) -> np.ndarray:
    """Of each round in which both ran."""
    return (_medians(slow) / _medians(fast)).dropna().to_numpy()


def interval(rounds: np.ndarray, confidence: float = CONFIDENCE) -> tuple[np.ndarray, np.ndarray]:
    """Low and high end of the median's interval; the last axis holds the rounds, at least two.

    From seven rounds on it lies between order statistics, which bound a median whatever the distribution,
    interpolated for what is asked (T. P. Hettmansperger, S. J. Sheather, "Confidence intervals based on interpolated
    order statistics", Statistics & Probability Letters 4, 1986), of the logarithms, so that a ratio and its
    inverse have the same. Of fewer it is Student's t about the mean logarithm, widened to hold every round:
    the range alone holds the median in 94 of 100 cases of five rounds, but in 75 of three. So with three and
    four it is too narrow where more than a third of one port's processes run at another speed, and interpolated
    ones cover 90 to 93 % where just half do.
    """
    tail = (1 - confidence) / 2
    logs = np.sort(np.log(rounds), axis=-1)
    count = logs.shape[-1]
    low, high = logs[..., 0], logs[..., -1]
    if count < LEAST_FOR_ORDER:
        mean = np.mean(logs, axis=-1)
        reach = scipy.stats.t.ppf(1 - tail, count - 1) * np.std(logs, axis=-1, ddof=1) / math.sqrt(count)
        low, high = np.minimum(mean - reach, low), np.maximum(mean + reach, high)
    else:
        k, share = _rank(count, tail)
        low = (1 - share) * logs[..., k - 1] + share * logs[..., k]
        high = (1 - share) * logs[..., -k] + share * logs[..., -k - 1]
    return np.exp(low), np.exp(high)


def _rank(count: int, tail: float) -> tuple[int, float]:
    """The k for which the k-th value from either end bounds the median more often than asked, and how far to go
    from there to the next, which does so less often."""
    k = int(scipy.stats.binom.ppf(tail, count, 0.5))
    missed, next_missed = scipy.stats.binom.cdf([k - 1, k], count, 0.5)
    excess = (tail - missed) / (next_missed - missed)
    return k, float((count - k) * excess / (k + (count - 2 * k) * excess))


def estimate(rounds: np.ndarray, confidence: float) -> Estimate:
    middle = float(np.median(rounds))
    if len(rounds) < 2:
        return Estimate(middle, 0.0, math.inf)
    low, high = interval(rounds, confidence)
    return Estimate(middle, float(low), float(high))


def _welch(above: np.ndarray, below: np.ndarray, confidence: float) -> Estimate:
    """The ratio of the medians; its interval as that of estimate(), of rounds that are not paired."""
    middle = float(np.median(above) / np.median(below))
    if min(len(above), len(below)) < 2:
        return Estimate(middle, 0.0, math.inf)
    logs = np.log(above), np.log(below)
    squares = [np.var(some, ddof=1) / len(some) for some in logs]
    # equal numbers, to the last digit, have no spread
    freedom = sum(squares) ** 2 / sum(s**2 / (len(some) - 1) for s, some in zip(squares, logs)) if sum(squares) else 1
    reach = scipy.stats.t.ppf((1 + confidence) / 2, freedom) * math.sqrt(sum(squares))
    mean = np.mean(logs[0]) - np.mean(logs[1])
    low, high = np.exp(mean - reach), np.exp(mean + reach)
    return Estimate(middle, min(float(low), middle), max(float(high), middle))

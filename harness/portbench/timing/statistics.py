"""From samples to figures: medians, and ratios of paired rounds with intervals.

A ratio is taken within a round, where both ports ran in turns, and never averaged: the median over
rounds is given. Its 95 % interval is Student's t of the logarithms of the rounds' ratios: a round, with
its fresh processes, is what is repeated, and samples within one are no independent evidence (T. Kalibera,
R. Jones, "Rigorous benchmarking in reasonable time", ISMM 2013, section 6). With one round there is none.

Rounds of two sessions are no pairs: what changed between them has Welch's t of the same logarithms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.stats

CONFIDENCE = 0.95
# Of sessions that end as soon as their intervals are narrow, which some are by luck: 95 % of such intervals hold the
# truth at worst, found by simulation (tests/test_statistics.py), where 95 % intervals did in 90 % of cases.
CONFIDENCE_IF_STOPPED = 0.98


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


def median_time(samples: pd.DataFrame, confidence: float = CONFIDENCE) -> Estimate:
    """Nanoseconds per unit of work and step."""
    return _estimate(_medians(samples).to_numpy(), confidence)


def ratio(slow: pd.DataFrame, fast: pd.DataFrame, confidence: float = CONFIDENCE) -> Estimate | None:
    """How many times as long `slow` takes as `fast`; None without a round in which both ran."""
    both = _ratios(slow, fast)
    return _estimate(both, confidence) if len(both) else None


def change(before: pd.DataFrame, after: pd.DataFrame) -> Estimate:
    """How many times faster `after` is than `before`, a session's samples of a port each."""
    return _welch(_medians(before).to_numpy(), _medians(after).to_numpy())


def change_beside(
    before: pd.DataFrame, beside_before: pd.DataFrame, after: pd.DataFrame, beside_after: pd.DataFrame
) -> Estimate | None:
    """The same with each round's times divided by those of another port in it: the machine's own speed cancels."""
    old, new = _ratios(before, beside_before), _ratios(after, beside_after)
    return _welch(old, new) if len(old) and len(new) else None


def _medians(samples: pd.DataFrame) -> pd.Series:
    """Of each round."""
    return samples.groupby("round")["ns_per_unit"].median()


def _ratios(slow: pd.DataFrame, fast: pd.DataFrame) -> np.ndarray:
    """Of each round in which both ran."""
    return (_medians(slow) / _medians(fast)).dropna().to_numpy()


def _estimate(rounds: np.ndarray, confidence: float) -> Estimate:
    """The median; the interval about the mean logarithm, widened to hold the median."""
    middle, count = float(np.median(rounds)), len(rounds)
    if count < 2:
        return Estimate(middle, 0.0, math.inf)
    logs = np.log(rounds)
    reach = scipy.stats.t.ppf((1 + confidence) / 2, count - 1) * np.std(logs, ddof=1) / math.sqrt(count)
    low, high = np.exp(np.mean(logs) - reach), np.exp(np.mean(logs) + reach)
    return Estimate(middle, min(float(low), middle), max(float(high), middle))


def _welch(above: np.ndarray, below: np.ndarray) -> Estimate:
    """The ratio of the medians; its interval as that of _estimate, of rounds that are not paired."""
    middle = float(np.median(above) / np.median(below))
    if min(len(above), len(below)) < 2:
        return Estimate(middle, 0.0, math.inf)
    logs = np.log(above), np.log(below)
    squares = [np.var(some, ddof=1) / len(some) for some in logs]
    # equal numbers, to the last digit, have no spread
    freedom = sum(squares) ** 2 / sum(s**2 / (len(some) - 1) for s, some in zip(squares, logs)) if sum(squares) else 1
    reach = scipy.stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * math.sqrt(sum(squares))
    mean = np.mean(logs[0]) - np.mean(logs[1])
    low, high = np.exp(mean - reach), np.exp(mean + reach)
    return Estimate(middle, min(float(low), middle), max(float(high), middle))

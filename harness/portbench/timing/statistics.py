"""From samples to figures: medians, and ratios of paired rounds with intervals.

A ratio is taken within a round, where both ports ran in turns, and never averaged: the median over
rounds is given. Its 95 % interval is Student's t of the logarithms of the rounds' ratios: a round, with
its fresh processes, is what is repeated, and samples within one are no independent evidence (T. Kalibera,
R. Jones, "Rigorous benchmarking in reasonable time", ISMM 2013, section 6). With one round there is none.
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
    both = (_medians(slow) / _medians(fast)).dropna()
    return _estimate(both.to_numpy(), confidence) if len(both) else None


def _medians(samples: pd.DataFrame) -> pd.Series:
    """Of each round."""
    return samples.groupby("round")["ns_per_unit"].median()


def _estimate(rounds: np.ndarray, confidence: float) -> Estimate:
    """The median; the interval about the mean logarithm, widened to hold the median."""
    middle, count = float(np.median(rounds)), len(rounds)
    if count < 2:
        return Estimate(middle, 0.0, math.inf)
    logs = np.log(rounds)
    reach = scipy.stats.t.ppf((1 + confidence) / 2, count - 1) * np.std(logs, ddof=1) / math.sqrt(count)
    low, high = np.exp(np.mean(logs) - reach), np.exp(np.mean(logs) + reach)
    return Estimate(middle, min(float(low), middle), max(float(high), middle))

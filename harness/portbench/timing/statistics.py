"""From samples to figures: medians, and ratios of paired rounds with intervals.

A ratio is taken within a round, where both ports ran in turns, and never averaged: the median over
rounds and samples is given, with a 95 % interval from a hierarchical bootstrap that draws rounds and
then samples in them (T. Kalibera, R. Jones, "Rigorous benchmarking in reasonable time", ISMM 2013).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

REPLICATES = 2000
CONFIDENCE = 0.95


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


def median_time(samples: pd.DataFrame) -> Estimate:
    """Nanoseconds per unit of work and step."""
    rounds = [g["ns_per_unit"].to_numpy() for _, g in samples.groupby("round")]
    return _estimate([rounds], lambda drawn: float(np.median(np.concatenate(drawn[0]))))


def ratio(slow: pd.DataFrame, fast: pd.DataFrame) -> Estimate | None:
    """How many times as long `slow` takes as `fast`; None without a round in which both ran."""
    both = sorted(set(slow["round"]) & set(fast["round"]))
    if not both:
        return None
    pair = [[s.loc[s["round"] == r, "ns_per_unit"].to_numpy() for r in both] for s in (slow, fast)]

    def of_medians(drawn: list[list[np.ndarray]]) -> float:
        return float(np.median([np.median(a) / np.median(b) for a, b in zip(*drawn)]))

    return _estimate(pair, of_medians)


def _estimate(groups: list[list[np.ndarray]], statistic: Callable[[list[list[np.ndarray]]], float]) -> Estimate:
    """`groups` are ports, each a list of rounds; the same rounds are drawn for all, samples for each."""
    random = np.random.default_rng(0)
    rounds = len(groups[0])
    values = np.empty(REPLICATES)
    for k in range(REPLICATES):
        drawn = random.integers(rounds, size=rounds)
        values[k] = statistic([[random.choice(g[r], len(g[r])) for r in drawn] for g in groups])
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(statistic(groups), float(low), float(high))

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
    return _estimate(
        [_by_round(samples, sorted(set(samples["round"])))], lambda drawn: np.nanmedian(drawn[0], axis=(-2, -1))
    )


def ratio(slow: pd.DataFrame, fast: pd.DataFrame) -> Estimate | None:
    """How many times as long `slow` takes as `fast`; None without a round in which both ran."""
    both = sorted(set(slow["round"]) & set(fast["round"]))
    if not both:
        return None

    def of_medians(drawn: list[np.ndarray]) -> np.ndarray:
        in_rounds = np.nanmedian(drawn[0], axis=-1) / np.nanmedian(drawn[1], axis=-1)
        return np.median(in_rounds, axis=-1)

    return _estimate([_by_round(slow, both), _by_round(fast, both)], of_medians)


def _by_round(samples: pd.DataFrame, rounds: list[int]) -> np.ndarray:
    """(rounds, samples), filled up with NaN where a round has fewer."""
    groups = [samples.loc[samples["round"] == r, "ns_per_unit"].to_numpy() for r in rounds]
    table = np.full((len(groups), max(map(len, groups))), np.nan)
    for row, group in zip(table, groups):
        row[: len(group)] = group
    return table


def _estimate(tables: list[np.ndarray], statistic: Callable[[list[np.ndarray]], np.ndarray]) -> Estimate:
    """One table for each port. The same rounds are drawn for all; samples for each on its own."""
    random = np.random.default_rng(0)
    rounds = len(tables[0])
    drawn = random.integers(rounds, size=(REPLICATES, rounds))
    resampled = []
    for table in tables:
        count = np.sum(np.isfinite(table), axis=1)[drawn][..., None]
        slot = np.arange(table.shape[1])
        chosen = (random.random((*drawn.shape, table.shape[1])) * count).astype(int)
        values = table[drawn[..., None], chosen]
        resampled.append(np.where(slot < count, values, np.nan))
    low, high = np.quantile(statistic(resampled), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(float(statistic(tables)), float(low), float(high))

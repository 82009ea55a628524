"""Medians and ratios against known truths."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
import scipy.signal
import scipy.stats

from portbench.timing.scheduler import LEAST_ROUNDS
from portbench.timing.statistics import CONFIDENCE_IF_STOPPED, interval, median_time, ratio

SAMPLES = 4  # in a round, per port
SESSIONS = 20_000  # simulated: of intervals that cover 95 %, fewer than 94.5 % come up in one of a thousand
TRUTH = 2.0


def samples(random: np.random.Generator, level: float, drift: np.ndarray, noise: float) -> pd.DataFrame:
    """Five samples in each round, of which each runs at a speed of its own (`drift`) that hits all ports alike."""
    rounds = np.repeat(np.arange(len(drift)), 5)
    values = level * drift[rounds] * np.exp(noise * random.standard_normal(len(rounds)))
    return pd.DataFrame({"round": rounds, "ns_per_unit": values})


def test_a_drift_that_hits_all_alike_leaves_the_ratio_alone() -> None:
    """The machine slows down threefold in mid-session: the times say nothing, the ratio is 2."""
    random = np.random.default_rng(1)
    drift = np.array([1, 1, 1, 3, 3, 3, 1.5, 2])
    slow, fast = (samples(random, level, drift, 0.01) for level in (20.0, 10.0))
    estimate = ratio(slow, fast)
    assert estimate is not None
    assert estimate.low < 2 < estimate.high
    assert estimate.uncertainty < 0.02
    assert median_time(fast).uncertainty > 0.2


@dataclass
class Sessions:
    """Many sessions of two ports: logarithms of disturbances, the axes being session, round and sample.

    `when` says at which of a session's 2 * rounds * SAMPLES turns each sample was taken: the ports take turns in
    random order. All begin with 1 % of noise per sample and 1 % per process.
    """

    random: np.random.Generator
    rounds: int
    count: int
    logs: list[np.ndarray] = field(init=False)
    when: list[np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        self.logs = [self.normal(0.01, SAMPLES) + self.normal(0.01) for _ in range(2)]
        first = self.random.integers(0, 2, (self.count, self.rounds, SAMPLES))
        pairs = 2 * np.arange(self.rounds * SAMPLES).reshape(self.rounds, SAMPLES)
        self.when = [pairs + first, pairs + 1 - first]

    def normal(self, deviation: float, samples: int = 1) -> np.ndarray:
        """One for each process, or for each sample."""
        return deviation * self.random.standard_normal((self.count, self.rounds, samples))

    def some(self, share: float, samples: int = 1) -> np.ndarray:
        return self.random.random((self.count, self.rounds, samples)) < share

    def add(self, slow: np.ndarray, fast: np.ndarray | float) -> None:
        self.logs = [self.logs[0] + slow, self.logs[1] + fast]

    def autoregressive(self, length: int, correlation: float, deviation: float) -> np.ndarray:
        """Stationary, along the last axis."""
        shape = (self.count, length) if length != SAMPLES else (self.count, self.rounds, length)
        shocks = deviation * math.sqrt(1 - correlation**2) * self.random.standard_normal(shape)
        shocks[..., 0] /= math.sqrt(1 - correlation**2)
        return scipy.signal.lfilter([1.0], [1.0, -correlation], shocks, axis=-1)

    def times(self) -> list[np.ndarray]:
        return [level * np.exp(logs) for level, logs in zip((TRUTH, 1.0), self.logs)]

    def ratios(self) -> np.ndarray:
        """Of each round."""
        slow, fast = (np.median(times, axis=-1) for times in self.times())
        return slow / fast


def calm(s: Sessions) -> None:
    """Nothing but noise."""


def processes(s: Sessions) -> None:
    """Each process has a speed of its own."""
    s.add(s.normal(0.05), s.normal(0.05))


def drift(s: Sessions) -> None:
    """The machine slows down by half in the course of the session."""
    s.add(*(np.log1p(0.5 * when / (2 * s.rounds * SAMPLES)) for when in s.when))


def two_speeds_of_one(s: Sessions) -> None:
    """Three in ten processes of one port are 15 % slower."""
    s.add(math.log(1.15) * s.some(0.3), 0.0)


def rarely_slow(s: Sessions) -> None:
    """One in ten processes of one port is 15 % slower: most short sessions see none."""
    s.add(math.log(1.15) * s.some(0.1), 0.0)


def two_speeds_of_both(s: Sessions) -> None:
    """Half of the processes of either port are 15 % slower."""
    s.add(math.log(1.15) * s.some(0.5), math.log(1.15) * s.some(0.5))


def outliers(s: Sessions) -> None:
    """One sample in twenty takes three times as long."""
    s.add(math.log(3) * s.some(0.05, SAMPLES), math.log(3) * s.some(0.05, SAMPLES))


def disturbed_rounds(s: Sessions) -> None:
    """One round in five runs up to three times slower and three times as noisy, for both ports."""
    hit = s.some(0.2)
    s.logs = [logs * (1 + 2 * hit) for logs in s.logs]
    slower = hit * np.log(s.random.uniform(1.5, 3, hit.shape))
    s.add(slower, slower)


def autocorrelation(s: Sessions) -> None:
    """The machine's speed wanders from turn to turn, over rounds too, for both ports; each process's own from sample
    to sample. Where the wandering over rounds hits one port harder no interval of few rounds covers."""
    machine = s.autoregressive(2 * s.rounds * SAMPLES, 0.9, 0.1)
    for k, when in enumerate(s.when):
        s.logs[k] = s.logs[k] + np.take_along_axis(machine, when.reshape(s.count, -1), 1).reshape(when.shape)
    s.add(s.autoregressive(SAMPLES, 0.8, 0.03), s.autoregressive(SAMPLES, 0.8, 0.03))


SCENARIOS = [
    calm,
    processes,
    drift,
    two_speeds_of_one,
    rarely_slow,
    two_speeds_of_both,
    outliers,
    disturbed_rounds,
    autocorrelation,
]


def truth(scenario: Callable[[Sessions], None]) -> float:
    """The median of all rounds that could be run: TRUTH wherever both ports are disturbed alike."""
    if scenario not in (two_speeds_of_one, rarely_slow):
        return TRUTH
    many = Sessions(np.random.default_rng(5), rounds=1, count=400_000)
    scenario(many)
    return float(np.median(many.ratios()))


@pytest.mark.parametrize("rounds", [3, 5, 6, 7, 10, 20])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_intervals_cover_as_often_as_they_say(scenario: Callable[[Sessions], None], rounds: int) -> None:
    """At least 93 %; and they are no wider than they must be where there is but noise."""
    many = Sessions(np.random.default_rng(rounds), rounds, SESSIONS)
    scenario(many)
    low, high = interval(many.ratios())
    wanted = truth(scenario)
    covered = np.mean((low <= wanted) & (wanted <= high))
    print(f"{scenario.__name__}, {rounds} rounds: {covered:.1%}")
    assert covered >= 0.93
    if scenario is calm:
        assert covered <= 0.98


@pytest.mark.parametrize("rounds", [3, 10])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_sessions_as_they_are_recorded_have_those_intervals(scenario: Callable[[Sessions], None], rounds: int) -> None:
    few = Sessions(np.random.default_rng(7), rounds, 5)
    scenario(few)
    low, high = interval(few.ratios())
    number = np.repeat(np.arange(rounds), SAMPLES)
    for k in range(few.count):
        slow, fast = (pd.DataFrame({"round": number, "ns_per_unit": t[k].ravel()}) for t in few.times())
        there, back = ratio(slow, fast), ratio(fast, slow)
        assert there is not None
        assert back is not None
        assert (there.low, there.high) == pytest.approx((low[k], high[k]))
        assert (1 / back.high, 1 / back.low) == pytest.approx((low[k], high[k]))
        assert there.low <= there.value <= there.high


@pytest.mark.parametrize("rounds", [7, 8, 10, 20, 50])
def test_interpolation_stays_inside_the_exact_interval(rounds: int) -> None:
    """Which covers 95 % or more: scipy's, of the sign test."""
    values = np.sort(np.exp(np.random.default_rng(rounds).standard_normal(rounds)))
    low, high = interval(values)
    exact = scipy.stats.quantile_test(values, q=1, p=0.5).confidence_interval(0.95)
    k = int(np.searchsorted(values, exact.low))
    assert values[k] <= low <= values[k + 1]
    assert values[-k - 2] <= high <= values[-k - 1] == exact.high


def test_one_round_has_no_interval() -> None:
    """And so nothing of it may be called faster."""
    random = np.random.default_rng(4)
    alone = ratio(samples(random, 2.0, np.ones(1), 0.01), samples(random, 1.0, np.ones(1), 0.01))
    assert alone is not None
    assert alone.tie


def test_one_outlier_moves_no_median() -> None:
    random = np.random.default_rng(2)
    frame = samples(random, 10.0, np.ones(6), 0.01)
    frame.loc[3, "ns_per_unit"] = 1e6
    assert median_time(frame).value == pytest.approx(10, rel=0.02)


def test_ports_that_never_ran_together_have_no_ratio() -> None:
    random = np.random.default_rng(3)
    early, late = samples(random, 1.0, np.ones(2), 0.01), samples(random, 1.0, np.ones(2), 0.01)
    late["round"] += 2
    assert ratio(early, late) is None


def test_intervals_of_sessions_that_stop_when_they_are_narrow_cover_95_percent() -> None:
    """The worst found of such sessions: spread from round to round 1.5 times the precision that is asked for.

    Of 600, 570 are expected at 95 %, and fewer than 553 come up in one of a thousand.
    """
    covered = 0
    for seed in range(600):
        noise = 0.03 * np.random.default_rng(seed).standard_normal(60)
        for rounds in range(LEAST_ROUNDS, 60):
            frames = [
                pd.DataFrame({"round": range(rounds), "ns_per_unit": values})
                for values in (np.exp(noise[:rounds]), np.ones(rounds))
            ]
            known = ratio(*frames, CONFIDENCE_IF_STOPPED)
            assert known is not None
            if known.uncertainty <= 0.02:
                break
        covered += known.low <= 1 <= known.high
    assert covered >= 553

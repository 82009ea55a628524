"""Warm-up's classes against series whose class is known: how often each is found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from portbench.timing.warmup import classify, classify_processes

SAMPLES, SERIES = 100, 100
STEADY = 0.15  # seconds in a sample


def flat(random: np.random.Generator) -> tuple[np.ndarray, int]:
    return np.ones(SAMPLES), 0


def one_step(random: np.random.Generator) -> tuple[np.ndarray, int]:
    """As where a compiler takes over."""
    return step(int(random.integers(1, 60)), random.uniform(1.1, 3))


def settling(random: np.random.Generator) -> tuple[np.ndarray, int]:
    """As where caches fill: within 1 % from the index given."""
    rate, over = random.uniform(2, 10), random.uniform(0.5, 3)
    return 1 + over * np.exp(-np.arange(SAMPLES) / rate), round(rate * np.log(over / 0.01))


def slower_later(random: np.random.Generator) -> tuple[np.ndarray, int]:
    return step(int(random.integers(5, 60)), random.uniform(0.5, 0.9))


def faster_in_between(random: np.random.Generator) -> tuple[np.ndarray, int]:
    """It warms up, and then loses some of that."""
    shape, begin = step(50, 0.9)
    shape[:20] = 1.3
    return shape, begin


def late_change(random: np.random.Generator) -> tuple[np.ndarray, int]:
    return step(int(random.integers(80, 95)), random.uniform(0.5, 0.9))


def to_and_fro(random: np.random.Generator) -> tuple[np.ndarray, int]:
    return 1 + 0.4 * (np.arange(SAMPLES) // 20 % 2), SAMPLES


def step(index: int, before: float) -> tuple[np.ndarray, int]:
    return np.where(np.arange(SAMPLES) < index, before, 1.0), index


def measured(random: np.random.Generator, shape: np.ndarray, noise: float, outliers: float) -> np.ndarray:
    """Seconds. The first is no outlier: it would be a warm-up."""
    hit = random.random(SAMPLES) < outliers
    hit[0] = False
    return STEADY * shape * np.exp(noise * random.standard_normal(SAMPLES)) * np.where(hit, 3, 1)


@pytest.mark.parametrize(("noise", "outliers", "least"), [(0.01, 0.0, 0.99), (0.01, 0.03, 0.96), (0.03, 0.03, 0.9)])
@pytest.mark.parametrize(
    ("kind", "series"),
    [
        ("flat", flat),
        ("warm-up", one_step),
        ("warm-up", settling),
        ("slowdown", slower_later),
        ("slowdown", faster_in_between),
        ("no steady state", late_change),
        ("no steady state", to_and_fro),
    ],
)
def test_each_class_is_found(kind: str, series: Callable, noise: float, outliers: float, least: float) -> None:
    right = timely = near = 0
    for seed in range(SERIES):
        random = np.random.default_rng(seed)
        shape, begin = series(random)
        found = classify(measured(random, shape, noise, outliers))
        right += found.kind == kind
        if found.kind == kind and found.steady_from is not None and found.steady_time is not None:
            timely += abs(found.steady_from - begin) <= 5 + 0.5 * begin * (series is settling)
            near += abs(found.steady_time / STEADY - 1) < 0.02
    print(f"{series.__name__}, noise {noise}, outliers {outliers}: {right / SERIES:.1%}, in time {timely / SERIES:.1%}")
    assert right >= least * SERIES
    if kind != "no steady state":
        # An outlier beside a large step may pass: the window has both levels, and so a wide band.
        assert timely >= (0.75 if outliers else 0.98) * right
        assert near >= 0.98 * right


def test_processes_that_differ_are_inconsistent() -> None:
    random = np.random.default_rng(1)
    flats, warm = [[measured(random, make(random)[0], 0.01, 0.0) for _ in range(5)] for make in (flat, one_step)]
    assert classify_processes(flats).kind == "flat"
    both = classify_processes([*flats, warm[0]])
    assert both.kind == "inconsistent"
    assert both.steady_from == classify(warm[0]).steady_from
    assert both.steady_time == pytest.approx(STEADY, rel=0.02)
    late = measured(random, late_change(random)[0], 0.01, 0.0)
    assert classify_processes([late, late]).kind == "no steady state"
    assert classify_processes([*flats, late]).steady_time is None


def test_what_is_the_same_is_asked_in_seconds_and_relative() -> None:
    random = np.random.default_rng(2)
    shape, _ = step(40, 1.05)
    seconds = measured(random, shape, 0.002, 0.0)
    assert classify(seconds).kind == "warm-up"
    assert classify(seconds, relative=0.06).kind == "flat"
    assert classify(seconds, absolute=0.009).kind == "flat"


def test_one_slow_sample_is_warm_up_at_the_beginning_only() -> None:
    seconds = measured(np.random.default_rng(3), np.ones(SAMPLES), 0.01, 0.0)
    assert classify(np.where(np.arange(SAMPLES) == 50, 10.0, seconds)).kind == "flat"
    first = classify(np.where(np.arange(SAMPLES) == 0, 10.0, seconds))
    assert first.kind == "warm-up"
    assert first.steady_from in (1, 2)


def test_a_clock_of_coarse_ticks_is_flat() -> None:
    assert classify(np.full(SAMPLES, STEADY)).kind == "flat"


def test_few_samples_tell_nothing() -> None:
    with pytest.raises(ValueError, match="4 samples"):
        classify(np.full(4, STEADY))

"""Does a process become steady, and when: change points in the times of its samples.

After E. Barrett, C. F. Bolz-Tereick, R. Killick, S. Mount, L. Tratt, "Virtual machine warmup blows hot and
cold", OOPSLA 2017: outliers are left out, PELT cuts the rest where mean or variance change, and the pieces'
levels tell the kind. Theirs are series of 2000; the lengths here are the same fractions of shorter ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ruptures.base import BaseCost
from ruptures.detection import Pelt

Kind = Literal["flat", "warm-up", "slowdown", "no steady state", "inconsistent"]

LEAST_SAMPLES = 20  # fewer tell nothing
PENALTY = 15.0  # times log n, for each further piece
WINDOW, LEAST_WINDOW, WINDOW_PART = 200, 20, 0.4  # samples around one that is judged; of a short series this part
BAND = 3.0  # of the window's 10 % to 90 % range, on either side of its median
STEADY_PART = 0.25  # at the end, within which nothing may change
FINEST = 1e-3  # of the median: less scatter than this is taken for this, as a clock's ticks have none


@dataclass(frozen=True)
class Warmup:
    """`steady_from` is the first steady sample's index, `steady_time` in seconds; both None if there is no such."""

    kind: Kind
    steady_from: int | None
    steady_time: float | None


def classify(seconds: np.ndarray, absolute: float = 0.001, relative: float = 0.01) -> Warmup:
    """One process's samples, in seconds for each (not for a step), at least LEAST_SAMPLES, in their order.

    Two pieces whose medians differ by no more than `absolute` (seconds; the paper's) or `relative`, whichever
    is more, are the same. "warm-up": none before was faster than the steady ones; else it is a "slowdown".
    One slow sample is an outlier, unless it is the very first. One within half a window after a large step
    may pass for a part of it, and the steady state is then said to begin after it.
    """
    seconds = np.asarray(seconds, dtype=float)
    if len(seconds) < LEAST_SAMPLES:
        raise ValueError(f"{len(seconds)} samples, and a warm-up is not to be seen in fewer than {LEAST_SAMPLES}")
    kept = np.flatnonzero(~_outliers(seconds))
    values = seconds[kept]
    ends = Pelt(custom_cost=_MeanAndVariance(), min_size=2, jump=1).fit_predict(values, PENALTY * math.log(len(values)))
    starts = [0, *ends[:-1]]
    levels = np.array([np.median(values[a:b]) for a, b in zip(starts, ends)])
    above = levels - levels[-1]
    margin = max(absolute, relative * levels[-1])
    other = np.flatnonzero(np.abs(above) > margin)
    first = int(other[-1]) + 1 if len(other) else 0  # of the steady pieces
    begin = int(kept[starts[first]]) if first else 0
    if begin > (1 - STEADY_PART) * len(seconds):
        return Warmup("no steady state", None, None)
    kind: Kind = "flat" if not len(other) else "warm-up" if np.all(above >= -margin) else "slowdown"
    return Warmup(kind, begin, float(np.median(values[starts[first] :])))


def classify_processes(series: Sequence[np.ndarray], absolute: float = 0.001, relative: float = 0.01) -> Warmup:
    """Of several processes: "inconsistent" if they differ in kind; steady from where the last of them is, and the
    median of their steady times, if all have one."""
    each = [classify(seconds, absolute, relative) for seconds in series]
    begins = [w.steady_from for w in each if w.steady_from is not None]
    times = [w.steady_time for w in each if w.steady_time is not None]
    kind: Kind = each[0].kind if len({w.kind for w in each}) == 1 else "inconsistent"
    if len(times) < len(each):
        return Warmup(kind, None, None)
    return Warmup(kind, max(begins), float(np.median(times)))


def _outliers(seconds: np.ndarray) -> np.ndarray:
    """Which lie far outside of what is usual around them.

    The paper spares its first 200 samples, lest warm-up be taken for outliers; here those at the very
    beginning are spared, up to the first that is none.
    """
    count = len(seconds)
    width = min(WINDOW, max(LEAST_WINDOW, int(WINDOW_PART * count)))
    begins = np.clip(np.arange(count) - width // 2, 0, count - width)
    windows = np.lib.stride_tricks.sliding_window_view(seconds, width)[begins]
    low, middle, high = np.percentile(windows, [10, 50, 90], axis=1)
    found = np.abs(seconds - middle) > BAND * np.maximum(high - low, FINEST * middle)
    found[: int(np.argmin(found))] = False
    return found


class _MeanAndVariance(BaseCost):
    """Minus twice the logarithm of a piece's greatest normal likelihood, from sums over all before it. The library's
    own computes a covariance matrix for each piece, and has a least variance in absolute units."""

    model = "mean and variance"
    min_size = 2

    def fit(self, signal: np.ndarray) -> _MeanAndVariance:
        self.signal = signal.reshape(-1, 1)
        scaled = signal / np.median(signal) - 1
        self.sums = np.concatenate([[0.0], np.cumsum(scaled)]).tolist()
        self.squares = np.concatenate([[0.0], np.cumsum(scaled**2)]).tolist()
        return self

    def error(self, start: int, end: int) -> float:
        count = end - start
        mean = (self.sums[end] - self.sums[start]) / count
        variance = (self.squares[end] - self.squares[start]) / count - mean * mean
        return count * math.log(max(variance, FINEST**2))

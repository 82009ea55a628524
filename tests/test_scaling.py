"""Exponents, breaks and serial fractions against known truths."""

from __future__ import annotations

import json
import math
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from rich.console import Console

from portbench import session
from portbench.errors import Refusal
from portbench.report.growth import Found, Sizes, Threads, examine, print_tables
from portbench.timing.scaling import Growth, Scaling, SpeedUp, growth, strong_scaling
from portbench.timing.statistics import Estimate

SIZES = np.array([125, 250, 500, 1000, 2000, 4000, 8000, 16000])
THREADS = np.array([1, 2, 4, 8])
TRIES = 200
LEAST = 0.91 * TRIES  # of intervals that cover 95 %, so few come up in one of a hundred


def frame(random: np.random.Generator, rounds: int, column: str, keys: np.ndarray, times: np.ndarray) -> pd.DataFrame:
    """Two samples of each; a round runs at a speed of its own (10 %), and each process in it too (2 %)."""
    shape = (rounds, len(keys))
    noise = 0.1 * random.standard_normal((rounds, 1)) + 0.02 * random.standard_normal(shape)
    table = pd.DataFrame({"round": np.repeat(np.arange(rounds), len(keys)), column: np.tile(keys, rounds)})
    table["time"] = (times * np.exp(noise)).ravel()
    return pd.concat([table, table.assign(time=table["time"] * 1.001)])


def sized(random: np.random.Generator, rounds: int, times: np.ndarray) -> pd.DataFrame:
    return frame(random, rounds, "work", SIZES, times).rename(columns={"time": "ns_per_step"})


def threaded(random: np.random.Generator, rounds: int, serial: float) -> pd.DataFrame:
    times = 100 * (serial + (1 - serial) / THREADS)
    return frame(random, rounds, "threads", THREADS, times).rename(columns={"time": "ns_per_unit"})


@pytest.mark.parametrize("rounds", [3, 10])
@pytest.mark.parametrize("exponent", [1.0, 2.0])
def test_exponents_are_covered_and_no_break_is_seen_where_none_is(exponent: float, rounds: int) -> None:
    covered = broken = 0
    for seed in range(TRIES):
        found = growth(sized(np.random.default_rng(seed), rounds, SIZES**exponent))
        covered += found.exponent.low <= exponent <= found.exponent.high
        broken += found.broken is not None
    print(f"exponent {exponent}, {rounds} rounds: covered {covered / TRIES:.1%}, broken {broken / TRIES:.1%}")
    assert covered >= LEAST
    assert broken <= 0.05 * TRIES


@pytest.mark.parametrize("rounds", [3, 10])
@pytest.mark.parametrize(("before", "after"), [(1.0, 2.0), (1.0, 1.2)])
@pytest.mark.parametrize("size", [1000, 1500])
def test_a_break_is_found_and_placed(size: int, before: float, after: float, rounds: int) -> None:
    """As where a case outgrows a cache, or pairs outweigh the rest."""
    times = np.where(size > SIZES, (SIZES / size) ** before, (SIZES / size) ** after)
    found = [growth(sized(np.random.default_rng(seed), rounds, times)).broken for seed in range(50)]
    seen = [b for b in found if b is not None]
    near = [b for b in seen if 0.5 <= b.size / size <= 2]
    print(f"{before} to {after} at {size}, {rounds} rounds: {len(seen)} of 50, {len(near)} near")
    assert len(seen) >= 45
    assert len(near) >= 0.95 * len(seen)
    assert np.median([b.before for b in seen]) == pytest.approx(before, abs=0.05)
    assert np.median([b.after for b in seen]) == pytest.approx(after, abs=0.05)


def test_one_size_off_the_line_is_no_break() -> None:
    """A size whose cells fit badly is 10 % slower in all rounds."""
    times = np.where(SIZES == 1000, 1.1, 1.0) * SIZES
    found = [growth(sized(np.random.default_rng(seed), 10, times)).broken for seed in range(50)]
    assert sum(b is not None for b in found) <= 2


def test_an_exponent_needs_three_sizes_in_one_round() -> None:
    samples = sized(np.random.default_rng(1), 3, SIZES)
    with pytest.raises(ValueError, match="three sizes"):
        growth(samples[samples["work"] < 500])
    one = growth(samples[(samples["round"] == 0) & (samples["work"] <= 1000)])
    assert math.isinf(one.exponent.high)
    assert one.broken is None


@pytest.mark.parametrize("rounds", [3, 10])
@pytest.mark.parametrize("serial", [0.0, 0.05, 0.3])
def test_serial_fractions_and_speed_ups_are_covered(serial: float, rounds: int) -> None:
    fractions = speed_ups = 0
    for seed in range(TRIES):
        found = strong_scaling(threaded(np.random.default_rng(seed), rounds, serial))
        assert found.serial is not None
        fractions += found.serial.low <= serial <= found.serial.high
        last = found.speed_ups[-1]
        assert last.threads == 8
        assert last.efficiency.value == pytest.approx(last.speed_up.value / 8)
        speed_ups += last.speed_up.low <= 1 / (serial + (1 - serial) / 8) <= last.speed_up.high
    print(f"serial {serial}, {rounds} rounds: {fractions / TRIES:.1%}, speed-up {speed_ups / TRIES:.1%}")
    assert fractions >= LEAST
    assert speed_ups >= LEAST


def test_the_serial_base_may_be_another_port() -> None:
    """A port whose one thread takes half as long as this one's: its speed-ups are half."""
    random = np.random.default_rng(2)
    samples = threaded(random, 10, 0.1)
    base = samples[samples["threads"] == 1].assign(ns_per_unit=lambda s: s["ns_per_unit"] / 2)
    own, other = strong_scaling(samples), strong_scaling(samples, base)
    for mine, theirs in zip(own.speed_ups, other.speed_ups):
        assert theirs.speed_up.value == pytest.approx(mine.speed_up.value / 2)
    assert other.serial is not None
    assert strong_scaling(samples[samples["threads"] == 1]).serial is None


def grown(exponent: float, speed_up: float) -> dict[str, Any]:
    """The published session, as if its first case had been measured in five sizes, and on two threads."""
    document = session.read(ROOT / "results" / "readme.json")
    one = [s for s in document["samples"] if s["case"] == "liquid-500"]
    proof = [c for c in document["certificates"] if c["case"] == "liquid-500"]
    works = {f"N{n}": n for n in (500, 1000, 2000, 4000, 8000)}
    document["cases"] = {name: {"parameters": {}, "work": n} for name, n in works.items()}
    document["threads"] = [1, 2]
    document["ports"] = [{**p, "uses_threads": True} for p in document["ports"]]
    document["certificates"] = [{**c, "case": name, "threads": t} for c in proof for name in works for t in (1, 2)]
    document["samples"] = [
        {**s, "case": name, "threads": t, "nanoseconds": s["nanoseconds"] * (n / 500) ** exponent / speed_up ** (t - 1)}
        for s in one
        for name, n in works.items()
        for t in (1, 2)
    ]
    return document


def test_a_session_is_fitted(tmp_path: Path, portbench) -> None:
    document = grown(1.3, 1.6)
    found = examine(document, list(document["cases"]))
    assert {(s.port, s.threads) for s in found.sizes} >= {("numba", 1), ("numba", 2), ("julia", 1), ("spec", 1)}
    for s in found.sizes:
        assert s.growth.exponent.value == pytest.approx(1.3, abs=0.02)
        assert s.growth.broken is None
    for t in found.threads:
        assert t.scaling.speed_ups[0].speed_up.value == pytest.approx(1.6, rel=0.01)
        assert t.scaling.serial is not None
        assert t.scaling.serial.value == pytest.approx(0.25, abs=0.02)  # 1 / 1.6 = s + (1 - s) / 2
    file = tmp_path / "grown.json"
    file.write_text(json.dumps(document))
    done = portbench("scaling", str(file), "--cases", ",".join(document["cases"]))
    assert done.returncode == 0, done.stderr
    assert "1.300" in done.stdout and "none seen" in done.stdout and "80%" in done.stdout
    said = json.loads(portbench("scaling", str(file), "--json").stdout)
    assert said["sizes"] == []
    assert len(said["threads"]) == 5 * 5


def test_a_port_without_threads_has_no_speed_up() -> None:
    document = grown(1.0, 1.0)
    for port in document["ports"]:
        port["uses_threads"] = port["name"] == "mojo"
    assert {t.port for t in examine(document, []).threads} == {"mojo"}


def test_what_an_interval_does_not_say_is_not_printed() -> None:
    """Nor a serial part that is none."""
    wide, narrow = Estimate(36.8, 0.1, 1500.0), Estimate(1.9, 1.8, 2.0)
    parts = {
        "undecided": Estimate(-0.7, -3.0, 4.0),
        "threads make it slower": Estimate(1.2, 1.1, 1.3),
        "help more than their number": Estimate(-0.2, -0.3, -0.1),
        "0.000  0.000 to 0.020": Estimate(-0.01, -0.04, 0.02),
        "0.050  0.010 to 0.090": Estimate(0.05, 0.01, 0.09),
    }
    threads = [
        Threads("port", f"case {k}", Scaling([SpeedUp(2, speed_up, Estimate(0.5, 0.4, 0.6))], part))
        for k, (part, speed_up) in enumerate((p, wide if k else narrow) for k, p in enumerate(parts.values()))
    ]
    sizes = [Sizes("port", 1, 10, 1000, Growth(Estimate(1.0, -4.0, 6.0), None))]
    console = Console(width=200, file=StringIO(), force_terminal=False)
    print_tables(Found(sizes, threads), console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(words in shown for words in parts)
    assert "36.8" not in shown and "-" not in shown.replace("--budget", "")
    for line in shown.splitlines():
        assert ("1 " in line and "undecided" in line) or "10 to 1,000" not in line


@pytest.mark.parametrize(
    ("cases", "words"), [([], "nothing to fit"), (["liquid-500", "melt-4k"], "needs three"), (["no"], "no case")]
)
def test_what_cannot_be_fitted_is_refused(cases: list[str], words: str) -> None:
    with pytest.raises(Refusal, match=words):
        examine(session.read(ROOT / "results" / "readme.json"), cases)

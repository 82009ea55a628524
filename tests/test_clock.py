"""A port's clock, judged by what its port did in the time that it did not see."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import LONG
from test_misbehaviour import project, wave_on_the_path  # noqa: F401 (a fixture)
from test_scheduler import bench

from portbench.timing import clock
from portbench.timing.clock import Timed
from portbench.timing.scheduler import LEAST_SEEN, LIES

pytestmark = pytest.mark.alone
TRIP = 1e-4


@pytest.mark.parametrize(
    ("timed", "threads", "verdict"),
    [
        (Timed(0.149, 0.150, 0.15), 1, "true"),
        (Timed(0.149, 0.230, 0.15), 1, "held up"),  # the machine was away for 80 ms
        (Timed(0.300, 0.420, 0.15), 1, "held up"),  # and for half of the run
        (Timed(0.037, 0.150, 0.15), 1, "leaves out work"),  # a lie by a factor of four
        (Timed(0.037, 0.150, 0.30), 2, "leaves out work"),
        (Timed(0.149, 0.160, 0.30), 2, "true"),
        (Timed(0.150, 1.150, 1.15), 1, "leaves out work"),  # it compiled
        (Timed(0.160, 0.150, 0.15), 1, "true"),  # a clock of 10 ms ticks
        (Timed(1.000, 0.150, 0.15), 1, "ahead"),
        (Timed(0.020, 0.038, 0.03, runs=100), 1, "true"),  # a hundred short runs, and the round trip of each
        (Timed(0.0, 0.0, 0.0), 1, "true"),
    ],
)
def test_a_clock_is_judged(timed: Timed, threads: int, verdict: str) -> None:
    assert clock.judge(timed, threads, TRIP, LEAST_SEEN) == verdict


def test_the_ticks_of_a_coarse_clock_are_found() -> None:
    draw = random.Random(1)
    runs = [int(1e9 * draw.uniform(0.001, 0.05)) for _ in range(20)]
    for length in (10_000_000, 15_625_000, 1_000_000):
        slewed = [n // length * length + draw.randint(-5, 5) for n in runs if n > length]
        assert clock.tick([0, 0, *slewed]) == pytest.approx(length / 1e9, rel=1e-3)
    assert clock.tick(runs) == 0
    assert clock.tick([5_000_000 << k for k in range(4)]) == 0  # too few
    steady = [(5_000_000 << k) + draw.randint(-20_000, 20_000) for k in range(9)]
    assert clock.tick(steady) == 0
    assert clock.tick([999_999_999_999_999] * 9) == 0  # no clock at all


@LONG
def test_a_coarse_clock_gets_longer_samples_or_a_reason(portbench, tmp_path: Path) -> None:
    project(tmp_path, "has a clock that rounds down", "")
    code, document = bench(portbench, tmp_path, "--budget", "0")
    assert code == 0, document["failures"]
    mine = [s for s in document["samples"] if s["port"] == "has-a-clock-that-rounds-down"]
    assert min(s["nanoseconds"] for s in mine) > 0.2e9  # of 0.03 s
    assert any("ticks every 10 ms" in remark for remark in document["remarks"])
    manifest = tmp_path / "portbench.toml"
    manifest.write_text(manifest.read_text().replace("sample = 0.03", "sample = 0.03\nrun = 20"))
    code, document = bench(portbench, tmp_path, "--budget", "0")
    rows = {row["port"]: row for row in document["rows"]}
    assert code == 1
    assert "a clock that ticks every 10 ms" in rows["has-a-clock-that-rounds-down"]["refusal"]
    assert "wrong" not in rows["has-a-clock-that-rounds-down"]["refusal"]
    assert rows["right"]["time"]["value"] > 0


def test_a_timed_run_is_looked_at_from_load_to_save(portbench, tmp_path: Path) -> None:
    """Its clock is true, and half of the work is done where none looks while it is timed."""
    manifest = project(tmp_path, "makes half of its steps at save when it is timed", "") / "portbench.toml"
    manifest.write_text(manifest.read_text().replace("sample = 0.03", "sample = 0.2"))
    code, document = bench(portbench, tmp_path, "--budget", "0")
    rows = {row["port"]: row for row in document["rows"]}
    assert code == 1
    refusal = rows["makes-half-of-its-steps-at-save-when-it-is-timed"]["refusal"]
    assert "work that belongs to `run` is done in `load` or `save`" in refusal
    assert rows["right"]["time"]["value"] > 0


def longer(folder: Path) -> None:
    """Samples of 0.1 s: processor time is counted in steps of 0.01 s."""
    manifest = folder / "portbench.toml"
    manifest.write_text(manifest.read_text().replace("sample = 0.03", "sample = 0.1"))


def test_a_harness_that_is_held_up_accuses_no_port(tmp_path: Path) -> None:
    """It is stopped again and again, mostly while it waits for a port: each time the reply lies there unread."""
    longer(project(tmp_path, ""))
    command = [sys.executable, "-m", "portbench", "compare", "--budget", "0", "--quiet", "--json"]
    harness = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    ended = threading.Event()

    def hold_up() -> None:
        draw = random.Random(1)
        while not ended.wait(draw.uniform(0.3, 0.6)):
            with suppress(ProcessLookupError):
                os.kill(harness.pid, signal.SIGSTOP)
                time.sleep(0.15)
                os.kill(harness.pid, signal.SIGCONT)

    other = threading.Thread(target=hold_up)
    other.start()
    try:
        said, complaints = harness.communicate(timeout=200)
    finally:
        ended.set()
        other.join()
    assert harness.returncode == 0, complaints
    rows = {row["port"]: row for row in json.loads(said)["rows"]}
    assert rows["right"]["time"] and rows["spec"]["time"]
    assert any("made again" in remark for remark in json.loads(said)["remarks"])


@LONG
def test_a_port_that_compiles_for_each_number_of_steps_keeps_its_figure(portbench, tmp_path: Path) -> None:
    """Its clock leaves that out, as it may; and its samples are as long as those of others all the same."""
    project(tmp_path, "compiles for each number of steps", "")
    code, document = bench(portbench, tmp_path, "--budget", "0")
    assert code == 0, document["failures"]
    mine = [s for s in document["samples"] if s["port"].startswith("compiles")]
    assert len(mine) >= 9
    assert min(s["nanoseconds"] for s in mine) > 0.01e9  # of 0.03 s


def test_a_clock_that_lies_in_every_third_sample_is_found_out(portbench, tmp_path: Path) -> None:
    longer(project(tmp_path, "lies in every third long run", ""))
    code, document = bench(portbench, tmp_path, "--budget", "0")
    rows = {row["port"]: row for row in document["rows"]}
    assert code == 1
    assert "its clock is wrong" in rows["lies-in-every-third-long-run"]["refusal"]
    assert rows["right"]["time"]["value"] > 0
    assert sum(d["why"] == "leaves out work" for d in document["disturbed"]) >= LIES  # not by one sample alone

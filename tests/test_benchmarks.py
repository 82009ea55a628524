"""tests/benchmarks runs where pytest-benchmark is, tells seconds per step, and times nothing that does not agree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, WAVE
from test_misbehaviour import project

pytestmark = pytest.mark.alone


def benchmarks(manifest: Path, output: Path, *more: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pytest", str(ROOT / "tests/benchmarks"), f"--benchmark-json={output}", *more]
    environment = {**os.environ, "PORTBENCH_MANIFEST": str(manifest), "PYTHONPATH": str(WAVE)}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=200)


def test_each_port_on_each_case_by_its_own_clock(tmp_path: Path) -> None:
    done = benchmarks(WAVE / "portbench.toml", tmp_path / "found.json")
    assert done.returncode == 0, done.stdout
    found = {b["extra_info"]["port"]: b for b in json.loads((tmp_path / "found.json").read_text())["benchmarks"]}
    assert set(found) == {"vectorised", "c"}
    for one in found.values():
        assert one["extra_info"]["level"] == "A5"
        assert one["stats"]["rounds"] == 20
        # a step takes some microseconds; a sample of many of them, a tenth of a second
        assert 1e-7 < one["stats"]["median"] < 1e-3
        assert 0.03 < one["stats"]["median"] * one["extra_info"]["steps"] < 0.4
    assert found["c"]["stats"]["median"] < found["vectorised"]["stats"]["median"]


def test_what_the_readme_says_of_portbenchs_own_cost() -> None:
    rows = {r["port"]: r for r in json.loads((ROOT / "results" / "own-cost.json").read_text())["rows"]}
    readme = " ".join((ROOT / "README.md").read_text().split())
    mojo, numba = (rows[name] for name in ("mojo", "numba"))
    said = " and ".join(f"{r['reported_over_alone']['value']:.3f}" for r in (mojo, numba))
    assert f"of Mojo and Numba is {said} times" in readme
    for row in (mojo, numba):
        assert row["round_trip_microseconds"]["50"] < 100
        assert 0.98 < row["reported_over_alone"]["low"] < row["reported_over_alone"]["high"] < 1.02
        assert 0.998 < row["watched_over_unwatched"]["low"] < row["watched_over_unwatched"]["high"] < 1.002


def test_a_wrong_port_has_no_speed(tmp_path: Path) -> None:
    project(tmp_path, "does nothing")
    done = benchmarks(tmp_path / "portbench.toml", tmp_path / "found.json")
    assert done.returncode == 1
    assert "AssertionError: " in done.stdout
    assert not (tmp_path / "found.json").exists() or "benchmarks" not in (tmp_path / "found.json").read_text()


def test_what_the_readme_says_of_the_measuring_is_in_results() -> None:
    """The false alarms and planted slowdowns of `portbench selfcheck`, which must be as few and as many as promised."""
    document = json.loads((ROOT / "results" / "selfcheck.json").read_text())
    none, one, two, five = document["rates"]
    assert len(document["tries"]) == none["tries"] == 200
    assert [r["planted"] for r in document["rates"]] == [0.0, 0.01, 0.02, 0.05]
    assert none["rate"] <= 0.05
    assert two["rate"] >= 0.8
    assert five["rate"] >= 0.95
    readme = " ".join((ROOT / "README.md").read_text().split())

    def percent(share: float) -> str:
        return f"{100 * share:.1f} %"

    assert f"in {percent(none['rate'])} of 200 tries" in readme
    assert f"(95 % interval {percent(none['low'])} to {percent(none['high'])})" in readme
    for rate in (five, two, one):
        assert f"{100 * rate['planted']:.0f} % in {percent(rate['rate'])}" in readme

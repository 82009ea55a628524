"""tests/benchmarks runs where pytest-benchmark is, tells seconds per step, and times nothing that does not agree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT, WAVE
from test_misbehaviour import project


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


def test_a_wrong_port_has_no_speed(tmp_path: Path) -> None:
    project(tmp_path, "does nothing")
    done = benchmarks(tmp_path / "portbench.toml", tmp_path / "found.json")
    assert done.returncode == 1
    assert "AssertionError: " in done.stdout
    assert not (tmp_path / "found.json").exists() or "benchmarks" not in (tmp_path / "found.json").read_text()

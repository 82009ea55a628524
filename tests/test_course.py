"""Samples are of the steps that a user's run has; where these change along the run, that is said and drawn."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import LONG, WAVE
from test_misbehaviour import project, wave_on_the_path  # noqa: F401 (a fixture)

from portbench import manifest, session
from portbench.errors import Refusal
from portbench.report.remarks import along_the_run
from portbench.timing.scheduler import AGAIN, _pieces, _Runner

pytestmark = pytest.mark.alone

# Points are moved one by one for as long as they are above a level: later in the run few are.
COOLING = """
import numpy as np
NAME = "cooling points"
STATE = {"u": {"shape": ("n",), "scale": 1.0}}
DERIVED = {"heat": {"shape": ()}}
WORK = ("n",)
CASES = {"points": {}}
def parameters(): return {"n": 200, "rate": 0.005, "level": 0.3}
def check_state(parameters, state): pass
def initial_state(parameters): return {"u": np.random.default_rng(1).uniform(0.5, 1, parameters["n"])}
def advance(parameters, state, steps, add=np.sum):
    u = state["u"].copy()
    for _ in range(steps):
        for i in np.flatnonzero(u > parameters["level"]):
            u[i] *= 1 - parameters["rate"]
    return {"u": u}
def observe(parameters, state, add=np.sum): return {"heat": np.array(add(state["u"], axis=0))}
"""
PORT = """
import cooling
def load(parameters, state): return {"p": parameters, "s": {"u": state["u"].copy()}}
def run(sim, steps): sim["s"] = cooling.advance(sim["p"], sim["s"], steps)
def state(sim): return sim["s"] | cooling.observe(sim["p"], sim["s"])
"""


def cooling(folder: Path, run: str = "") -> Path:
    (folder / "cooling.py").write_text(COOLING)
    (folder / "right.py").write_text(PORT)
    (folder / "portbench.toml").write_text(
        f"""
[project]
name = "cooling"
spec = "cooling"
[check]
steps = {{ default = 20 }}
long = {{ default = 0 }}
[compare]
sample = 0.1
{run}
[ports.right]
host = "python"
module = "right"
sources = ["right.py"]
threads = false
"""
    )
    return folder


def test_a_step_that_changes_along_the_run_is_said_and_drawn(portbench, tmp_path: Path) -> None:
    """Nothing is left to do after about 250 steps, and 0.1 s hold thousands."""
    cooling(tmp_path)
    done = portbench("compare", "--budget", "0", "--quiet", "--json")
    assert done.returncode == 0, done.stderr
    (said,) = (r for r in json.loads(done.stdout)["remarks"] if r.startswith("right on points: the time of a step"))
    assert re.search("█[▁▂]", said)
    assert "set [compare] run in the manifest" in said


def test_every_port_is_timed_over_the_run_that_the_manifest_names(portbench, tmp_path: Path) -> None:
    """From the same start, again and again: the port is the specification, and as fast."""
    cooling(tmp_path, "run = { default = 20 }")
    done = portbench("compare", "--budget", "0", "--quiet", "--json")
    assert done.returncode == 0, done.stderr
    document = session.read(tmp_path / json.loads(done.stdout)["session"])
    assert document["cases"]["points"]["run"] == 20
    assert all(s["steps"] == 20 * s["runs"] for s in document["samples"])
    assert max(s["runs"] for s in document["samples"]) > 1
    rows = {r["port"]: r for r in json.loads(done.stdout)["rows"]}
    assert 0.4 < rows["right"]["over_spec"]["value"] < 2.5
    # each sample ends where its 20 steps end, however many runs are in it
    of_round = {m["round"]: m["final_state"] for m in document["memory"] if m["port"] == "right"}
    for m in document["memory"]:
        assert m["final_state"] == of_round[m["round"]]
    # a session of another length cannot be resumed, nor compared with this one
    other = json.loads(json.dumps(document))
    other["cases"]["points"]["run"] = 40
    (tmp_path / "other.json").write_text(json.dumps(other))
    done = portbench("compare-sessions", str(tmp_path / "other.json"), json.loads(done.stdout)["session"])
    assert done.returncode == 2


def test_how_long_a_run_is(tmp_path: Path) -> None:
    for run, expected in (
        ("", None),
        ("run = 200", 200),
        ("run = { points = 5, default = 7 }", 5),
        ("run = { other = 5, default = 7 }", 7),
        ("run = { other = 5 }", None),
    ):
        compare = manifest.read(cooling(tmp_path, run) / "portbench.toml").compare
        assert compare.run_of("points") == compare.run_of("points#3") == expected
    for wrong in ("run = 0", "run = { points = -1 }", 'run = "long"', "run = 1.5"):
        with pytest.raises(Refusal, match="run"):
            manifest.read(cooling(tmp_path, wrong) / "portbench.toml")


@LONG
def test_all_samples_of_a_round_are_of_the_same_steps(portbench, tmp_path: Path) -> None:
    """Without [compare] run too: the state after the last one is that of so many steps from the round's start."""
    project(tmp_path, "")
    done = portbench("bench", "--budget", "0", "--quiet", "--json")
    document = session.read(tmp_path / json.loads(done.stdout)["session"])
    for n in range(3):
        for port in ("spec", "right"):
            mine = [s for s in document["samples"] if (s["round"], s["port"]) == (n, port)]
            assert len({s["steps"] for s in mine}) == 1
            assert {s["runs"] for s in mine} == {1}


@pytest.mark.parametrize("steps", [1, 31, 63, 64, 95, 96, 127, 1000, 94_625])
def test_pieces_double_the_run(steps: int) -> None:
    pieces = _pieces(steps, 32)
    assert sum(pieces) == steps
    assert len(pieces) == 1 or min(pieces) >= 32
    ends = np.cumsum(pieces)
    assert all(b <= 3 * a for a, b in itertools.pairwise(ends))
    assert len(pieces) < 2 or pieces[-1] >= ends[-2] / 2


def courses(first: float, last: float, others: float = 0.0, noise: float = 0.02) -> dict[str, Any]:
    """Three rounds of a port whose step takes `first` ns at the beginning of the run, and `last` at its end."""
    draw = np.random.default_rng(1)
    steps, names = [100, 100, 200], ("port", "port" + AGAIN)
    where = [{"port": p, "case": "a case", "threads": 1, "round": n} for n in range(3) for p in names]
    times = np.array([first, (first + last) / 2, last])
    return {
        "cases": {"a case": {"work": 1}},
        "courses": [
            {**w, "steps": steps, "nanoseconds": list(steps * times * np.exp(noise * draw.standard_normal(3)))}
            for w in where
        ],
        "samples": [{**w, "steps": 400, "runs": 1, "nanoseconds": 400 * last, "others": others} for w in where],
        "measured": [],
        "rounds": [{}] * 3,
    }


def test_only_a_change_for_which_there_is_evidence_is_said() -> None:
    (said,) = along_the_run(courses(2000, 1000, noise=1e-6))
    assert "from 2 µs in the first 100 of 400 steps to 1 µs in the last 200" in said
    assert len(along_the_run(courses(1000, 2000))) == 1
    assert not along_the_run(courses(1100, 1000))  # too little
    assert not along_the_run(courses(1500, 1000, noise=1.0))  # too noisy
    # others who work hold up long pieces more often than short ones
    assert not along_the_run(courses(1000, 2000, others=1.0))
    assert len(along_the_run(courses(2000, 1000, others=1.0))) == 1


def test_the_bundled_manifests_say_no_run() -> None:
    assert manifest.read(WAVE / "portbench.toml").compare.run_of("short") is None


def test_a_run_that_becomes_slow_is_cut_short() -> None:
    """Steps a hundred times as slow as those of the warm-up must not be waited for to the end."""
    runner = _Runner.__new__(_Runner)
    runner.repeats, runner.sample_seconds = False, 0.01
    runner.run = lambda steps: steps * 1_000_000
    assert runner._pieces_of([8, 8, 16, 32, 64]) == [8_000_000, 8_000_000, 16_000_000]
    runner.repeats = True  # what the manifest asks for is made
    assert len(runner._pieces_of([8, 8, 16, 32, 64])) == 5

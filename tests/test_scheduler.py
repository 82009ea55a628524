"""What is measured when, under which conditions, and that nothing of it is lost."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import LONG, WAVE
from test_misbehaviour import project, wave_on_the_path  # noqa: F401 (a fixture)

from portbench import contract, manifest, session
from portbench.agreement import twins
from portbench.agreement.twins import Twin, precision_class
from portbench.errors import Refusal
from portbench.report.remarks import beside_itself
from portbench.timing import conditions
from portbench.timing.scheduler import AGAIN, LEAST_ROUNDS, start_of_round

pytestmark = pytest.mark.alone
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps processes on processors")


def bench(portbench, folder: Path, *options: str) -> tuple[int, dict]:
    """Exit status, and what was printed together with the session's document."""
    done = portbench("bench", "--quiet", "--json", *options, timeout=200)
    assert done.stdout, done.stderr
    said = json.loads(done.stdout)
    return done.returncode, {**said, **session.read(folder / said["session"])}


@pytest.fixture
def right(tmp_path: Path) -> Path:
    return project(tmp_path, "")


def test_measuring_stops_when_all_ratios_are_narrow(portbench, right: Path) -> None:
    _, document = bench(portbench, right, "--budget", "100", "--precision", "90%")
    (measured,) = document["measured"]
    assert measured["rounds"] == LEAST_ROUNDS
    assert measured["undecided"] == []
    assert measured["stopped_early"]
    assert measured["seconds"] < 60
    # the port that runs beside itself, every round from another start, and what the machine did
    frame = session.samples(document)
    assert set(frame["port"]) == {"spec", "right", "right again"}
    ends = [m["final_state"] for m in document["memory"] if m["port"] == "right"]
    assert len(set(ends)) == LEAST_ROUNDS
    assert all(ends)
    assert len(document["conditions"]) == len(document["rounds"]) == LEAST_ROUNDS
    assert all(s["others"] >= 0 and 0 <= s["stolen"] < 1 for s in document["samples"])
    assert 0.3 < np.median([s["cpu"] for s in document["samples"]]) < 1.2  # others may work too
    assert any("right beside itself on short" in r for r in document["remarks"])
    # and the runs of each warm-up, by which it is classified
    assert len(document["series"]) == LEAST_ROUNDS * 3
    kinds = {r["warm_up"] for r in document["rows"]}
    assert kinds <= {"flat", "warm-up", "slowdown", "no steady state", "inconsistent", ""}
    assert kinds != {""} or max(s["others"] for s in document["samples"]) > 0.25  # which leaves too few runs to tell


@LONG
def test_what_stayed_undecided_is_said(portbench, right: Path) -> None:
    _, document = bench(portbench, right, "--budget", "0", "--precision", "0.0001%")
    (measured,) = document["measured"]
    assert measured["rounds"] == LEAST_ROUNDS
    assert not measured["stopped_early"]
    assert [(u["port"], u["base"]) for u in measured["undecided"]] == [("right", "spec")]
    assert any("1 ratio was not known to ±0.0001%" in r for r in document["remarks"])


def test_a_budget_that_is_used_ends_after_the_round(portbench, right: Path) -> None:
    """And it is said that there were too few for intervals."""
    done = portbench("bench", "--quiet", "--budget", "0.1")
    assert done.returncode == 0, done.stderr
    assert "The budget of 0.1 s had no room for 3 rounds" in done.stdout
    assert "±?" in done.stdout and "inf" not in done.stdout
    (file,) = (right / "results").glob("*.json")
    document = session.read(file)
    assert len(document["rounds"]) == document["measured"][0]["rounds"] == 1
    assert not document["measured"][0]["stopped_early"]
    assert [(u["port"], u["known"]) for u in document["measured"][0]["undecided"]] == [("right", None)]


@LONG
def test_samples_last_as_long_as_is_asked(portbench, right: Path) -> None:
    _, document = bench(portbench, right, "--budget", "0", "--sample", "0.5")
    assert document["plan"]["sample"] == 0.5
    lasted = [s["nanoseconds"] * 1e-9 for s in document["samples"] if s["port"] == "right"]
    assert 0.3 < np.median(lasted) < 1
    for wrong in ("0", "nan"):
        assert portbench("bench", "--sample", wrong).returncode == 2


@pytest.mark.parametrize("wrong", ["0", "two", "150%", "-1%"])
def test_a_precision_that_is_none_is_refused(portbench, right: Path, wrong: str) -> None:
    done = portbench("bench", "--precision", wrong)
    assert done.returncode == 2
    assert "must be between 0 and 1" in done.stderr


def test_a_killed_session_goes_on_where_it_was(right: Path) -> None:
    """Killed at random moments, again and again (50 times in tests/benchmarks/killed_and_resumed.py)."""
    kill_and_resume(right, 4, random.Random(1))


def kill_and_resume(folder: Path, times: int, draw: random.Random) -> None:
    """Each sample that was on disk at any kill is in the document in the end."""
    command = [sys.executable, "-m", "portbench", "bench", "--quiet", "--json", "--precision", "0.0001%"]
    environment = {**os.environ, "PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}{os.pathsep}{WAVE}"}
    kept: list[dict] = []
    journal: Path | None = None
    for left in reversed(range(times)):
        more = ["--resume", str(journal), "--budget", "1000"] if journal else ["--budget", "1000"]
        harness = subprocess.Popen([*command, *more], cwd=folder, env=environment, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not (found := list((folder / "results").glob("*.jsonl"))) and time.monotonic() < deadline:
            time.sleep(0.02)
        while not left and not session.read_journal(found[0])["samples"] and time.monotonic() < deadline:
            time.sleep(0.02)  # the last try must have something to lose
        time.sleep(draw.uniform(0, 6))
        harness.kill()
        harness.wait()
        (journal,) = found
        now = session.read_journal(journal)["samples"]
        assert now[: len(kept)] == kept
        kept = now
    done = subprocess.run(
        [*command, "--resume", str(journal), "--budget", "0"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    document = session.read(folder / json.loads(done.stdout)["session"])
    assert document["samples"][: len(kept)] == kept
    assert kept, "no try came so far as a sample"
    assert len({(s["port"], s["case"], s["round"], s["turn"]) for s in document["samples"]}) == len(document["samples"])
    assert not list((folder / "results").glob("*.jsonl"))


def test_only_what_was_stopped_can_be_resumed(portbench, right: Path) -> None:
    _, document = bench(portbench, right, "--budget", "0")
    done = portbench("bench", "--resume", document["session"])
    assert done.returncode == 2
    assert "only a session that was stopped" in done.stderr
    journal = right / "results" / "begun.jsonl"
    header = {k: document[k] for k in document if k not in session.KINDS.values()}
    spec, other = document["ports"]
    records = [{"kind": "header", **header}]
    records += [{"kind": "port", **p} for p in (spec, {**other, "sources_hash": "another"})]
    journal.write_text("".join(json.dumps(r) + "\n" for r in records))
    done = portbench("bench", "--resume", str(journal))
    assert done.returncode == 2
    assert f"The right changed since {journal} began" in done.stderr
    assert portbench("bench", "--resume", str(journal), "--ports", "right").returncode == 2


@linux
def test_a_port_that_leaves_its_processors_gets_no_figure(portbench, tmp_path: Path) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("there is one processor only: nowhere to go")
    project(tmp_path, "leaves its processors", "")
    code, document = bench(portbench, tmp_path, "--budget", "0")
    rows = {row["port"]: row for row in document["rows"]}
    assert code == 1
    assert "must leave its affinity as it is" in rows["leaves-its-processors"]["refusal"]
    assert rows["right"]["time"]["value"] > 0


def test_a_long_run_that_makes_fewer_steps_gets_no_figure(portbench, tmp_path: Path) -> None:
    """It ends in a right state, of another time than it says: no check goes so far, for short runs are right."""
    modes = {
        "makes 1500 steps at most": "in one run, and",
        "counts steps in eleven bits": "in one run, and",
        "makes no long run": "are over in",
    }
    folder = project(tmp_path, *modes, "")
    text = (folder / "portbench.toml").read_text().replace("sample = 0.03", "sample = 0.2")
    (folder / "portbench.toml").write_text(text)
    code, document = bench(portbench, tmp_path, "--budget", "0")
    rows = {row["port"]: row for row in document["rows"]}
    assert code == 1
    for mode, words in modes.items():
        row = rows[mode.replace(" ", "-")]
        assert row["level"] == "A5" and row["time"] is None
        assert words in row["refusal"] and row["refusal"].endswith("a long run does not make all of its steps")
    assert rows["right"]["time"]["value"] > 0


@linux
def test_others_that_work_meanwhile_are_remarked(portbench, right: Path) -> None:
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        _, document = bench(portbench, right, "--budget", "0")
    finally:
        for one in busy:
            one.kill()
            one.wait()
    assert any(r.startswith("Conditions were bad: other programs kept") for r in document["remarks"])


@linux
def test_processors_are_alike_and_as_many_as_threads() -> None:
    here = sorted(os.sched_getaffinity(0))
    for threads in range(1, len(here) + 1):
        given = conditions.processors(threads)
        assert len(given) == threads
        assert set(given) <= set(here)
    assert sorted(conditions.processors(10_000)) == here


def test_starts_differ_from_round_to_round_and_are_legal() -> None:
    found = manifest.read(WAVE / "portbench.toml")
    specification = contract.load(found)
    (case,) = specification.cases(["short"], {})
    right = specification.initial_state(case.parameters)
    starts = [start_of_round(specification, case, f"short {n}") for n in (1, 1, 2)]
    for name, a in right.items():
        assert np.array_equal(starts[0][name], starts[1][name])
        assert np.allclose(starts[0][name], a, rtol=1e-5, atol=0)
    assert any(not np.array_equal(starts[0][name], starts[2][name]) for name in right)


def rocks(**more) -> contract.Specification:
    """A specification with a map of zeros and ones, and a field whose numbers happen to be whole."""
    module = ModuleType("rocks")
    fields = {"u": {"shape": ("n",)}, "kind": {"shape": ("n",)}, "level": {"shape": ("n",), "continuous": True}}
    start = {"u": np.array([0.5, 1.0, 2.0]), "kind": np.array([0.0, 1.0, 1.0]), "level": np.array([1.0, 2.0, 3.0])}
    names = {
        "__file__": "rocks.py",
        "NAME": "rocks",
        "STATE": fields,
        "DERIVED": {},
        "WORK": ("n",),
        "CASES": {"small": {}},
    }
    functions = {
        "parameters": lambda: {"n": 3},
        "check_state": lambda parameters, state: None,
        "initial_state": lambda parameters: {name: a.copy() for name, a in start.items()},
        "advance": None,
        "observe": None,
    }
    vars(module).update({**names, **functions, **more})
    return contract.Specification(module)


def test_a_map_of_zeros_and_ones_is_the_same_in_every_round() -> None:
    """A one that became 0.9999997 is none, and what is timed is a problem in which nothing happens."""
    specification = rocks()
    (case,) = specification.cases(["small"], {})
    right, moved = specification.initial_state(case.parameters), start_of_round(specification, case, "small 1")
    assert np.array_equal(moved["kind"], right["kind"])
    for name in ("u", "level"):
        assert not np.array_equal(moved[name], right[name])
        assert np.allclose(moved[name], right[name], rtol=1e-5, atol=0)


@pytest.mark.parametrize("twin", [Twin("", ulp=True), Twin("", ulp=True, precision=precision_class("epsilon 1e-9"))])
def test_nor_does_a_twin_move_it(twin: Twin) -> None:
    specification = rocks()
    (case,) = specification.cases(["small"], {})
    right = specification.initial_state(case.parameters)
    moved, _ = twins.start(specification, case.parameters, right, twin)
    assert np.array_equal(moved["kind"], right["kind"])
    assert all(np.all(moved[name] != right[name]) for name in ("u", "level"))


def test_a_specification_says_what_is_near() -> None:
    def shuffled(parameters, state, random):
        return {name: random.permutation(a) if name == "kind" else a for name, a in state.items()}

    specification = rocks(nearby=shuffled)
    (case,) = specification.cases(["small"], {})
    starts = [start_of_round(specification, case, f"small {n}") for n in range(20)]
    assert len({tuple(s["kind"]) for s in starts}) == 3
    assert all(np.array_equal(s["u"], starts[0]["u"]) for s in starts)
    for wrong, words in (({"u": np.zeros(3)}, "gives no kind, level: it gives u"), (None, "nearby")):
        short = rocks(nearby=lambda parameters, state, random, wrong=wrong: wrong)
        with pytest.raises(Refusal, match=words):
            start_of_round(short, case, "small 1")


def test_a_false_alarm_is_loud() -> None:
    """Two names of one port, once without a difference and once with one."""
    for factor, words in ((1.0, "no difference, as it should be"), (1.1, "a FALSE ALARM")):
        document = simulated(factor)
        (said,) = beside_itself(document)
        assert said.startswith("numpy beside itself on a case")
        assert words in said


def simulated(factor: float, rounds: int = 8) -> dict:
    draw = np.random.default_rng(1)
    levels = {"numpy": 1e6, "numpy" + AGAIN: 1e6 * factor}
    samples = [
        {
            "port": port,
            "case": "a case",
            "threads": 1,
            "round": n,
            "turn": 0,
            "steps": 1,
            "nanoseconds": level * np.exp(0.01 * draw.standard_normal()),
            "round_trip": 0,
        }
        for n in range(rounds)
        for port, level in levels.items()
    ]
    return {"samples": samples, "cases": {"a case": {"work": 1}}, "measured": [], "rounds": []}

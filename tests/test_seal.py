"""What is timed is what was proved: a port that goes wrong late in the timed run has no figure."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_histories import project, running

from portbench import session
from portbench.report import summary
from portbench.timing import seal
from portbench.timing.seal import Seal

STEPS = 2200  # the faults come after 2100 steps, and no check goes so far
EARLY = 1000
# A port's fault -> what is said of it.
LATE = {
    "goes wrong late": rf"[uv]\[\d+\] after 1 step from the state after {STEPS} timed steps is .* and should be",
    "saves a force of long ago": rf"force\[\d+\] of the state after {STEPS} timed steps is .* and should be",
}


# ---------------------------------------------------------------- one state that is judged


def judged(folder: Path, fault: str, steps: int, thorough: bool, case: str = "long") -> Seal:
    """The seal of a run of so many steps of a case: a long one has more points than are judged whole in each round."""
    with running(folder, fault) as (x, judge):
        ready = SimpleNamespace(port=SimpleNamespace(precision="float64"), manifest=SimpleNamespace(path=judge.path))
        (asked,) = judge.specification.cases([case], {})
        start = judge.specification.initial_state(asked.parameters)
        x.load(asked.parameters, start)
        x.port.run(steps)
        return seal.judge(ready, x, asked, start, steps, thorough, np.random.default_rng(4))  # type: ignore[arg-type]


@pytest.mark.parametrize("thorough", [False, True])
@pytest.mark.parametrize("fault", LATE)
def test_a_part_of_a_state_is_enough_to_see_it(fault: str, thorough: bool, tmp_path: Path) -> None:
    found = judged(tmp_path, fault, STEPS, thorough)
    assert not found.passed and found.ratio > 100
    assert (found.whole, found.steps) == (thorough, STEPS)
    assert re.match(LATE[fault], found.sentence), found.sentence


@pytest.mark.parametrize("fault", LATE)
def test_what_is_right_so_far_is_sealed(fault: str, tmp_path: Path) -> None:
    """The same ports, in a run that ends before they go wrong."""
    found = judged(tmp_path, fault, EARLY, thorough=True)
    assert found.passed and found.ratio < 0.7 and not found.sentence


@pytest.mark.parametrize(("case", "thorough", "whole"), [("short", False, True), ("long", False, False)])
def test_a_right_port_is_sealed_whole_or_in_part(case: str, thorough: bool, whole: bool, tmp_path: Path) -> None:
    found = judged(tmp_path, "", STEPS, thorough, case)
    assert found == Seal(True, found.ratio, "", STEPS, whole, found.seconds)
    assert found.ratio < 0.7 and found.seconds > 0


def test_a_sum_over_the_whole_is_judged_where_the_whole_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No part of a state has its energy; and what was judged is said in the record."""
    fault = "saves a wrong energy late"
    found = judged(tmp_path, fault, STEPS, thorough=True)
    assert not found.passed and found.whole
    assert found.sentence.startswith(f"energy[] of the state after {STEPS} timed steps is ")
    of_a_part = judged(tmp_path, fault, STEPS, thorough=False)
    assert of_a_part.passed and not of_a_part.whole
    monkeypatch.setattr(seal, "MOST_WHOLE", 1999)  # of its 2000 points
    too_large = judged(tmp_path, fault, STEPS, thorough=True)
    assert too_large.passed and not too_large.whole


@pytest.mark.parametrize("case", ["short", "long"])
def test_what_is_conserved_is_so_over_the_timed_run(
    case: str, tmp_path: Path, ring: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port that once on the way loses some speed: the state that it ends in, and the step from there, are right."""
    assert judged(tmp_path, "loses speed once", STEPS, True, case).passed
    monkeypatch.setattr(ring, "conserved", lambda parameters, fields: {"energy": fields["energy"]}, raising=False)
    found = judged(tmp_path, "loses speed once", STEPS, True, case)
    assert not found.passed and found.ratio > 1
    assert found.sentence.startswith("the energy changed by "), found.sentence
    assert judged(tmp_path, "loses speed once", EARLY, True, case).ratio < 0.7
    assert judged(tmp_path, "", STEPS, True, case).ratio < 0.7


def test_without_parts_all_is_judged(tmp_path: Path, ring: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ring, "part")
    found = judged(tmp_path, "saves a wrong energy late", STEPS, thorough=False)
    assert not found.passed and found.whole


# ---------------------------------------------------------------- a session


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Any]]:
    """The command, as a person runs it, and its session."""
    folder = tmp_path_factory.mktemp("ring")
    project(folder, "", *LATE, more=f"[compare]\nrun = {{ default = {STEPS} }}\nsample = 0.05")
    command = [sys.executable, "-m", "portbench", "compare", "--budget", "1", "--json", "--quiet"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=dict(os.environ))
    (file,) = (folder / "results").iterdir()
    return done, session.read(file)


def test_a_port_that_goes_wrong_while_it_is_timed_has_no_figure(compared: tuple[Any, dict[str, Any]]) -> None:
    done, document = compared
    assert done.returncode == 1, done.stderr
    assert all(c["holds"] for c in document["certificates"]) and len(document["certificates"]) == 3
    rows = {row["port"]: row for row in json.loads(done.stdout)["rows"]}
    for fault, words in LATE.items():
        name = fault.replace(" ", "-")
        row = rows[name]
        assert row["time"] is row["over_spec"] is row["over_baseline"] is None
        said = f"{name} went wrong while it was timed, and no figure stands: "
        assert row["refusal"].startswith(said)
        assert re.match(words, row["refusal"].removeprefix(said)), row["refusal"]
        assert [s["passed"] for s in document["seals"] if s["port"] == name] == [False]
    assert rows["right"]["time"]["value"] > 0 and not rows["right"]["refusal"]
    (sealed,) = (s for s in document["seals"] if s["port"] == "right")
    assert sealed["passed"] and sealed["whole"] and sealed["steps"] == STEPS


def test_a_session_that_ended_before_its_seals_has_no_figure(
    compared: tuple[Any, dict[str, Any]], tmp_path: Path
) -> None:
    """Its journal holds samples, and nothing that says that they are of the right motion."""
    document = compared[1]
    kinds = {kind: name for kind, name in session.KINDS.items() if kind not in ("seal", "failure", "measured")}
    lists = session.KINDS.values()
    records = [{"kind": "header", **{k: v for k, v in document.items() if k not in lists}}]
    records += [{"kind": kind, **record} for kind, name in kinds.items() for record in document[name]]
    journal = tmp_path / "killed.jsonl"
    journal.write_text("".join(json.dumps(record) + "\n" for record in records))
    rows = {row.port: row for row in summary.rows(session.read(journal))}
    assert len(rows) == 4
    assert rows["spec"].time
    for name in rows.keys() - {"spec"}:
        assert rows[name].time is None
        assert rows[name].refusal == "the session ended before the run that was timed could be checked"


def test_one_seal_stands_for_one_port_alone(compared: tuple[Any, dict[str, Any]]) -> None:
    document = compared[1] | {"failures": []}
    rows = {row.port: row for row in summary.rows(document)}
    assert rows["right"].time
    assert all(not rows[fault.replace(" ", "-")].time for fault in LATE), "their own seals did not pass"


def test_samples_of_a_round_that_was_never_sealed_are_in_no_figure(compared: tuple[Any, dict[str, Any]]) -> None:
    """A session that was killed in its second round: that the first one is sealed says nothing of the second."""
    document = compared[1]
    second = [s | {"round": 1, "nanoseconds": 3 * s["nanoseconds"]} for s in document["samples"]]
    killed = document | {"samples": document["samples"] + second}
    before, after = ({row.port: row for row in summary.rows(d)} for d in (document, killed))
    assert before["right"].time and after["right"].time == before["right"].time


def test_a_session_of_an_earlier_portbench_was_never_asked_for_seals(
    compared: tuple[Any, dict[str, Any]], tmp_path: Path
) -> None:
    """It can still be read."""
    document = {name: value for name, value in compared[1].items() if name not in ("sealed", "seals")}
    (tmp_path / "old.json").write_text(json.dumps(document | {"failures": []}))
    assert all(row.time for row in summary.rows(session.read(tmp_path / "old.json")))

"""What a run claims to take is what so many steps take from load to saved state."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from test_histories import running

from portbench.agreement import endtoend
from portbench.agreement.levels import Verdict

pytestmark = pytest.mark.alone
EARLY = "it replies to `run` before the steps are done"
ELSEWHERE = "work that belongs to `run` is done in `load` or `save`, or its clock is slow or stands still meanwhile"


def end_to_end(folder: Path, fault: str) -> Verdict:
    """A step of these ports lasts 50 µs. Where the machine was away no one is accused: so it is asked again."""
    with running(folder, fault) as (x, judge):
        (case,) = judge.specification.cases(["short"], {})
        start = SimpleNamespace(parameters=case.parameters, state=judge.specification.initial_state(case.parameters))
        for _ in range(3):
            found = endtoend.a0_end_to_end(x, SimpleNamespace(free_run=start))  # type: ignore[arg-type]
            if not found.passed:
                break
    assert found.level == "A0"
    return found


def test_a_port_that_works_in_its_runs_passes(tmp_path: Path) -> None:
    found = end_to_end(tmp_path, "lasts")
    assert found.passed, found.finding


@pytest.mark.parametrize(
    ("fault", "words"),
    [("works at save", EARLY), ("does not wait for its work", EARLY), ("stops its clock", ELSEWHERE)],
)
def test_work_that_no_run_claims_is_found(fault: str, words: str, tmp_path: Path) -> None:
    found = end_to_end(tmp_path, fault)
    assert not found.passed
    assert words in found.finding


def test_steps_that_were_made_at_load_are_found(tmp_path: Path) -> None:
    found = end_to_end(tmp_path, "works at load")
    assert not found.passed
    assert "steps are made in `load` that belong to `run`" in found.finding


def test_no_millions_of_steps_are_asked_of_answers_that_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first run of so many steps takes seconds, and each one after it nothing."""
    asked: list[int] = []

    def cycle(_: object, __: object, steps: int) -> endtoend.Cycle:
        whole = 0.0001 * steps if steps >= 1 << 15 and steps not in asked else 0.001
        asked.append(steps)
        return endtoend.Cycle(steps, 0.0005, whole, whole, whole)

    monkeypatch.setattr(endtoend, "_cycle", cycle)
    assert endtoend.a0_end_to_end(None, None).passed  # type: ignore[arg-type]
    assert max(asked) == 1 << 15

"""The measuring engine's measurement of itself: planted differences are planted, and counted rightly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_misbehaviour import project, wave_on_the_path  # noqa: F401 (a fixture)

from portbench import contract, hosts, manifest
from portbench.timing import selfcheck
from portbench.timing.scheduler import Plan


def test_a_large_slowdown_is_always_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By half, in the stream of a port that knows nothing of it."""
    monkeypatch.setattr(selfcheck, "PLANTED", (0.5,))
    found = manifest.read(project(tmp_path, "") / "portbench.toml")
    specification = contract.load(found)
    (case,) = specification.cases(["short"], {})
    ready = hosts.prepare(found, found.ports["right"])
    ticks = []
    none, half = selfcheck.check(
        ready, specification, case, Plan(budget=0, precision=0.02, seed=1), 2, lambda: ticks.append(1)
    )
    assert (none.planted, half.planted) == (0.0, 0.5)
    assert (half.tries, half.seen, half.rate) == (2, 2, 1.0)
    assert half.low == pytest.approx(0.025**0.5)  # the exact interval of two in two
    assert none.tries == 2
    assert len(ticks) == 2


def test_it_is_one_document(tmp_path: Path, portbench) -> None:
    project(tmp_path, "")
    done = portbench("selfcheck", "--tries", "1", "--budget", "0", "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert [r["planted"] for r in said["rates"]] == [0.0, 0.01, 0.02, 0.05]
    assert said["port"] == "right"
    assert not (tmp_path / "results").exists()

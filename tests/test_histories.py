"""What a port does wrong only after something else was asked of it, or only where much is: A3's random questions."""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import HERE, WAVE

from portbench import contract, hosts, manifest
from portbench.agreement import histories, sizes, twins
from portbench.agreement.histories import Command, World
from portbench.agreement.levels import Verdict
from portbench.agreement.own import Judge
from portbench.agreement.reference import probe_name
from portbench.errors import PortFailure, Refusal
from portbench.protocol import Exchange, RunningPort

RING = HERE / "ring"
# A port's fault -> what the commands that show it look like, shortened, after "commands: ".
FAULTS = {
    "keeps constants of the same shape": r"(load [^,]*(, [^,]*)?, )+(run \d+, )*save",
    "keeps constants of the same state": r"load ([^,]*), load \1 with another \w+, (run \d+, )?save",
    "keeps a point of the state before": r"load ([^,]*(, [^,]*)?, load )+[^,]*(, [^,]*)?, (run \d+, )?save",
    "changes before it refuses": r".*a load that is refused, (.*, )?save",
    "kicks in no step": r"load .*run 0, save",
    "forgets the force between runs": r"load .*run \d+, (save, )?run \d+, save",
    "counts in a byte": r"load .*run (2[5-9]\d|\d{3,}), save",
    "keeps what it was lent": r"load [^,]*(, [^,]*)?, save",
}
OTHERS = {"first": np.full(24, 0.25), "second": np.full(24, 0.5)}


def project(folder: Path, *faults: str, more: str = "") -> Path:
    """A manifest of the ring whose ports have these faults; "" has none."""
    ports = "\n".join(
        f"""
[ports.{fault.replace(" ", "-") or "right"}]
host = "python"
module = "ring_port:{fault or "right"}"
sources = ["{RING / "ring_port.py"}"]
threads = false
"""
        for fault in faults
    )
    (folder / "portbench.toml").write_text(
        f"""
[project]
name = "ring"
spec = "ring"
python-path = ["{RING}"]
[check]
steps = {{ default = 20 }}
long = {{ default = 0 }}
{more}
{ports}
"""
    )
    return folder


@contextmanager
def running(folder: Path, fault: str = "") -> Iterator[tuple[Exchange, Judge]]:
    """A process of the port with this fault, and what judges it."""
    found = manifest.read(project(folder, fault) / "portbench.toml")
    specification = contract.load(found)
    (port,) = found.ports.values()
    with Exchange(hosts.start(hosts.prepare(found, port), 1, 60), specification) as x:
        x.port.hello()
        yield x, Judge(specification, str(found.path), twins.CLASSES["float64"])


def history(folder: Path, fault: str, seed: int) -> Verdict:
    with running(folder, fault) as (x, judge):
        (case,) = judge.specification.cases(["short"], {})
        return histories.a3_histories(x, judge, case, seed, {})


@pytest.mark.parametrize("fault", FAULTS)
def test_what_came_before_may_spoil_it(fault: str, tmp_path: Path) -> None:
    """The sentence holds the few commands after which anyone can see it."""
    found = history(tmp_path, fault, seed=1)
    assert not found.passed
    assert found.level == "A3"
    told = re.fullmatch(r".* \(commands: (.*)\)", found.finding)
    assert told, found.finding
    assert re.fullmatch(FAULTS[fault], told[1]), told[1]
    assert len(found.evidence["history"]) <= 6, found.evidence["history"]


def test_the_microscope_looks_at_what_a_history_showed(tmp_path: Path) -> None:
    """From a fresh load of the port's own state before, it is right; and what the error is made of is told."""
    found = history(tmp_path, "forgets the force between runs", seed=1)
    seen = found.evidence["microscope"]
    assert seen["where"].startswith("first wrong after") and "not from a fresh load of that state" in seen["where"]
    causes = [guess["cause"] for guess in seen["guesses"]]
    assert causes[0].startswith("stale data that is carried from step to step")
    found = history(tmp_path, "counts in a byte", seed=1)
    causes = [guess["cause"] for guess in found.evidence["microscope"]["guesses"]]
    assert causes == ["another number of steps than was asked for"]


class Runaway:
    """u doubles in each step; beyond 1000 the specification refuses to go on, and this port beyond a `limit`."""

    def __init__(self, limit: float, most: int = 1 << 30):
        self.limit, self.most, self.u = limit, most, np.ones(1)
        self.port = self

    def load(self, _: dict, state: dict) -> None:
        self.u = state["u"].copy()

    def run(self, steps: int) -> int:
        u = self.u * 2.0**steps
        if u[0] > self.limit or steps > self.most:
            raise PortFailure("refused", "port refused 'run': too far")
        self.u = u
        return 1

    def save(self, _: dict) -> tuple[dict, dict]:
        return {}, {"u": self.u}


@pytest.mark.parametrize(
    ("port", "explained"), [(Runaway(900.0), True), (Runaway(60.0), False), (Runaway(1e9, most=7), False)]
)
def test_a_refused_run_is_explained_by_where_it_led(port: Runaway, explained: bool) -> None:
    """Nine steps lead to 512, three more to 4096: nearly where the specification refuses, or far from there."""

    def check(_: dict, state: dict) -> None:
        if state["u"][0] > 1000:
            raise Refusal("too far")

    def advance(parameters: dict, state: dict, steps: int, add: object = None) -> dict:
        moved = {"u": state["u"] * 2.0**steps}
        check(parameters, moved)
        return moved

    specification = SimpleNamespace(state={"u": SimpleNamespace(scale=1.0)}, check_state=check, advance=advance)
    judge = SimpleNamespace(specification=specification, few_twins=lambda _: [])
    now = histories._Now(port, judge, np.random.default_rng(1))  # type: ignore[arg-type]
    now.world, now.known, now.lost = World("one", {}, {"u": np.ones(1)}), {"u": np.ones(1)}, False
    assert now.explained(10 if port.limit == 900.0 else 9) is explained


@pytest.mark.parametrize("fault", ["", "keeps a point of the state before"])
def test_what_is_saved_without_a_run_is_what_was_loaded(fault: str, tmp_path: Path) -> None:
    """All that comes after would be right again, from the state that the port took for its own."""
    with running(tmp_path, fault) as (x, judge):
        (case,) = judge.specification.cases(["short"], {})
        state = judge.specification.initial_state(case.parameters)
        worlds = [World(f"the {name}", case.parameters, {**state, "u": u}) for name, u in OTHERS.items()]
        loads = [Command("load", world=world) for world in worlds]
        for ran in ([], [Command("run", 0)]):
            found, _ = histories._play(x, judge, [*loads, *ran, Command("look")], 1)
            if fault:
                came_back = "u came back with 1 of 24 numbers changed: u[23] was given as 0.5 and came back as 0.25"
                assert found.sentence == f"of the second, {came_back}"
                assert found.ratio > 1e10
            else:
                assert found.ratio < 1, found.sentence


@pytest.mark.parametrize("brief", [False, True])
def test_no_history_is_without_a_run_of_nothing_and_a_refused_load(brief: bool, tmp_path: Path) -> None:
    """One in fifty had no `run 0`, as it was drawn, and of the brief ones one in five."""
    found = manifest.read(project(tmp_path, "") / "portbench.toml")
    specification = contract.load(found)
    judge = Judge(specification, str(found.path), twins.CLASSES["float64"])
    (case,) = specification.cases(["short"], {})
    for seed in range(30):
        drawn = list(histories._history(judge, case, np.random.default_rng(seed), brief))
        pairs = {(str(one), str(next_)) for one, next_ in itertools.pairwise(drawn)}
        assert {("run 0", "save"), ("a load that is refused", "save")} <= pairs, seed


def test_files_are_overwritten_when_they_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that maps them into its memory instead of reading them goes wrong at once."""
    monkeypatch.setenv("PYTHONPATH", str(WAVE))
    command = [sys.executable, str(HERE / "misbehaving" / "port.py"), "maps the files it was lent"]
    found = manifest.read(WAVE / "portbench.toml")
    specification = contract.load(found)
    (case,) = specification.cases(["short"], {})
    judge = Judge(specification, str(found.path), twins.CLASSES["float64"])
    with Exchange(RunningPort("mapper", command, dict(os.environ), tmp_path, 60), specification) as x:
        x.port.hello()
        verdict = histories.a3_histories(x, judge, case, 1, {}, brief=True)
    assert not verdict.passed
    assert "not a finite number" in verdict.finding


def test_a_right_port_passes_whatever_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histories, "FAR", (300, 400))
    with running(tmp_path) as (x, judge):
        (case,) = judge.specification.cases(["short"], {})
        for seed in range(3):
            found = histories.a3_histories(x, judge, case, seed, {}, brief=seed > 0)
            assert found.passed, found.finding
            assert found.ratio < 0.7, found.finding
            assert found.evidence["seed"] == seed
            assert re.match(r"\d+ saved states of \d+ loads in random order: at most", found.finding)


def test_what_is_shown_only_by_all_that_came_before_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no part of a history fails again, its end is told, and that it is only the end."""
    monkeypatch.setattr(histories, "SHRINK_SECONDS", 0.3)
    found = history(tmp_path, "goes wrong once", seed=1)
    assert not found.passed
    told = re.fullmatch(r".* \(the last of (\d+) commands: load .*\)", found.finding)
    assert told, found.finding
    assert int(told[1]) > found.finding.count(",")


def test_what_a_manifest_refuses_is_left_out_with_all_that_is_done_to_it() -> None:
    worlds = {name: World(name, {}, {}) for name in ("the probe 'long steps'", "a random state of 5")}
    long, other = (Command("load", world=w) for w in worlds.values())
    alike = Command("load", world=World("the probe 'long steps' with another dt", {}, {}))
    run, look, refused = Command("run", 3), Command("look"), Command("refused")
    drawn = [long, run, look, other, run, refused, look, alike, look, other, look]
    kept = list(histories._without({probe_name("long steps"): "it cannot"}, iter(drawn)))
    assert kept == [other, run, refused, look, other, look]
    assert list(histories._without({}, iter(drawn))) == drawn


# ---------------------------------------------------------------- sizes


def size(folder: Path, fault: str, seed: int) -> Verdict:
    with running(folder, fault) as (x, judge):
        (case,) = judge.specification.cases(["short"], {})
        return sizes.a3_sizes(x, judge, case, seed)


def test_a_port_that_drops_what_it_has_no_room_for_is_found_among_copies(tmp_path: Path) -> None:
    assert history(tmp_path, "has room for few", seed=1).passed, "no state of a history is so large"
    found = size(tmp_path, "has room for few", seed=1)
    assert not found.passed
    assert found.level == "A3"
    told = re.match(r"[uv]\[(\d+)\] after \d steps? from (\d+) x (\d+) x (\d+) copies of a random state", found.finding)
    assert told, found.finding
    assert int(told[1]) >= 512


def test_a_right_port_passes_at_any_size(tmp_path: Path) -> None:
    with running(tmp_path) as (x, judge):
        (case,) = judge.specification.cases(["short"], {})
        for seed in range(3):
            found = sizes.a3_sizes(x, judge, case, seed)
            assert found.passed, found.finding
            assert 0 < found.ratio < 0.7
            told = re.match(r"copies of a small case, up to (\d+) points: at most", found.finding)
            assert told, found.finding
            assert int(told[1]) > 4000


def test_where_there_are_no_copies_nothing_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path, "has room for few") as (x, judge):
        (case,) = judge.specification.cases(["short"], {})
        monkeypatch.setattr(judge.specification.module, "copies", lambda *_: None)
        found = sizes.a3_sizes(x, judge, case, 1)
    assert found.passed and found.finding.startswith("copies() makes none of its random states")

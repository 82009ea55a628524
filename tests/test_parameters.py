"""Parameters: those that a port does not listen to are found, and how small a wrong one could be is said; where the
specification itself runs away with them, it is the specification that is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from test_bad_input import complaint
from test_histories import history, project, running

from portbench import contract, hosts, manifest
from portbench.agreement import histories, levels, reference, sensitivity, twins
from portbench.agreement.own import Judge
from portbench.agreement.reference import Oracle, Reference
from portbench.contract import Specification
from portbench.protocol import Exchange
from portbench.report import remarks

# ---------------------------------------------------------------- typed in


@pytest.mark.parametrize("name", ["stiffness", "dt", "bend"])
def test_a_number_that_no_case_varies_may_stand_in_no_port(
    name: str, tmp_path: Path, ring: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All named cases have the same, and without `stress` nothing is drawn: but each number is varied once."""
    monkeypatch.delattr(ring, "stress")
    found = history(tmp_path, f"has its {name} typed in", seed=1)
    assert not found.passed
    told = re.fullmatch(r".* \(commands: (.*)\)", found.finding)
    assert told, found.finding
    assert re.fullmatch(
        rf"load the \w+ state of short( with each number up to 10% smaller)? with another {name}, (run \d, )?save",
        told[1],
    )


def test_a_drawn_case_finds_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The specification's own parameters, where none is varied for its own sake."""
    monkeypatch.setattr(histories, "_nudged", lambda *_: iter(()))
    found = history(tmp_path, "has its bend typed in", seed=1)
    assert not found.passed
    assert "a random state of" in found.finding


def test_the_named_cases_alone_would_never_find_it(tmp_path: Path, ring: ModuleType) -> None:
    """So what finds it is the variation, and not something else that such a port does."""
    with running(tmp_path, "has its bend typed in") as (x, judge):
        for case in judge.specification.cases(list(ring.CASES), {}):
            state = judge.specification.initial_state(case.parameters)
            x.load(case.parameters, state)
            x.port.run(3)
            fields, random = x.save(case.parameters)[1], np.random.default_rng(1)
            assert judge.moved("it", case.parameters, state, fields, 3, random).ratio < 0.7


# ---------------------------------------------------------------- a little off


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Specification, str, Reference]:
    """What each port is asked about the short ring."""
    path = project(tmp_path_factory.mktemp("ring"), "") / "portbench.toml"
    found = manifest.read(path)
    specification = contract.load(found)
    (case,) = specification.cases(["short"], {})
    with Oracle(found, specification) as oracle:
        return specification, str(path), reference.make(oracle, case, twins.CLASSES["float64"], 20)


@pytest.mark.parametrize("name", ["stiffness", "dt"])
def test_a_change_that_is_said_to_be_seen_is_seen(
    name: str, asked: tuple[Specification, str, Reference], tmp_path: Path
) -> None:
    """In a port that is off by more; and a quarter of it is not, or a smaller change should have been said."""
    found = sensitivity.sensitivity(*asked)
    assert found.keys() == {"stiffness", "dt"}  # bend is a whole number: it cannot be a little off
    least = found[name]
    assert least and 1e-16 < least < 1e-11
    for times, seen in ((4, True), (0.25, False)):
        (tmp_path / str(times)).mkdir()
        with running(tmp_path / str(times), f"{name} off by {times * least:.0e}") as (x, _):
            verdicts = [levels.a2_kernel(x, asked[2], {}), levels.a3_few_steps(x, asked[2], {})]
        assert any(not v.passed for v in verdicts) == seen, [v.finding for v in verdicts]


def test_what_is_never_seen_is_said_too(
    asked: tuple[Specification, str, Reference], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A parameter of which nothing depends, as the questions stand."""
    monkeypatch.setattr(sensitivity, "_floats", lambda _: iter(["stiffness", "idle"]))
    for question in [*asked[2].kernel, *asked[2].few_steps]:
        monkeypatch.setitem(question.parameters, "idle", 1.0)
    found = sensitivity.sensitivity(*asked)
    assert found["idle"] is None
    assert re.fullmatch(
        r"seen on short in float64: a relative change of stiffness by \de-1\d; not seen there: idle \(by up to 0\.1\)",
        sensitivity.sentence("short", "float64", found),
    )


def test_a_report_says_it_once_for_each_case_and_class_that_was_proved() -> None:
    one = {"case": "short", "precision": "float64", "holds": True, "sensitivity": {"dt": 1e-13, "idle": None}}
    certificates = [one, one, one | {"holds": False, "case": "long"}, one | {"sensitivity": {}}]
    (said,) = remarks.excluded({"certificates": certificates})
    what = "seen on short in float64: a relative change of dt by 1e-13; not seen there: idle (by up to 0.1)"
    assert said == f"A wrong parameter would have been {what}"


def test_check_says_how_small_a_wrong_parameter_it_sees(portbench, tmp_path: Path) -> None:
    done = portbench("check", cwd=project(tmp_path, ""))
    assert done.returncode == 0, done.stderr
    told = re.search(r"seen on short in float64: a relative change of stiffness by (\S+), dt by (\S+)\n", done.stdout)
    assert told, done.stdout
    assert all(1e-16 < float(change) < 1e-11 for change in told.groups())


# ---------------------------------------------------------------- a specification that runs away

AWAY = '''
"""u'' = growth u^power: whatever is there moves away, ever faster."""
import numpy as np
NAME = "what moves away"
STATE = {"u": {"shape": ("points",)}, "v": {"shape": ("points",)}}
DERIVED = {"force": {"shape": ("points",)}}
WORK = ("points",)
CASES = {
    "beyond what is legal": {},
    "beyond all numbers": {"growth": 3.0, "dt": 0.5, "farthest": 0.0},
    "at once": {"growth": 3.0, "power": 3},
}
def parameters(*, points=8, growth=0.02, dt=0.05, power=1, farthest=1000.0):
    return {"points": points, "growth": growth, "dt": dt, "power": power, "farthest": farthest}
def check_state(p, s):
    if p["farthest"] and np.any(np.abs(s["u"]) > p["farthest"]):
        raise ValueError("a point is too far away")
def initial_state(p):
    random = np.random.default_rng(1)
    return {name: random.uniform(0.5, 1, p["points"]) for name in STATE}
def observe(p, s, add=np.sum):
    return {"force": p["growth"] * s["u"] ** p["power"]}
def advance(p, s, steps, add=np.sum):
    u, v = s["u"], s["v"]
    for _ in range(steps):
        v = v + p["dt"] * observe(p, {"u": u})["force"]
        u = u + p["dt"] * v
    return {"u": u, "v": v}
def conserved(p, fields):
    return {"the sum of u": np.sum(fields["u"])}
'''
AWAY_PORT = """
import moves_away
def load(p, s):
    return {"p": p, "steps": 0, "now": {n: a.copy() for n, a in s.items()}}
def run(x, steps):
    x["steps"] += steps
    x["now"] = moves_away.advance(x["p"], x["now"], steps)
def state(x):
    lost = LOST and x["steps"] > LOST
    return {n: a * float("nan") if lost else a for n, a in (x["now"] | moves_away.observe(x["p"], x["now"])).items()}
"""


def away(folder: Path, lost: int = 0) -> Path:
    """A project of this specification and one port: a right one, or one that is lost after so many steps."""
    (folder / "moves_away.py").write_text(AWAY)
    (folder / "away_port.py").write_text(AWAY_PORT.replace("LOST", str(lost)))
    (folder / "portbench.toml").write_text(
        """
[project]
name = "away"
spec = "moves_away"
python-path = ["."]
[check]
steps = { default = 50 }
long = { default = 1000 }
[ports.honest]
host = "python"
module = "away_port"
sources = ["away_port.py"]
threads = false
"""
    )
    return folder


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("at once", "u overflows within 50 steps: give the case a smaller time step, or fewer steps in [check]"),
        ("beyond all numbers", "the drift of the sum of u overflows within 1000 steps: give the case a smaller"),
    ],
)
def test_its_overflow_is_the_specifications(case: str, words: str, portbench, tmp_path: Path) -> None:
    done = portbench("check", "--cases", case, cwd=away(tmp_path))
    assert done.returncode == 2
    told = complaint(done)
    assert told.startswith(f"portbench: The specification's own run of case '{case}' is not finite: {words}")
    assert "honest" not in told and "RuntimeWarning" not in done.stderr


@pytest.fixture
def asked_at_random(tmp_path: Path) -> Iterator:
    """The verdict of a history about a case of what moves away."""

    def ask(case: str, lost: int = 0) -> levels.Verdict:
        found = manifest.read(away(tmp_path, lost) / "portbench.toml")
        specification = contract.load(found)
        judge = Judge(specification, str(found.path), twins.CLASSES["float64"])
        with Exchange(hosts.start(hosts.prepare(found, found.ports["honest"]), 1, 60), specification) as x:
            x.port.hello()
            return histories.a3_histories(x, judge, specification.cases([case], {})[0], 1, {})

    return ask


@pytest.mark.parametrize("case", ["beyond what is legal", "beyond all numbers"])
def test_a_right_port_that_moves_away_with_it_is_not_blamed(case: str, asked_at_random) -> None:
    """A history goes farther than the check's own runs, to where this specification has no answer."""
    found = asked_at_random(case)
    assert found.passed, found.finding
    assert found.ratio < 0.7


@pytest.mark.parametrize("case", ["beyond what is legal", "beyond all numbers"])
def test_a_port_that_is_lost_where_the_specification_is_not_is_found(case: str, asked_at_random) -> None:
    found = asked_at_random(case, lost=200)
    assert not found.passed
    assert re.search(r"(is nan and should be|not a finite|\[0\]).*\(commands: load ", found.finding), found.finding

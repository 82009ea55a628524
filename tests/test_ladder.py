"""The ladder kills wrong ports, each by the level that claims to, and lets right ones live."""

from __future__ import annotations

import json
import math
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import LONG, ROOT, WAVE, need
from hypothesis import given
from hypothesis import strategies as st

from particles.mutants import MUTANTS
from particles.spec import pair_potential
from portbench import contract, load_results, run
from portbench.agreement import certificate, reference, twins
from portbench.agreement.faults import FAULTS
from portbench.manifest import Compare, Manifest
from portbench.progress import Progress

pytestmark = pytest.mark.timeout(1200)  # that of the first test includes the kill matrix

LATE = [name for name, mutant in MUTANTS.items() if mutant.change.__module__ != "particles.mutants"]
# Of those that are right from a fresh load, each of which takes seconds, some of every kind; with PORTBENCH_LONG all.
SOME_LATE = [
    "right-leapfrog",
    "list-every-ten",
    "list-kept-over-load",
    "room-for-128",
    "cells-of-a-cube",
    "boxes-in-pairs",
    "steps-in-a-byte",
    "chunks-of-128",
    "run-0-sets-up",
    "committed-at-save",
    "refused-load-changes-parameters",
    "lent-arrays-kept",
    "known-parameters-only",
    "work-at-save",
    "clock-stands-still",
]
LIKE_OTHERS = [
    "right-specification",
    "right-powers",
    "right-order",
    "sigma-1e-2",
    "epsilon-1e-10",
    "cutoff-1e-2",
    "dt-1e-2",
    "force-without-the-2",
    "energy-half",
    "virial-half",
    "pairs-across-edges",
    "list-by-count",
    "displacement-test",
    "explicit-euler",
    "old-force",
    "walls-turn-all",
    "float32-input-hidden",
    "cutoff-of-the-default",
]
ASKED = [n for n in MUTANTS if n not in [*LATE, *LIKE_OTHERS] or n in SOME_LATE or os.environ.get("PORTBENCH_LONG")]
KILLED_BY_A5 = [name for name in ASKED if MUTANTS[name].level <= "A5"]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """The kill matrix, as a person makes it."""
    return _mutants("--quiet", *KILLED_BY_A5)


def _mutants(*arguments: str, cwd: Path = ROOT) -> dict[str, dict]:
    import subprocess
    import sys

    command = [sys.executable, "-m", "portbench", "mutants", "--json", "--quiet", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=1000, env=dict(os.environ))
    assert done.returncode in (0, 1), done.stderr
    return {m["name"]: m for m in json.loads(done.stdout)["mutants"]}


def test_the_catalogue_is_large_and_every_level_has_work(outcomes: dict[str, dict]) -> None:
    """A level that kills nothing would prove nothing; A4 to A6 kill their own in the tests below."""
    assert sum(1 for m in MUTANTS.values() if m.level) >= 40
    assert {m.level for m in MUTANTS.values()} == {"", "A0", "A2", "A3", "A4", "A5", "A6"}
    assert {m["killed_by"] for m in outcomes.values()} >= {"", "A0", "A1", "A2", "A3"}


@pytest.mark.parametrize(("name", "level"), [("lost-once", "A4"), ("dt-of-the-default", "A5")])
def test_the_levels_behind_the_histories_see_without_them(
    name: str, level: str, bundled: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a history would have found first: the free run and the invariants do not lean on it."""
    monkeypatch.setattr(certificate, "_at_random", lambda *_: [])
    job = run.plan(bundled, [], ["tiny", "tiny-walls"], [1])
    with Progress(quiet=True) as progress:
        (found,) = run.kill(job, "", [name], progress)
    assert found.killed_by == level, found.finding


@pytest.mark.parametrize("name", KILLED_BY_A5)
def test_wrong_ports_die_in_time_and_right_ones_live(name: str, outcomes: dict[str, dict]) -> None:
    outcome = outcomes[name]
    assert outcome["as_it_should"], (outcome["level"], outcome["killed_by"], outcome["finding"])


# What a developer is told, for some of the mistakes: words that a guess of the microscope must hold, or one of several
# where it depends on the random state at which the port was caught.
TOLD = {
    "dt-1e-9": ["a wrong dt: dt times 1 +1e-09"],
    "epsilon-1e-4": ["a factor of 1.0001"],
    "half-kick-missing": ["lost, doubled or out of order", "-0.0025 times the force after"],
    "symplectic-euler": ["0.0025 times the force before and -0.0025 times the force after"],
    "one-step-too-many": ["off by one step", "two steps"],
    "list-never-renewed": ["a neighbour list"],
    "skin-too-small": ["a neighbour list"],
    "race": ["a data race"],
    "float32-sums": ["float32"],
    "float32-forces": ["float32"],
    "float32-velocity": ["float32"],
    "last-particle": ["only the last of 64 is wrong"],
    "newton-for-one": ["the pair of particles 1 and 0", "only 1 of 64"],
    "thermostat": ["a factor of 1.000000001|a counter"],
    "first-state": ["kept from an earlier load"],
    "lost-once": ["a lost or double update|a factor of 0.999999999|only the block|stale data"],
}


@pytest.mark.parametrize("name", TOLD)
def test_the_microscope_leads_to_the_line(name: str, outcomes: dict[str, dict]) -> None:
    said = " | ".join(outcomes[name]["guesses"])
    for words in TOLD[name]:
        assert any(these in said for these in words.split("|")), said


def test_right_answers_get_no_guess(outcomes: dict[str, dict]) -> None:
    assert not any(m["guesses"] for m in outcomes.values() if not m["level"])


def test_the_report_prints_the_matrix(portbench) -> None:
    """The one in results/ as a table and as Markdown, and no session is made of it."""
    shown = portbench("report", "results/mutants.json", cwd=ROOT)
    assert shown.returncode == 0 and "wrong ports died in time" in shown.stdout and "dt-1e-9" in shown.stdout
    assert "| dt-1e-9 | " in portbench("report", "results/mutants.json", "--markdown", cwd=ROOT).stdout
    assert "readme" in set(load_results(ROOT / "results")["session"])


@LONG
def test_statistics_see_what_no_other_level_can(portbench) -> None:
    """Energy and momentum are kept; the port is right for 1500 steps; and then its diffusion is another."""
    found = _mutants("--level", "A6", "--cases", "tiny", "late-collisions")
    assert found["late-collisions"]["killed_by"] == "A6", found["late-collisions"]["finding"]


@LONG
def test_statistics_of_a_right_port_are_equivalent(bundled: Manifest, portbench) -> None:
    need(bundled, "mojo")
    done = portbench("check", "--level", "A6", "--ports", "mojo", "--cases", "tiny", "--json", "--quiet", cwd=ROOT)
    (certificate,) = json.loads(done.stdout)["certificates"]
    assert certificate["level"] == "A6", certificate["finding"]
    assert all(f["bound"] < f["margin"] for f in certificate["verdicts"][-1]["evidence"]["figures"])


@LONG
def test_generic_faults_die_in_the_stream_of_any_port(bundled: Manifest) -> None:
    """Of one in single precision, and the port without a fault lives; of one in double precision below."""
    need(bundled, port := "mojo-f32")
    found = _mutants("--port", port, "--cases", "tiny")
    assert set(found) == {"none", *FAULTS}
    for outcome in found.values():
        assert outcome["as_it_should"], outcome


def test_generic_faults_know_nothing_of_particles() -> None:
    found = _mutants("--port", "vectorised", "--cases", "short", cwd=WAVE)
    assert set(found) == {"none", *FAULTS}
    for outcome in found.values():
        assert outcome["as_it_should"], outcome


def test_what_the_readme_says_of_the_ladder_is_in_results() -> None:
    """The published matrix is of this catalogue, and nothing in it lived that should not."""
    published = json.loads((ROOT / "results" / "mutants.json").read_text())["mutants"]
    assert {m["name"] for m in published} == set(MUTANTS)
    wrong, right = ([m for m in published if bool(m["level"]) == bad] for bad in (True, False))
    assert all(m["as_it_should"] for m in published)
    died, lived = (sum(m["as_it_should"] for m in some) for some in (wrong, right))
    climbs = json.loads((ROOT / "results" / "no-false-alarms.json").read_text())
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert f"runs {len(wrong)} wrong ports" in readme
    assert f"and {len(right)} right ones. In `results/mutants.json` {died} of the wrong ones died" in readme
    assert f"{lived} of the right ones lived" in readme
    assert f"{climbs['false_alarms']} false alarms in {climbs['climbs']} climbs" in readme


def test_a_float32_port_lives_only_where_it_says_so(bundled: Manifest) -> None:
    """The same program twice, once declared as float64; those that hide it are in the catalogue."""
    need(bundled, "mojo-f32")
    honest = bundled.ports["mojo-f32"]
    ports = {"honest": honest, "liar": honest.model_copy(update={"precision": "float64"})}
    ports = {name: port.model_copy(update={"name": name}) for name, port in ports.items()}
    job = run.plan(bundled.model_copy(update={"ports": ports, "compare": Compare()}), [], ["tiny"], [1])
    with Progress(quiet=True) as progress:
        run.prepare(job, progress)
        run.certify(job, progress)
    found = {c.port: c for c in job.certificates}
    assert found["honest"].holds, found["honest"].finding
    assert found["liar"].level == ""
    assert "declares float64 and the port says float32" in found["liar"].finding


@LONG
def test_right_ports_pass_whatever_the_seed(bundled: Manifest, portbench) -> None:
    """The short form of tests/benchmarks/no_false_alarms.py."""
    need(bundled, port := "mojo")
    done = portbench(
        "check", "--ports", port, "--cases", "tiny,tiny-walls", "--seeds", "2", "--json", "--quiet", cwd=ROOT
    )
    found = json.loads(done.stdout)["certificates"]
    assert len(found) == 4
    assert all(c["holds"] for c in found), [c["finding"] for c in found]


def test_a_sum_in_one_loop_is_only_rounded(bundled: Manifest) -> None:
    """Over all pairs, as packages do; the specification adds the pairs of each particle first, and so do its twins."""
    specification = contract.load(bundled)
    eps = np.finfo(float).eps
    for case in specification.cases(["liquid-500", "walls-500", "melt-4k"], {}):
        state = specification.disordered_state(case.parameters)
        energies = pair_energies(case.parameters, state["position"][0])
        exact = math.fsum(energies)
        allowed = reference.least_kappa_of(state, np.zeros(1)) * eps * math.fsum(map(abs, energies))
        offs = []
        for seed in range(20):
            shuffled = np.random.default_rng(seed).permutation(energies)
            offs.append(abs(float(twins.one_at_a_time(shuffled, 0)) - exact))
        assert max(offs) < allowed / 2
        assert 30 * max(offs) > allowed  # and not much more is allowed than that
    force = state["position"]
    assert reference.least_kappa_of(state, force) == reference.LEAST_KAPPA


def pair_energies(parameters: dict, x: np.ndarray) -> np.ndarray:
    """Of all pairs within the cutoff, each once, not shifted."""
    box = np.array(parameters["box"])
    found = []
    for i in range(len(x) - 1):
        d = x[i] - x[i + 1 :]
        if parameters["boundary"] == "periodic":
            d -= box * np.round(d / box)
        r2 = np.sum(d * d, axis=1)
        found.append(pair_potential(r2[r2 < parameters["cutoff"] ** 2]))
    return np.concatenate(found)


floats = st.lists(st.floats(-1e12, 1e12, allow_subnormal=False), min_size=1, max_size=50)


@given(floats)
def test_compensated_sum_is_as_if_with_twice_the_digits(terms: list[float]) -> None:
    """Within an ulp of the exact sum, plus eps^2 of the condition (Ogita, Rump, Oishi 2005, eq. 4.6)."""
    exact = float(sum(map(Fraction, terms)))
    got = float(twins.compensated(np.array(terms), axis=0))
    condition = sum(map(abs, terms))
    assert abs(got - exact) <= 2.3e-16 * abs(exact) + (len(terms) * 2.3e-16) ** 2 * condition


@given(floats)
def test_the_orders_of_summation_are_what_they_say(terms: list[float]) -> None:
    forward = 0.0
    for term in terms:
        forward += term
    backward = 0.0
    for term in reversed(terms):
        backward += term
    array = np.array([terms, terms])
    assert twins.one_at_a_time(array, axis=-1).tolist() == [forward, forward]
    assert twins.backwards(array, axis=1).tolist() == [backward, backward]
    assert math.isclose(twins.absolute(array, axis=1)[0], sum(map(abs, terms)), abs_tol=1e-300)

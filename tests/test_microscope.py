"""The microscope names the cause, the better guess before the worse; on a wave on a string."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import WAVE

from portbench.agreement import microscope, places
from portbench.agreement.microscope import Guess

CATALOGUE = '''
from types import SimpleNamespace
import numpy as np
import wave


def wrong(level, run=None, seen=None, digits=float, **changed):
    """A port that changes the number of steps, what is derived, parameters, or the digits of what a step adds."""
    class Port:
        def load(self, parameters, state):
            wave.check_state(parameters, state)
            return {"given": parameters, "state": {name: a.copy() for name, a in state.items()}}

        def run(self, simulation, steps):
            p = {name: value * changed.get(name, 1) if name in changed else value
                 for name, value in simulation["given"].items()}
            for _ in range(run(steps) if run else steps):
                before, after = simulation["state"], wave.advance(p, simulation["state"], 1)
                if digits != float:
                    after = {n: a + (after[n] - a).astype(digits) for n, a in before.items()}
                simulation["state"] = after

        def state(self, simulation):
            fields = simulation["state"] | wave.observe(simulation["given"], simulation["state"])
            if seen:
                fields["acceleration"] = seen(fields["acceleration"].copy())
            return fields

    return SimpleNamespace(level=level, what="", port=Port)


def times(where, factor):
    def seen(a):
        if len(a) == 100:
            a[where] *= factor
        return a
    return seen


MUTANTS = {
    "longer-step": wrong("A3", dt=1 + 1e-6),
    "much-shorter-step": wrong("A3", dt=0.8),
    "one-too-many": wrong("A3", run=lambda n: n + (n > 0)),
    "twice": wrong("A3", run=lambda n: 2 * n),
    "few-bits": wrong("A3", run=lambda n: n % 8),
    "float-steps": wrong("A3", digits=np.float32),
    "sign": wrong("A2", seen=lambda a: -a),
    "reversed": wrong("A2", seen=lambda a: a[::-1]),
    "every-fourth": wrong("A2", seen=times(slice(3, None, 4), 1.5)),
    "part": wrong("A2", seen=times(slice(20, 30), 0.0)),
}


def port(name):
    return MUTANTS[name].port()
'''

# What is told first, and second where it matters.
TOLD = {
    "longer-step": ["a wrong dt: dt times 1 +1e-06 explains all of the errors"],
    "much-shorter-step": ["a wrong dt: dt times 0.8 explains all of the errors"],
    "one-too-many": [
        "off by one step: asked for one step, displacement is what two steps make; asked for three steps, displacement "
        "is what four steps make: one too many"
    ],
    "twice": [
        "another number of steps than was asked for",
        "asked for three steps, displacement is what six steps make",
    ],
    "few-bits": ["another number of steps than was asked for: asked for 8 steps, velocity is what no step makes"],
    "float-steps": ["float32 somewhere on the way: the errors are"],
    "sign": ["the other sign: the wrong numbers of acceleration are right but for their sign"],
    "reversed": ["the right numbers in the wrong places: acceleration comes in reversed order"],
    "every-fourth": ["a stride, or one lane of a SIMD register: only every 4th of 100, from 3, is wrong"],
    "part": ["one thread's part: only 20 to 29 of 100 are wrong, acceleration[20:30]"],
}


@pytest.fixture(scope="module")
def guesses(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    import subprocess
    import sys

    project = shutil.copytree(WAVE, tmp_path_factory.mktemp("scope") / "wave")
    (project / "wave_mutants.py").write_text(CATALOGUE)
    with (project / "portbench.toml").open("a") as manifest:
        manifest.write('\n[mutants]\nmodule = "wave_mutants"\nsources = ["wave_mutants.py"]\n')
    command = [sys.executable, "-m", "portbench", "mutants", "--json", "--quiet", "--cases", "short"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=240)
    assert done.returncode in (0, 1), done.stderr
    return {m["name"]: m["guesses"] for m in json.loads(done.stdout)["mutants"]}


@pytest.mark.parametrize("name", TOLD)
def test_the_cause_is_named(name: str, guesses: dict[str, list[str]]) -> None:
    for words in TOLD[name]:
        assert words in " | ".join(guesses[name])


@pytest.mark.parametrize("name", ["longer-step", "much-shorter-step", "one-too-many", "twice", "few-bits", "reversed"])
def test_what_explains_all_of_the_errors_stands_alone(name: str, guesses: dict[str, list[str]]) -> None:
    """Neither the size of the errors nor stale data is then a guess."""
    assert TOLD[name][0] in guesses[name][0]
    assert not [guess for guess in guesses[name][1:] if "float32" in guess or "stale" in guess or "lost" in guess]


def test_float32_in_what_a_step_adds_is_seen_beside_large_numbers() -> None:
    """Of the values the errors are a part that no rounding is."""
    random = np.random.default_rng(1)
    before, change = {"u": random.uniform(1, 2, 500)}, 1e-4 * random.normal(size=500)
    right, got = {"u": before["u"] + change}, {"u": before["u"] + change.astype(np.float32)}
    scene = microscope._Scene({}, before, right, got, {"u": np.array(1e-15)}, 1, before, 1)
    of = SimpleNamespace(state=before, difference=lambda _, __, a, b: a - b)
    x = SimpleNamespace(precision="float64", specification=of)
    (guess,) = microscope._guess_fewer_digits(x, scene, "u", got["u"] - right["u"])  # type: ignore[arg-type]
    assert guess.cause == "float32 somewhere on the way"
    assert "of what the step changes, in either direction" in guess.evidence


def test_guesses_on_one_scale() -> None:
    rough, good, better, shown = Guess("a", "", 1.0), Guess("b", "", 1e-3), Guess("c", "", 1e-4), Guess("d", "")
    assert microscope._strongest([rough, good, shown, better]) == [better, good]
    assert microscope._strongest([rough, shown]) == [rough]
    assert microscope._strongest([shown]) == []


@pytest.mark.parametrize(
    ("got", "want", "precision", "words"),
    [
        (-0.3, 0.3, "float64", "the same number with the other sign"),
        (0.6, 0.3, "float64", "exactly 2 times what it should be"),
        (-0.15, 0.3, "float64", "exactly -0.5 times what it should be"),
        (1 + 2**-50, 1.0, "float64", "8.88e-16 or 4 ulp apart"),
        (1.5 + 1e-6, 1.5, "float64", "1e-06 apart, 6.7e-07 of it"),
        (1 + 2**-20, 1.0, "float32", "9.54e-07 or 8 ulp apart"),
        (0.1, 0.0, "float64", "0.1 apart, and 0 is right"),
        (np.nan, 0.3, "float64", "not finite, and so not to be measured"),
    ],
)
def test_distances_are_told_in_words_that_fit(got: float, want: float, precision: str, words: str) -> None:
    assert microscope._apart(got, want, precision) == words


@pytest.mark.parametrize(
    ("shape", "where", "cause", "which"),
    [
        ((64, 64), np.s_[5], "one row", "row 5 of 64 is wrong, u[5, :]"),
        ((64, 64), np.s_[:, 7], "one column", "column 7 of 64 is wrong, u[:, 7]"),
        ((64, 64), np.s_[:, 63], "a loop that ends one too early", "the last of 64 is wrong, u[:, 63]"),
        ((16, 16, 16), np.s_[:, 3], "one plane", "plane 3 of 16 is wrong, u[:, 3, :]"),
        ((64, 64), np.s_[8:16, 4:6], "one thread's or one block's part", "the block u[8:16, 4:6] is wrong"),
        ((64, 64), np.s_[9, 4], "a lost or double update", "one number is wrong, u[9, 4]"),
        ((1, 64, 3), np.s_[0, 5], "a lost or double update", "5 of 64 is wrong, u[0, 5, :]"),
        ((1, 64, 3), np.s_[:, :, 2], "one column", "column 2 of 3 is wrong, u[:, :, 2]"),
        ((64, 3), np.s_[[3, 17]], "a lost or double update", "3 and 17 of 64 are wrong"),
        ((63,), np.s_[60:], "the remainder of a SIMD loop", "the last 3 of 63 are wrong (4 lanes), u[60:63]"),
        ((64,), np.s_[16:32], "one thread's part", "16 to 31 of 64 are wrong, u[16:32]"),
        ((64,), np.s_[1::4], "a stride, or one lane of a SIMD register", "every 4th of 64, from 1, is wrong, u[1::4]"),
        ((9, 9), np.s_[[0, 8]], "the boundary", "the first and the last along axis 0 hold wrong numbers"),
    ],
)
def test_the_place_is_told_by_its_shape(shape: tuple[int, ...], where: object, cause: str, which: str) -> None:
    bad = np.zeros(shape, bool)
    bad[where] = True
    found = places.find("u", bad)
    assert found is not None
    assert (found.cause, found.which.replace("u[0, :, 2]", "u[:, :, 2]")) == (cause, which)


def test_an_edge_and_what_is_no_place() -> None:
    ring = np.ones((9, 9), bool)
    ring[1:-1, 1:-1] = False
    assert places.find("u", ring).which == "its edges hold wrong numbers"
    assert places.find("u", np.random.default_rng(1).uniform(size=(20, 20)) < 0.1) is None
    assert places.find("u", np.ones(4, bool)) is None
    assert places.find("u", np.array(True)) is None

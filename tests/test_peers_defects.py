"""What passes elsewhere and must not pass here: defects found in the validators and timers of other projects.

Each test re-states the rule of another project in a line or two, shows a wrong port or wrong samples that it lets
pass, and that portbench refuses them. The letters are those by which the defects are counted.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from conftest import HERE, LONG, ROOT, WAVE

from portbench import contract, exchange, manifest, session
from portbench.agreement import levels, reference
from portbench.agreement.levels import Verdict
from portbench.agreement.reference import Answer, Oracle, Question, Reference
from portbench.agreement.twins import CLASSES
from portbench.contract import Fields, Specification
from portbench.errors import PortFailure, Refusal
from portbench.protocol import Exchange
from portbench.report import summary
from portbench.timing.statistics import median_time, ratio
from portbench.worker import PythonPort

Spoil = Callable[[Fields], Fields]
Asked = tuple[Specification, Reference]
SHIFT = 2e-12  # of one point of a hundred: their mean is then below 100 eps


class Here:
    """A port in this process, right but for what `spoil` does to the fields that it saves.

    The Exchange in front of it is the real one: what is judged went through raw files.
    """

    name = "here"

    def __init__(self, specification: Specification, spoil: Spoil):
        self.specification, self.spoil = specification, spoil

    def load(self, folder: Path) -> None:
        self.parameters = exchange.read_parameters(folder)
        self.now = exchange.read_fields(folder, self.specification.state, self.parameters)

    def run(self, steps: int) -> int:
        self.now = self.specification.advance(self.parameters, self.now, steps)
        return 1

    def save(self, folder: Path) -> None:
        fields = self.now | self.specification.observe(self.parameters, self.now)
        exchange.write_parameters(folder, self.parameters)
        exchange.write_fields(folder, self.spoil({name: a.copy() for name, a in fields.items()}))

    def nothing_unasked_for(self, wait: float) -> None:
        pass  # it has no standard output

    def close(self) -> None:
        pass


def ask(folder: Path, case: str, steps: int) -> Asked:
    found = manifest.read(folder / "portbench.toml")
    specification = contract.load(found)
    one = specification.cases([case], found.cases)[0]
    return specification, reference.make(Oracle(found, specification), one, CLASSES["float64"], steps)


@pytest.fixture(scope="module")
def wave() -> Asked:
    return ask(WAVE, "short", 20)


@pytest.fixture(scope="module")
def tiny() -> Asked:
    return ask(ROOT, "tiny", 50)


def climb(asked: Asked, spoil: Spoil) -> Verdict:
    """The verdict on which the climb from A1 to A4 ends."""
    specification, questions = asked
    with Exchange(Here(specification, spoil), specification) as x:  # type: ignore[arg-type]
        traces = [levels.trace(x, questions.free_run) for _ in range(2)]
        verdict = levels.a1_determinism(specification, questions, traces)
        for rung in (
            lambda: levels.a2_kernel(x, questions, {}),
            lambda: levels.a3_few_steps(x, questions, {}),
            lambda: levels.a4_free_run(x, questions, traces[0]),
        ):
            if verdict.passed:
                verdict = rung()
    return verdict


def answers(asked: Asked) -> Fields:
    """Every field of the specification at the start of its free run."""
    specification, questions = asked
    run = questions.free_run
    return run.state | specification.observe(run.parameters, run.state)


def seen_by(rule: Callable[..., bool], asked: Asked, spoil: Spoil, *names: str) -> bool:
    """What the rule says of these fields of the wrong port."""
    right = answers(asked)
    wrong = spoil({name: a.copy() for name, a in right.items()})
    return rule([right[n] for n in names], [wrong[n] for n in names if n in wrong])


def changed(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    return lambda fields: {**fields, name: change(fields[name])}


def with_nan(array: np.ndarray) -> np.ndarray:
    array.reshape(-1)[array.size // 2] = np.nan
    return array


@pytest.mark.parametrize("which", ["wave", "tiny"])
def test_without_a_fault_all_is_well(which: str, request: pytest.FixtureRequest) -> None:
    """Or else the tests below would prove nothing."""
    verdict = climb(request.getfixturevalue(which), lambda fields: fields)
    assert (verdict.level, verdict.passed) == ("A4", True), verdict.finding


# ---------------------------------------------------------------- a, b, c: npbench


def npbench(right: list[np.ndarray], got: list[np.ndarray]) -> bool:
    """npbench, infrastructure/test.py and utilities.py: valid until shown otherwise, and exceptions are printed."""
    valid = True
    try:
        for a, b in zip(right, got):
            valid = valid and (np.allclose(a, b) or bool(np.linalg.norm(a - b) / np.linalg.norm(a) < 1e-5))
    except Exception as error:
        print(error)
    return valid


def test_a_comparison_that_raises_is_no_pass(wave: Asked) -> None:
    """a. npbench, infrastructure/test.py: arrays of another shape raise in the comparison, and stay `valid`."""
    spoil = changed("acceleration", lambda a: np.append(a, 1.0))
    assert seen_by(npbench, wave, spoil, "acceleration")
    with pytest.raises(PortFailure, match=r"808 bytes where shape \(100,\) needs 800"):
        climb(wave, spoil)


def test_a_failed_reference_validates_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """a. npbench stores `validated` too where the NumPy run, against which it would compare, has failed."""

    def fails(*_: object, **__: object) -> None:
        raise ValueError("there is no memory left")

    assert npbench([], [np.zeros(3)])
    monkeypatch.setenv("PORTBENCH_CACHE", str(tmp_path))  # in the other one lies the answer
    monkeypatch.setattr(contract.load(manifest.read(WAVE / "portbench.toml")).module, "advance", fails)
    with pytest.raises(Refusal, match="no memory left"):
        ask(WAVE, "short", 20)


def test_what_is_missing_is_compared_too(wave: Asked) -> None:
    """b. npbench and dpbench, `zip(ref, val)`: of outputs that are not there nothing is compared (npbench #19)."""

    def silent(fields: Fields) -> Fields:
        return {name: fields[name] for name in wave[0].state}

    assert seen_by(npbench, wave, silent, "acceleration", "energy")
    verdict = climb(wave, silent)
    assert (verdict.passed, verdict.ratio) == (False, math.inf)
    assert "acceleration[0] of the disordered state is nan" in verdict.finding


def test_a_run_that_ends_early_is_not_compared_as_far_as_it_went(wave: Asked) -> None:
    """b. The same with the steps of a run: one that was cut short is no proof of the whole."""
    specification, questions = wave
    with Exchange(Here(specification, lambda fields: fields), specification) as x:  # type: ignore[arg-type]
        seen = levels.trace(x, questions.free_run)
        assert npbench([a.fields["energy"] for a in questions.free_run.answers], [f["energy"] for f in seen[:1]])
        with pytest.raises(ValueError, match="shorter"):
            levels.a4_free_run(x, questions, seen[:1])
        with pytest.raises(ValueError, match="shorter"):
            levels.a1_determinism(specification, questions, [seen, seen[:1]])


@pytest.fixture
def spiky(wave: Asked, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """One point is pulled up by 1e8, and the others by about 1."""
    calm = wave[0].module.disordered_state

    def disordered(parameters: dict) -> Fields:
        state = calm(parameters)
        state["displacement"][50] = 1e8
        return state

    monkeypatch.setattr(wave[0].module, "disordered_state", disordered)
    return ask(WAVE, "short", 20)


def test_a_large_element_hides_no_small_one(spiky: Asked) -> None:
    """c. npbench, utilities.py: by the norm, one element may be 500 times too large beside another of 1e8."""

    def spoil(fields: Fields) -> Fields:
        fields["acceleration"][-10] *= 500
        return fields

    assert seen_by(npbench, spiky, spoil, "acceleration")
    assert climb(spiky, lambda fields: fields).passed
    verdict = climb(spiky, spoil)
    assert (verdict.level, verdict.passed) == ("A2", False)


@pytest.mark.parametrize(
    ("level", "spoil"),
    [
        ("A3", changed("position", lambda x: x[:, ::-1])),
        ("A3", changed("velocity", lambda v: -v)),
        ("A2", changed("potential_energy", lambda u: 1.05 * u)),
    ],
    ids=["each particle in another's place", "all move backwards", "five percent of the energy"],
)
def test_right_energies_are_not_enough(tiny: Asked, level: str, spoil: Spoil) -> None:
    """c. npbench, bench_info/nbody.json: ten percent of the norm of two energies; positions are never compared."""

    def nbody(right: list[np.ndarray], got: list[np.ndarray]) -> bool:
        return all(np.linalg.norm(a - b) / np.linalg.norm(a) < 1e-1 for a, b in zip(right, got))

    assert seen_by(nbody, tiny, spoil, "kinetic_energy", "potential_energy")
    verdict = climb(tiny, spoil)
    assert (verdict.level, verdict.passed) == (level, False), verdict.finding


# ---------------------------------------------------------------- d: gradbench


@pytest.fixture
def faint(wave: Asked, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """A wave of a billionth."""
    loud = wave[0].module.disordered_state
    monkeypatch.setattr(wave[0].module, "disordered_state", lambda p: {name: 1e-10 * a for name, a in loud(p).items()})
    return ask(WAVE, "short", 20)


@pytest.mark.parametrize("spoil", [np.zeros_like, with_nan], ids=["nothing but zeros", "a NaN"])
def test_small_numbers_are_compared_with_small_ones(faint: Asked, spoil: Callable) -> None:
    """d. gradbench, comparison.py: the error is over max(1, |x| + |y|), so whatever is below 1e-4 passes; and NaN."""

    def gradbench(right: list[np.ndarray], got: list[np.ndarray]) -> bool:
        pairs = [(x, y) for a, b in zip(right, got) for x, y in zip(a, b)]
        return not any(abs(x - y) / max(1, abs(x) + abs(y)) > 1e-4 for x, y in pairs)

    assert seen_by(gradbench, faint, changed("acceleration", spoil), "acceleration")
    verdict = climb(faint, changed("acceleration", spoil))
    assert (verdict.level, verdict.passed) == ("A2", False)
    if spoil is np.zeros_like:  # and after a step, where the state is compared
        state = climb(faint, lambda f: {**f, "displacement": spoil(f["displacement"])})
        assert (state.level, state.passed) == ("A3", False)


# ---------------------------------------------------------------- e: miniBUDE


@pytest.mark.parametrize("spoil", [lambda u: 2 * u, lambda u: u * np.nan], ids=["twice", "NaN"])
def test_negative_energies_can_fail(tiny: Asked, spoil: Callable) -> None:
    """e. miniBUDE, src/main.cpp (and BUDE.jl): |a - b| / a is negative where a is, and below any tolerance."""

    def minibude(right: list[np.ndarray], got: list[np.ndarray]) -> bool:
        percent = [100 * abs(a - b) / a for r, g in zip(right, got) for a, b in zip(r, g)]
        return not any(p > 0.025 for p in percent)

    assert answers(tiny)["potential_energy"] < -1  # what is smaller is not compared there
    assert seen_by(minibude, tiny, changed("potential_energy", spoil), "potential_energy")
    verdict = climb(tiny, changed("potential_energy", spoil))
    assert (verdict.level, verdict.passed) == ("A2", False)


# ---------------------------------------------------------------- f: JuliaStream


def test_one_piece_of_code_judges_every_language(portbench, tmp_path: Path) -> None:
    """f. BabelStream's drivers are written anew in each language: JuliaStream (Stream.jl) kept the old rule, the mean
    absolute error up to 100 eps, after C++ had gone over to the relative error of each element. A port says nothing of
    its own rightness here: it hands over raw files, and the same fault in two languages gets the same sentence.
    """
    if not shutil.which("cc"):
        pytest.skip("no C compiler (cc) is here")
    eps = np.finfo(float).eps
    right = np.random.default_rng(1).uniform(0.5, 1, 100)
    wrong = right + SHIFT * (np.arange(100) == 37)
    assert np.mean(abs(wrong - right)) <= 100 * eps  # Julia's: passes
    assert np.max(abs(wrong - right) / right) > 100 * eps  # C++'s: does not

    folder = shutil.copytree(WAVE, tmp_path / "wave")
    c, python = (folder / "wave.c").read_text(), (folder / "wave_port.py").read_text()
    before, step, after = c.partition("static void step(Wave *w)\n{\n")
    (folder / "wave.c").write_text(f"{before}{step}    if (w->points == 100) w->u[37] += {SHIFT};\n{after}")
    before, step, after = python.partition("    def step(self):\n")
    (folder / "wave_port.py").write_text(f"{before}{step}        self.u[37 % len(self.u)] += {SHIFT}\n{after}")
    done = portbench("check", "--json", "--quiet", cwd=folder)
    in_python, in_c = json.loads(done.stdout)["certificates"]
    assert done.returncode == 1, done.stderr
    found = [c["verdicts"][-1]["evidence"] for c in (in_python, in_c)]
    for certificate, evidence in zip((in_python, in_c), found):
        assert certificate["finding"].startswith("A3: displacement[37] after 1 step from the state after 1 step is ")
        assert evidence["got"] - evidence["want"] == pytest.approx(SHIFT, rel=1e-3)
    for what in ("field", "index", "step", "from", "want_hex", "tolerance"):
        assert found[0][what] == found[1][what]


# ---------------------------------------------------------------- g: OpenMM


@pytest.mark.parametrize("worst", ["zeros", "nan"])
def test_the_worst_particle_decides(tiny: Asked, worst: str) -> None:
    """g. OpenMM: testInstallation.py looks at the median force error, so nearly half of the atoms may be wrong; and
    ASSERT_EQUAL_VEC of AssertionUtilities.h asks `error > tolerance`, which no NaN is.
    """

    def spoil(fields: Fields) -> Fields:
        fields["force"][:, 1::3] = 0.0 if worst == "zeros" else np.nan
        return fields

    def median(right: list[np.ndarray], got: list[np.ndarray]) -> bool:
        error = np.linalg.norm(right[0] - got[0], axis=-1) / np.linalg.norm(right[0], axis=-1)
        return bool(np.median(error) < 1e-4)

    def vectors(right: list[np.ndarray], got: list[np.ndarray]) -> bool:
        scale = np.maximum(1, np.linalg.norm(right[0], axis=-1, keepdims=True))
        return not np.any(abs(right[0] - got[0]) / scale > 1e-5)

    assert seen_by(median if worst == "zeros" else vectors, tiny, spoil, "force")
    verdict = climb(tiny, spoil)
    assert (verdict.level, verdict.passed) == ("A2", False)
    assert verdict.finding.startswith("saved without a run, force[0, ")


# ---------------------------------------------------------------- h: Mojo-workloads


def test_a_result_in_the_wrong_array_is_seen(wave: Asked) -> None:
    """h. Mojo-workloads, babelStream.mojo: Copy runs from a to b and not to c; nobody looks, so it was published.

    That a port without a certificate gets no figure is shown below, where ports are timed.
    """

    def copied_to_b(fields: Fields) -> Fields:
        return {**fields, "velocity": fields["acceleration"], "acceleration": np.zeros_like(fields["acceleration"])}

    assert seen_by(lambda right, got: True, wave, copied_to_b, "acceleration")  # it ran: that was the rule
    verdict = climb(wave, copied_to_b)
    assert (verdict.level, verdict.passed) == ("A2", False)


# ---------------------------------------------------------------- a, h, i: what is timed, and by which clock

# The first run of a process takes 0.6 s more, as if it were compiled; each step sleeps, as if a device were at work.
SLEEPER = """
import time
import wave_port
from wave_port import about, load, state
compiled = []
def run(simulation, steps):
    if not compiled:
        time.sleep(0.6)
        compiled.append(True)
    time.sleep(0.002 * steps)
    wave_port.run(simulation, steps)
"""
COPIES = """
import numpy as np
import wave_port
from wave_port import about, load, run
def state(wave):
    fields = wave_port.state(wave)
    return {**fields, "acceleration": np.zeros_like(fields["acceleration"])}
"""


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, dict]:
    """A project, the rows of its comparison, and the session."""
    folder = tmp_path_factory.mktemp("timed")
    (folder / "sleeper.py").write_text(SLEEPER)
    (folder / "copies.py").write_text(COPIES)
    right = (HERE / "misbehaving" / "port.py").read_text()
    slow = right.replace("    state = wave.advance", "    time.sleep(0.002 * int(steps))\n        state = wave.advance")
    (folder / "shape.py").write_text(right.replace('MODE == "saves a wrong shape"', "True"))
    (folder / "clock.py").write_text(slow.replace("perf_counter_ns", "process_time_ns"))
    ports = "".join(
        f'[ports.{name}]\nhost = "python"\nmodule = "{name}"\nsources = ["{name}.py"]\nthreads = false\n'
        for name in ("sleeper", "copies")
    ) + "".join(
        f'[ports.{name}]\nhost = "executable"\nrun = ["{sys.executable}", "{folder / name}.py", ""]\n'
        f'sources = ["{name}.py"]\nthreads = false\n'
        for name in ("shape", "clock")
    )
    (folder / "portbench.toml").write_text(
        f"""
[project]
name = "timed"
spec = "wave"
python-path = ["{WAVE}", "."]
[compare]
cases = ["short"]
sample = 0.03
[check]
steps = {{ default = 10 }}
long = {{ default = 20 }}
{ports}
"""
    )
    search = os.pathsep.join([str(WAVE), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "portbench", "compare", "--budget", "0", "--json", "--quiet"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "PYTHONPATH": search},
    )
    assert done.returncode == 1, done.stderr
    said = json.loads(done.stdout)
    return folder, {row["port"]: row for row in said["rows"]}, session.read(folder / said["session"])


def test_a_comparison_that_raises_is_stored_as_failed(timed: tuple) -> None:
    """a. npbench stores `validated` for it. A port without a certificate that holds has no samples at all."""
    _, rows, document = timed
    stored = {c["port"]: c for c in document["certificates"]}
    assert not stored["shape"]["holds"]
    assert "bytes where shape" in rows["shape"]["refusal"]
    certified = {name for name, c in stored.items() if c["holds"]}
    assert {s["port"] for s in document["samples"]} == {"spec", *certified, "sleeper again"}


def test_a_port_that_nobody_validated_gets_no_figure(timed: tuple) -> None:
    """h. Mojo-workloads published one: babelStream.mojo times a Copy into the wrong array."""
    _, rows, _ = timed
    assert rows["copies"]["time"] is None
    assert rows["copies"]["over_spec"] is None
    assert "acceleration" in rows["copies"]["refusal"]


def test_compilation_is_not_in_the_samples_and_sleep_is(timed: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    """i. PRK, PYTHON/stencil-numba.py (and `if k < 1` in others): the timer starts before iteration 0, which compiles,
    and k + 1 iterations are divided by k; its clock is process_time, which does not see a wait for a device.
    """
    folder, _, document = timed
    for path in (WAVE, folder):
        monkeypatch.syspath_prepend(str(path))
    module = importlib.import_module("sleeper")
    specification = contract.load(manifest.read(WAVE / "portbench.toml"))
    parameters = specification.cases(["short"], {})[0].parameters
    simulation, k = module.load(parameters, specification.initial_state(parameters)), 10
    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(k + 1):
        module.run(simulation, 1)
    assert (time.perf_counter() - wall) / k > 0.06  # thirty times what a step takes
    assert (time.process_time() - processor) / k < 0.002  # less than the sleep alone

    mine = session.samples(document).query("port == 'sleeper'")
    assert len(mine) >= 12
    assert mine["ns_per_step"].min() >= 2e6
    assert mine["ns_per_step"].median() < 4e6
    first = [p["nanoseconds"] for p in document["phases"] if (p["port"], p["phase"]) == ("sleeper", "first_call")]
    assert len(first) == 3
    assert min(first) > 0.6e9


def test_a_port_that_counts_processor_time_is_refused(timed: tuple) -> None:
    """i. PRK's clock, in a port that keeps its own: it sleeps, and says that no time went by."""
    _, rows, document = timed
    refusal = rows["clock"]["refusal"]
    assert rows["clock"]["time"] is None
    if "its clock is wrong" in refusal:  # what A0 puts down to a busy machine is seen by the timing
        return
    said = ("it says that its runs took", "or its clock is slow or stands still meanwhile")
    assert any(words in refusal for words in said), refusal
    assert next(c for c in document["certificates"] if c["port"] == "clock")["level"] == ""


# ---------------------------------------------------------------- j, k: who is the oracle

WRONG = """
import wave_port
from wave_port import about, run, state
def load(parameters, state):
    return wave_port.load({**parameters, "speed": parameters["speed"] * (1 + 1e-9)}, state)
"""


def test_nobody_becomes_the_oracle_by_running_first(portbench, tmp_path: Path) -> None:
    """j. pyhpc-benchmarks, run.py: right is what the backend gives that the shuffle puts first; others are warned of.
    k. CLBG, bencher.py: where no expected output lies yet, the first program's is put there.

    Two ports are wrong alike, and one is right. The first finds an empty cache; when they come in the other order, what
    the wrong ones have left there does not help them, and does not harm the right one.
    """
    names = ["wrong", "alike", "right"]
    outputs = dict(zip(names, [np.full(9, 1.001), np.full(9, 1.001), np.ones(9)]))
    accepted = {first: [n for n in names if np.allclose(outputs[n], outputs[first])] for first in names}
    assert accepted["wrong"] == ["wrong", "alike"]  # of pyhpc and of CLBG, if `wrong` runs first

    ports = ""
    for name in names:
        (tmp_path / f"{name}.py").write_text("from wave_port import *" if name == "right" else WRONG)
        ports += f'[ports.{name}]\nhost = "python"\nmodule = "{name}"\nsources = ["{name}.py"]\nthreads = false\n'
    (tmp_path / "portbench.toml").write_text(
        f'[project]\nname = "order"\nspec = "wave"\npython-path = [".", "{WAVE}"]\n'
        f'[compare]\ncases = ["short"]\n[check]\nsteps = {{ default = 10 }}\n{ports}'
    )
    for order in (names, names[::-1]):
        arguments = ("check", "--json", "--quiet", "--ports", ",".join(order))
        done = portbench(*arguments, PORTBENCH_CACHE=str(tmp_path / "cache"))
        certificates = json.loads(done.stdout)["certificates"]
        assert done.returncode == 1, done.stderr
        assert [c["port"] for c in certificates] == order
        assert {c["port"]: c["holds"] for c in certificates} == {name: name == "right" for name in order}


# ---------------------------------------------------------------- l: Microbenchmarks; npbench's summary


def frame(values: np.ndarray) -> pd.DataFrame:
    """Samples of some rounds: one row of `values` each."""
    rounds = np.repeat(np.arange(len(values)), values.shape[1])
    return pd.DataFrame({"round": rounds, "ns_per_unit": values.ravel()})


def test_one_lucky_run_makes_nobody_fast() -> None:
    """l. JuliaLang/Microbenchmarks, numba/perf.py: the least of all runs. Slower in all but one is a tie there."""
    noise = 1 + 0.01 * np.random.default_rng(5).random((2, 6, 15))
    steady, lucky = 10 * noise[0], 20 * noise[1]
    lucky[:, 4] = steady.min()
    assert lucky.min() <= steady.min()
    found = ratio(frame(lucky), frame(steady))
    assert found is not None and not found.tie
    assert found.value == pytest.approx(2, rel=0.02)


def test_no_figure_is_an_average_of_ratios_over_cases() -> None:
    """l. npbench, plot_results.py: the geometric mean of speed-ups over benchmarks names the wrong winner (rule 4 of
    T. Hoefler, R. Belli, SC 2015). Here each figure is of one case, and no other case has any part in it.
    """
    seconds = {"a": np.array([0.001, 100.0]), "b": np.array([0.1, 50.0])}
    speed_up = seconds["b"] / seconds["a"]
    assert np.sqrt(np.prod(speed_up)) > 7  # `a` is seven times faster,
    assert sum(seconds["a"]) > 1.99 * sum(seconds["b"])  # and takes twice as long
    document = session.read(ROOT / "results" / "readme.json")
    every = summary.rows(document)
    assert len({row.case for row in every}) > 1
    for row in every:
        alone = {**document, "samples": [s for s in document["samples"] if s["case"] == row.case]}
        assert row in summary.rows(alone)


def test_the_clock_is_monotonic_and_holds_the_steps_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """l. JuliaLang/Microbenchmarks, numba/perf.py: time.time(), which may be set back, is read before random numbers
    are drawn and after the result is asserted.
    """
    slow = ModuleType("slow_around")
    slow.load = lambda parameters, state: time.sleep(0.1)  # type: ignore[attr-defined]
    slow.run = lambda simulation, steps: time.sleep(0.01 * steps)  # type: ignore[attr-defined]
    slow.state = lambda simulation: time.sleep(0.1) or {}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "slow_around", slow)
    backwards = iter(range(10**6, 0, -1))
    for name in ("time", "time_ns"):
        monkeypatch.setattr(time, name, lambda: next(backwards))
    port = PythonPort("slow_around")

    begin = time.time()
    simulation = port.load({}, {})
    nanoseconds = port.run(simulation, 2)
    port.state(simulation)
    assert time.time() - begin < 0
    assert 20e6 <= nanoseconds < 100e6


def test_a_slow_round_does_not_pass_for_a_slow_port() -> None:
    """l. The median over rounds, each with fresh processes: neither the luckiest nor the unluckiest decides."""
    values = np.full((7, 4), 10.0)
    values[2], values[5] = 1.0, 80.0
    assert median_time(frame(values)).value == 10


# ---------------------------------------------------------------- m: ExaMiniMD


def test_positions_differ_by_the_shortest_way_and_somebody_decides(tiny: Asked) -> None:
    """m. ExaMiniMD, examinimd.cpp: the norm of x - x_ref without the minimum image, printed and judged by nobody."""
    specification, questions = tiny
    parameters = questions.free_run.parameters
    side = parameters["box"][0]
    right = questions.free_run.answers[0].fields["position"].copy()
    right[0, 0, 0] = 0.0
    across, off = right.copy(), right.copy()
    across[0, 0, 0] = np.nextafter(side, 0)  # the same place, seen from the other face
    off[0, 0, 0] = 1e-9
    examinimd = {name: float(np.linalg.norm(x - right)) for name, x in (("across", across), ("off", off))}
    assert examinimd["across"] > 1e9 * examinimd["off"]  # the right port is the worse one

    def judge(position: np.ndarray) -> float:
        answer = Answer(1, {"position": right}, {"position": questions.free_run.answers[0].tolerance["position"]}, {})
        question = Question("here", parameters, questions.free_run.state, [answer])
        fields = {**questions.free_run.state, "position": position}
        with Exchange(Here(specification, lambda f: f), specification) as x:  # type: ignore[arg-type]
            return levels.compare(x, question, answer, fields).ratio

    assert judge(across) < 1
    assert judge(off) > 1000


# ---------------------------------------------------------------- n: NumPy


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_is_equal_to_nothing(wave: Asked, value: float) -> None:
    """n. numpy.testing: assert_allclose passes NaN beside NaN, assert_array_max_ulp too; a specification that ran away
    would certify every port that runs away as well.
    """
    specification, questions = wave
    both = {
        name: np.full(field.shape(questions.free_run.parameters), value) for name, field in specification.fields.items()
    }
    for name in both:
        np.testing.assert_allclose(both[name], both[name])
        np.testing.assert_array_max_ulp(np.atleast_1d(both[name]), np.atleast_1d(both[name]))
    answer = Answer(0, both, questions.kernel[0].answers[0].tolerance, {})
    question = Question("nothing", questions.free_run.parameters, questions.free_run.state, [answer])
    with Exchange(Here(specification, lambda f: f), specification) as x:  # type: ignore[arg-type]
        assert levels.compare(x, question, answer, both).ratio == math.inf
    verdict = climb(wave, lambda fields: {name: np.full_like(a, value) for name, a in fields.items()})
    assert (verdict.level, verdict.passed) == ("A2", False)


# ---------------------------------------------------------------- o: Numba

# Each bond of the ring pulls at both its ends; two threads that add to the same point at once lose a pull.
RACE = """
import numba
import numpy as np

def about():
    return {"version": numba.__version__, "threads": numba.get_num_threads()}

@numba.njit(parallel=True, cache=True)
def accelerate(u, a, bonds, rate):
    a[:] = 0.0
    for b in numba.prange(len(bonds)):
        i = bonds[b]
        j = i + 1 if i + 1 < len(u) else 0
        pull = rate * (u[j] - u[i])
        a[i] += pull
        a[j] -= pull

class Ring:
    def __init__(self, p, s):
        if p["ends"] != "ring" or not 0 < p["speed"] * p["dt"] <= p["spacing"]:
            raise ValueError("this is for rings, and steps that are short enough")
        self.p, self.u, self.v = p, s["displacement"].copy(), s["velocity"].copy()
        self.a = np.zeros_like(self.u)
        self.bonds = np.random.default_rng(2).permutation(len(self.u))
        self.evaluate()

    def evaluate(self):
        accelerate(self.u, self.a, self.bonds, (self.p["speed"] / self.p["spacing"]) ** 2)

def load(parameters, state):
    return Ring(parameters, state)

def run(ring, steps):
    dt = ring.p["dt"]
    ring.evaluate()
    for _ in range(steps):
        ring.v += 0.5 * dt * ring.a
        ring.u += dt * ring.v
        ring.evaluate()
        ring.v += 0.5 * dt * ring.a

def state(ring):
    slope = np.diff(ring.u, append=ring.u[:1]) / ring.p["spacing"]
    energy = 0.5 * ring.p["spacing"] * (ring.v @ ring.v + ring.p["speed"] ** 2 * (slope @ slope))
    return {"displacement": ring.u, "velocity": ring.v, "acceleration": ring.a, "energy": np.array(energy)}
"""


@LONG
def test_a_race_of_numba_is_found(portbench, tmp_path: Path) -> None:
    """o. Numba's prange is silently wrong where threads write to one array (numba #9829, #9938, #4922); published in
    JulesKouatchou/basic_language_comparison #19, where only one run on one thread was ever looked at.
    """
    if not importlib.util.find_spec("numba"):
        pytest.skip("the Python package numba is not installed")
    if len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)) < 2:
        pytest.skip("there is one core: its threads take turns")
    (tmp_path / "race.py").write_text(RACE)
    (tmp_path / "portbench.toml").write_text(
        f"""
[project]
name = "race"
spec = "wave"
python-path = [".", "{WAVE}"]
[compare]
cases = ["ring"]
[check]
steps = {{ default = 50 }}
long = {{ default = 0 }}
[cases.ring]
points = 4000
length = 1.0
speed = 1.0
dt = 0.0001
ends = "ring"
[ports.race]
host = "python"
module = "race"
sources = ["race.py"]
precision = "float64-fast"
"""
    )
    done = portbench("races", "--threads", "1,2", "--runs", "40", "--json", "--quiet")
    assert done.returncode == 1, done.stderr
    hunt = json.loads(done.stdout)["hunts"][0]
    assert hunt["differing"]["1"] == 0  # nobody who looks at one thread sees anything
    assert hunt["differing"]["2"] > 0
    assert hunt["verdict"] == "data race"
    assert hunt["ratio"] > 1000

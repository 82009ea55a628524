"""Against what rounding errors are measured, whatever the sign and the form of a derived field."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from portbench import contract, manifest
from portbench.agreement import reference
from portbench.agreement.condition import condition
from portbench.agreement.reference import Oracle, Reference
from portbench.agreement.twins import CLASSES

SPEC = """
import numpy as np
NAME = "waves"
STATE = {{"u": {{"shape": ("n",), "unit": "1", "scale": {scale}}}}}
DERIVED = {{{derived}}}
WORK = ("n",)
CASES = {{"small": {{"n": 40}}}}
def parameters(*, n): return {{"n": n}}
def check_state(p, s): pass
def initial_state(p):
    x = np.arange(p["n"]) / p["n"]
    return {{"u": {start}}}
def advance(p, s, steps, add=np.sum):
    u = s["u"]
    for _ in range(steps):
        u = {step}
    return {{"u": u}}
def observe(p, s, add=np.sum):
    u = s["u"]
    return {{{observed}}}
"""
SMOOTH = "1 + 1e-3 * np.sin(2 * np.pi * x)"
LAPLACIAN = "np.roll(u, 1) + np.roll(u, -1) - 2 * u"
_names = (f"waves_{k}" for k in itertools.count())


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTBENCH_CACHE", str(tmp_path / "cache"))


def project(
    folder: Path,
    field: str,
    shape: str = '"n",',
    start: str = "np.sin(7 * x + 1)",
    step: str = "u * 0.99",
    scale: float = 1.0,
) -> manifest.Manifest:
    """With one derived field d, as this expression gives it; without any, if it is empty."""
    name = next(_names)
    derived = f'"d": {{"shape": ({shape}), "unit": "1"}}' if field else ""
    text = SPEC.format(derived=derived, observed=f'"d": {field}' if field else "", start=start, step=step, scale=scale)
    (folder / f"{name}.py").write_text(text)
    state = f'{{"u": sim["u"]{", " if field else ""}' + (f'"d": {field}' if field else "") + "}"
    (folder / "port.py").write_text(
        "import numpy as np\nadd = np.sum\n"
        'def load(p, s): return {"u": s["u"].copy()}\n'
        f'def run(sim, steps):\n    for _ in range(steps):\n        u = sim["u"]\n        sim["u"] = {step}\n'
        f'def state(sim):\n    u = sim["u"]\n    return {state}\n'
    )
    (folder / "portbench.toml").write_text(
        f'[project]\nname = "waves"\nspec = "{name}"\n[check]\nsteps = {{ default = 20 }}\n'
        '[ports.right]\nhost = "python"\nmodule = "port"\nsources = ["port.py"]\nthreads = false\n'
    )
    return manifest.read(folder / "portbench.toml")


def ask(found: manifest.Manifest, precision: str = "float64") -> Reference:
    specification = contract.load(found)
    case = specification.cases(["small"], {})[0]
    return reference.make(Oracle(found, specification), case, CLASSES[precision], 20)


@pytest.mark.parametrize(
    ("field", "shape", "want"),
    [
        ("add(u, axis=0)", "", "np.sum(np.abs(u))"),
        ("-add(u * u, axis=0)", "", "np.sum(u * u)"),
        ("np.sqrt(add(u * u, axis=0))", "", "np.sqrt(np.sum(u * u))"),
        ("-3 * u", '"n",', "3 * np.abs(u)"),
        ("np.sin(u)", '"n",', "np.abs(u * np.cos(u))"),
        ("add(np.stack([u, -np.roll(u, 1)]), axis=0)", '"n",', "np.abs(u) + np.abs(np.roll(u, 1))"),
        ("u - np.roll(u, 1)", '"n",', "np.abs(u) + np.abs(np.roll(u, 1))"),
        ("1 + u - add(u, axis=0) / u.size", '"n",', "np.abs(u)"),
        ("add(u[:20] ** 2, axis=0) - add(u[20:] ** 2, axis=0)", "", "np.sqrt(np.sum(u ** 4))"),
        (LAPLACIAN, '"n",', "4 * np.abs(u)"),
    ],
)
@pytest.mark.parametrize("start", ["np.sin(7 * x + 1)", SMOOTH])
def test_it_is_the_size_of_the_terms(tmp_path: Path, field: str, shape: str, want: str, start: str) -> None:
    """Within a few times: of what is not summed by add, no more than that can be known."""
    specification = contract.load(project(tmp_path, field, shape, start))
    parameters = specification.cases(["small"], {})[0].parameters
    state = specification.initial_state(parameters)
    found = condition(specification, parameters, state)["d"]
    size = eval(want, {"np": np, "u": state["u"]})
    assert np.all(found >= 0.04 * size)
    assert np.all(found <= 4 * size + 1.1 * np.abs(specification.observe(parameters, state)["d"]))


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_what_is_not_summed_by_add_can_be_asked_and_errors_are_seen(tmp_path: Path, precision: str) -> None:
    """A smooth field on a fine grid: its curvature is the small rest of large numbers, of which rounding takes much."""
    asked = ask(project(tmp_path, LAPLACIAN, start=SMOOTH), precision)
    question = asked.kernel[0]
    assert asked.silent == ()
    answer, number = question.answers[0], np.dtype(CLASSES[precision].dtype).type
    u = question.state["u"].astype(number)
    another_way = (np.roll(u, 1) - u) - (u - np.roll(u, -1))
    terms_scaled = (np.roll(u, 1) * number(0.1) + np.roll(u, -1) * number(0.1) - u * number(0.2)) / number(0.1)
    for right in (another_way, terms_scaled):
        assert np.all(np.abs(right - answer.fields["d"]) <= answer.tolerance["d"])
    wrong = answer.fields["d"] + 1e3 * CLASSES[precision].eps * np.abs(u)
    assert np.all(np.abs(wrong - answer.fields["d"]) > answer.tolerance["d"])


@pytest.mark.parametrize("field", ["-add(u * u, axis=0) * np.ones_like(u)", "u - np.roll(u, 1)"])
def test_a_right_port_is_certified(portbench, tmp_path: Path, field: str) -> None:
    """And the level shown is the last at which something was asked."""
    project(tmp_path, field)
    done = portbench("check", "--json", "--quiet")
    assert done.returncode == 0, done.stdout + done.stderr
    certificate = json.loads(done.stdout)["certificates"][0]
    assert (certificate["level"], certificate["holds"], certificate["horizon"]) == ("A4", True, 20)
    assert certificate["finding"] == "A5 asked nothing: the specification declares no invariants"


def test_without_derived_fields(portbench, tmp_path: Path) -> None:
    project(tmp_path, "")
    done = portbench("check", "--json", "--quiet")
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = {v["level"]: v for v in json.loads(done.stdout)["certificates"][0]["verdicts"]}
    assert [level for level, v in verdicts.items() if not v["asked"]] == ["A2", "A5"]
    assert verdicts["A2"]["finding"] == "A2 asked nothing: the specification has no derived fields"


@pytest.mark.parametrize(
    ("field", "start", "step", "scale", "words"),
    [
        (
            "np.floor(u * 1e15) % 2",
            "1 + x",
            "u * 0.99",
            1.0,
            ["A2", "specification's d by", "the disordered state", "add("],
        ),
        ("u", "1 + x", "np.sin(1e13 * u)", 1.0, ["A3", "specification's u by", "smaller time step"]),
    ],
)
def test_where_nothing_can_be_proved_field_state_and_remedy_are_named(
    portbench, tmp_path: Path, field: str, start: str, step: str, scale: float, words: list[str]
) -> None:
    project(tmp_path, field, '"n",', start, step, scale)
    done = portbench("check", "--json", "--quiet")
    finding = json.loads(done.stdout)["certificates"][0]["finding"]
    assert done.returncode == 1
    for word in [*words, "nothing can be proved, of this port or any other"]:
        assert word in finding

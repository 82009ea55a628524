"""A state that a running port gives back otherwise than it was given is named by A0, before anything is run."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from portbench import contract, hosts, manifest
from portbench.agreement import levels
from portbench.agreement.twins import CLASSES
from portbench.contract import Specification
from portbench.errors import PortFailure
from portbench.protocol import Exchange

GRID = """
import numpy as np
NAME = "two fields on a grid"
STATE = {name: {"shape": ("rows", "columns")} for name in ("height", "speed")}
DERIVED = {"total": {"shape": ()}}
WORK = ("rows", "columns")
CASES = {"oblong": {}, "square": {"rows": 6, "columns": 6}}
def parameters(*, rows=4, columns=6, slip="none"):
    return {"rows": rows, "columns": columns, "slip": slip}
def check_state(p, s):
    pass
def initial_state(p):
    random = np.random.default_rng(3)
    return {name: random.uniform(0.5, 1.5, (p["rows"], p["columns"])) for name in STATE}
def advance(p, s, steps, add=np.sum):
    height = s["height"]
    for _ in range(steps):
        height = height + 0.01 * s["speed"]
    return {"height": height, "speed": s["speed"]}
def observe(p, s, add=np.sum):
    return {"total": np.array(add(s["height"].reshape(-1), axis=0))}
"""
# Right in all but how it gives its state back, of which a parameter says how.
PORT = """
import numpy as np
import grid
SLIPS = {
    "none": lambda s: s,
    "another-form": lambda s: {n: a / 0.007 * 0.007 for n, a in s.items()},
    "float32": lambda s: {n: a.astype("float32").astype(float) for n, a in s.items()},
    "one-in-float32": lambda s: {**s, "speed": s["speed"].astype("float32").astype(float)},
    "transposed": lambda s: {n: a.T.copy() for n, a in s.items()},
    "column-major": lambda s: {n: a.ravel("F").reshape(a.shape) for n, a in s.items()},
    "swapped": lambda s: {"height": s["speed"], "speed": s["height"]},
    "one-in-the-other": lambda s: {**s, "speed": s["height"]},
    "big-endian": lambda s: {n: a.byteswap() for n, a in s.items()},
    "one-number": lambda s: {**s, "height": s["height"] + 1e-13 * (s["height"] == s["height"][0, 5])},
}
def load(p, s):
    return [p, {n: a.copy() for n, a in s.items()}]
def run(x, steps):
    x[1] = grid.advance(x[0], x[1], steps)
def state(x):
    return SLIPS[x[0]["slip"]](x[1]) | grid.observe(*x)
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Exchange, Specification]]:
    """One process serves all: its slip is a parameter of what is loaded."""
    folder = tmp_path_factory.mktemp("grid")
    (folder / "grid.py").write_text(GRID)
    (folder / "grid_port.py").write_text(PORT)
    (folder / "portbench.toml").write_text(
        '[project]\nname = "grid"\nspec = "grid"\npython-path = ["."]\n'
        '[ports.echo]\nhost = "python"\nmodule = "grid_port"\nsources = ["grid_port.py"]\nthreads = false\n'
    )
    found = manifest.read(folder / "portbench.toml")
    specification = contract.load(found)
    with Exchange(hosts.start(hosts.prepare(found, found.ports["echo"]), 1, 60), specification) as x:
        yield x, specification


def contract_of(running: tuple[Exchange, Specification], case: str, slip: str) -> levels.Verdict:
    x, specification = running
    (asked,) = specification.cases(["it"], {"it": {"base": case, "slip": slip}})
    start = SimpleNamespace(
        parameters=asked.parameters, state=specification.initial_state(asked.parameters), answers=[]
    )
    return levels.a0_contract(x, SimpleNamespace(free_run=start, precision=CLASSES["float64"]), 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("case", "slip", "words"),
    [
        ("oblong", "float32", "height came back rounded to float32: height[0, 0] was given as"),
        ("oblong", "one-in-float32", "speed came back rounded to float32: speed[0, 0] was given as"),
        ("square", "transposed", "height came back transposed: height[0, 1] was given as"),
        ("oblong", "column-major", "height came back in column-major (Fortran) order: height[0, 1] was given as"),
        ("square", "column-major", "height came back transposed: height[0, 1] was given as"),
        ("oblong", "swapped", "height came back swapped with the speed: height[0, 0] was given as"),
        ("oblong", "one-in-the-other", "speed came back as the height: speed[0, 0] was given as"),
        ("oblong", "big-endian", "height came back with its bytes in the other order (big-endian): height[0, 0] was"),
        ("oblong", "one-number", "height came back with only 13 digits that are right, in 1 of 24 numbers: height[0, "),
    ],
)
def test_it_is_named(running: tuple[Exchange, Specification], case: str, slip: str, words: str) -> None:
    found = contract_of(running, case, slip)
    assert (found.level, found.passed) == ("A0", False)
    assert found.finding.startswith(words), found.finding


@pytest.mark.parametrize("slip", ["none", "another-form"])
@pytest.mark.parametrize("case", ["oblong", "square"])
def test_a_state_that_comes_back_to_its_last_bits_is_no_slip(
    running: tuple[Exchange, Specification], case: str, slip: str
) -> None:
    found = contract_of(running, case, slip)
    assert found.passed, found.finding


def test_a_shape_that_is_another_is_said(running: tuple[Exchange, Specification]) -> None:
    with pytest.raises(PortFailure, match=r"height has shape \(6, 4\) where the specification says \(4, 6\)"):
        contract_of(running, "oblong", "transposed")

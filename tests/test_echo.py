"""A state that a running port gives back otherwise than it was given is named by A0, before anything is run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
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


SQUARE = """
import numpy as np

NAME = "heat"
STATE = {"u": {"shape": ("n", "n"), "scale": 1.0}}
DERIVED = {"total": {"shape": ()}}
WORK = ("n", "n")
CASES = {"plate": {}}


def parameters(*, n=12):
    return {"n": n}


def check_state(p, s):
    pass


def initial_state(p):
    u = np.ones((p["n"], p["n"]))
    u[4:8, 4:8] = 0.5
    return {"u": u}


def advance(p, s, steps, add=np.sum):
    u = s["u"]
    for _ in range(steps):
        u = u + 0.1 * (np.roll(u, 1, 0) + np.roll(u, -1, 0) + np.roll(u, 1, 1) + np.roll(u, -1, 1) - 4 * u)
    return {"u": u}


def observe(p, s, add=np.sum):
    return {"total": np.array(add(s["u"]))}
"""
PORT_OF_SQUARE = """
import heat


def load(p, s):
    return {"p": p, "s": {"u": s["u"].copy()}}


def run(simulation, steps):
    simulation["s"] = heat.advance(simulation["p"], simulation["s"], steps)


def state(simulation):
    return simulation["s"] | heat.observe(simulation["p"], simulation["s"])
"""


def test_a_start_that_is_its_own_transpose_hides_no_transposed_port(portbench: Callable, tmp_path: Path) -> None:
    """Of a specification with no other states than the square in the middle that everyone begins with."""
    table = 'host = "python"\nthreads = false\nsources = []\n'.replace("[]", '["{0}.py"]') + 'module = "{0}"\n'
    ports = "".join(f"[ports.{name}]\n" + table.format(name) for name in ("right", "turned"))
    (tmp_path / "portbench.toml").write_text('[project]\nname = "heat"\nspec = "heat"\n' + ports)
    (tmp_path / "heat.py").write_text(SQUARE)
    (tmp_path / "right.py").write_text(PORT_OF_SQUARE)
    (tmp_path / "turned.py").write_text(PORT_OF_SQUARE.replace('s["u"].copy()', 's["u"].T.copy()'))
    done = portbench("check", "--json", "--quiet")
    assert done.stdout, done.stderr
    found = {c["port"]: c for c in json.loads(done.stdout)["certificates"]}
    assert found["right"]["holds"], found["right"]["finding"]
    assert not found["turned"]["holds"]
    assert "u came back transposed" in found["turned"]["finding"]

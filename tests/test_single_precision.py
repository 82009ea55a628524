"""The NumPy and the Numba port, given float32, compute in float32 and as well as float32 can."""

from __future__ import annotations

import importlib
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from conftest import LONG, need

from particles import spec
from portbench.manifest import Manifest

EPSILON = float(np.finfo(np.float32).eps)
STATES = {
    name: (parameters, spec.disordered_state(parameters))
    for name in ("tiny", "liquid-500", "walls-500")
    for parameters in [spec.parameters(**spec.CASES[name])]
} | spec.probes()


def single(state: dict) -> dict:
    return {name: np.ascontiguousarray(array, np.float32) for name, array in state.items()}


def rounding(parameters: dict, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far float32 may be off the force, in units of its epsilon; and who has a pair too near to the cutoff to tell.

    Each pair force is a difference of two large terms; and across the boundary, a vector between two
    particles is as uncertain as the side of the box, which the force feels as its 14th power.
    """
    side = np.array(parameters["box"])[:, None, None]
    bound, unclear = np.empty_like(x), np.zeros(len(x), bool)
    for rows, d, r2, near in spec.pairs(parameters, x):
        across = side * (np.abs(x.T[:, rows, None] - x.T[:, None] - d) > side / 2)
        r2 = np.where(near, r2, 1.0)
        terms = np.where(near, 24 * (2 / r2**6 + 1 / r2**3) / r2, 0.0)
        d = np.abs(d)
        bound[rows] = np.sum(terms * (d + across + 14 * d * np.sum(d * across, axis=0) / r2), axis=-1).T
        unclear[rows] = np.any(np.abs(np.sqrt(r2) - parameters["cutoff"]) < 8 * EPSILON * side.max(), axis=-1)
    return bound, unclear


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("port", ["numpy", "numba"])
def test_forces_are_right_but_for_rounding(port: str, state: str, bundled: Manifest) -> None:
    """At load, and after a step: on the positions that the port returns, which are within the box."""
    need(bundled, port)
    module = importlib.import_module(bundled.ports[port].module)
    parameters, start = STATES[state]
    simulation = module.load(parameters, single(start))
    for steps in (0, 1):
        module.run(simulation, steps)
        got = module.state(simulation)
        assert {a.dtype for a in got.values()} == {np.dtype(np.float32)}
        assert np.all((got["position"] >= 0) & (got["position"] <= np.array(parameters["box"], np.float32)))
        for x, force in zip(got["position"].astype(float), got["force"]):
            bound, unclear = rounding(parameters, x)
            off = np.abs(force - spec.forces(parameters, x))
            assert np.all((off <= 16 * EPSILON * bound) | unclear[:, None]), (steps, np.max(off))


@pytest.mark.parametrize(
    "modules",
    [
        pytest.param(["port_numba"], id="plain"),
        pytest.param(["port_numba_simd", "port_numba_clusters"], id="tuned", marks=LONG),
    ],
)
def test_numba_compiles_no_float64_into_single_precision(
    modules: list[str], bundled: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in a later run either, which gets back what compiled code returned."""
    need(bundled, "numba")
    # Of what comes from the cache Numba does not say what it calls.
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    with ProcessPoolExecutor(1, get_context("spawn")) as alone:  # where nothing is compiled for double precision
        compiled = alone.submit(signatures_in_single_precision, modules).result()
    seen = {name for name, types in compiled if "float32" in types}
    assert {"advance", "sort_particles", "list_neighbours", "forces", "kick" if len(modules) == 1 else "pull"} <= seen
    assert not [(name, types) for name, types in compiled if "float32" in types and "float64" in types]


def signatures_in_single_precision(names: list[str]) -> list[tuple[str, str]]:
    """Names and types of what is compiled in some runs of the port in the last of these modules."""
    modules = [importlib.import_module(f"particles.{name}") for name in names]
    parameters, start = STATES["tiny"]
    simulation = modules[-1].load(parameters, single(start))
    for _ in range(3):
        modules[-1].run(simulation, 40)
    assert {array.dtype for array in modules[-1].state(simulation).values()} == {np.dtype(np.float32)}
    functions = {name: f for module in modules for name, f in vars(module).items()}
    return [(name, str(types)) for name, f in functions.items() for types in getattr(f, "signatures", [])]

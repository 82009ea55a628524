"""The vector layer of the tuned Numba port, against NumPy; and that its arrays grow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba")

import numba

from particles import port_numba_simd as port
from particles import spec
from particles.vectors import LANES, at, compress_store, load_of, select, shuffle_of, splat_of, store

load = load_of(LANES)
splat = splat_of(LANES)
reverse = shuffle_of(*reversed(range(LANES)))
mixed = shuffle_of(*range(0, 2 * LANES, 2))


@numba.njit(error_model="numpy")
def arithmetic(a, b, out):
    x, y = load(a, 0), load(b, 1)
    results = ((x + y) * 2.0 - 1.0 / y, select(x < y, x, splat(7.0)), reverse(x, y), mixed(x, y), x - x * at(a, 3))
    for k in numba.literal_unroll(results):
        store(out, 0, k)
        out = out[LANES:]


def test_vectors_compute_what_numpy_does() -> None:
    draw = np.random.default_rng(1)
    a, b, out = draw.random(LANES), draw.random(LANES + 1), np.zeros(6 * LANES)
    arithmetic(a, b, out)
    x, y = a, b[1:]
    want = [(x + y) * 2 - 1 / y, np.where(x < y, x, 7), x[::-1], np.concatenate([x, y])[::2], x - x * a[3]]
    assert np.array_equal(out[: 5 * LANES].reshape(5, LANES), want)
    assert not out[5 * LANES :].any()  # nothing is written beyond


@numba.njit
def pack(numbers, kept, to):
    return compress_store(to, 3, load(numbers, 0), load(kept, 0) != splat(np.uint32(0)))


def test_packing_keeps_what_the_mask_says_in_order() -> None:
    """For every mask; and it writes no farther than a whole vector."""
    numbers = np.arange(100, 100 + LANES, dtype=np.uint32)
    for mask in range(2**LANES):
        kept = np.array([mask >> k & 1 for k in range(LANES)], dtype=np.uint32)
        to = np.full(LANES + 8, 9, dtype=np.uint32)
        count = pack(numbers, kept, to)
        assert count == kept.sum()
        assert np.array_equal(to[3 : 3 + count], numbers[kept == 1])
        assert (to[:3] == 9).all()
        assert (to[3 + LANES :] == 9).all()


@numba.njit(error_model="numpy")
def add_up(a, out):
    store(out, 0, port.sums(load(a, 0), load(a, LANES), load(a, 2 * LANES)))


def test_sums_are_a_row() -> None:
    a, out = np.arange(3.0 * LANES) ** 2, np.zeros(4)
    add_up(a, out)
    assert np.array_equal(out, [*a.reshape(3, LANES).sum(axis=1), 0])


@pytest.mark.parametrize("boundary", ["periodic", "walls"])
def test_arrays_that_are_too_small_grow_and_lose_nothing(boundary: str) -> None:
    parameters = spec.parameters(**{**spec.CASES["tiny"], "boundary": boundary})
    state = spec.initial_state(parameters)
    whole = port.load(parameters, state)
    small = port.make(parameters, state["position"][0], state["velocity"][0])
    room = small.n + 3
    small = small._replace(
        x=port.rows(room),
        shift=port.rows(room),
        source=small.source[:room].copy(),
        cell=small.cell[:room].copy(),
        inside=small.inside[: room + LANES].copy(),
        sorted=np.ascontiguousarray(small.sorted[:, : room + LANES]),
        neighbours=np.zeros(small.n * 2 * LANES, np.uint32),
    )
    small.x.reshape(room, 4)[: small.n, :3] = state["position"][0]
    small = [port.advance(small, 0)]
    for steps in (0, 40):
        port.run(whole, steps)
        port.run(small, steps)
        for name, array in port.state(whole).items():
            assert np.array_equal(array, port.state(small)[name]), name


def test_all_of_it_with_four_lanes(tmp_path: Path) -> None:
    """As on a processor without AVX-512."""
    without = "import llvmlite.binding as b, pytest, sys; b.get_host_cpu_features = b.targets.FeatureMap"
    code = f"{without}; sys.exit(pytest.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, __file__, "-q", "-p", "no:cacheprovider", "-k", "not four_lanes"]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=250)
    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout

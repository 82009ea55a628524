"""The vector layer of the tuned Numba ports, against NumPy; and that their arrays grow and their lists are whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import LONG, assert_nobody_is_out_of_reach, assert_same_motion

pytest.importorskip("numba")

import numba

from particles import port_numba_clusters as clusters
from particles import port_numba_simd as lists
from particles import spec
from particles.vectors import LANES, LANES_32, at, bits, compress_store, load_of, select, shuffle_of, splat_of, store

PORTS = {"numba-simd": (lists, np.float64), "numba-simd-f32": (clusters, np.float32)}
both_ports = pytest.mark.parametrize(("port", "number"), PORTS.values(), ids=PORTS)
both_boundaries = pytest.mark.parametrize("boundary", ["periodic", "walls"])
load = load_of(LANES)


@pytest.mark.parametrize(("number", "lanes"), [(np.float64, LANES), (np.float32, LANES_32)])
def test_vectors_compute_what_numpy_does(number: type, lanes: int) -> None:
    load, splat = load_of(lanes), splat_of(lanes)
    reverse, mixed = shuffle_of(*reversed(range(lanes))), shuffle_of(*range(0, 2 * lanes, 2))

    @numba.njit(error_model="numpy")
    def arithmetic(a, b, out):
        x, y, seven = load(a, 0), load(b, 1), splat(a.dtype.type(7))
        results = ((x + y) * 2.0 - 1.0 / y, select(x < y, x, seven), reverse(x, y), mixed(x, y), x - x * at(a, 3))
        for k in numba.literal_unroll(results):
            store(out, 0, k)
            out = out[lanes:]
        return bits(x < y)

    draw = np.random.default_rng(1)
    a, b, out = (draw.random(count).astype(number) for count in (lanes, lanes + 1, 6 * lanes))
    beyond = out[5 * lanes :].copy()
    x, y = a, b[1:]
    assert arithmetic(a, b, out) == sum(1 << k for k in range(lanes) if x[k] < y[k])
    want = [(x + y) * 2 - 1 / y, np.where(x < y, x, 7), x[::-1], np.concatenate([x, y])[::2], x - x * a[3]]
    assert np.array_equal(out[: 5 * lanes].reshape(5, lanes), want)
    assert np.array_equal(out[5 * lanes :], beyond)  # nothing is written there


@pytest.mark.parametrize("lanes", [LANES, LANES_32])
def test_packing_keeps_what_the_mask_says_in_order(lanes: int) -> None:
    """And it writes no farther than a whole vector."""
    load, splat = load_of(lanes), splat_of(lanes)

    @numba.njit
    def pack(numbers, kept, to):
        return compress_store(to, 3, load(numbers, 0), load(kept, 0) != splat(np.uint32(0)))

    numbers = np.arange(100, 100 + lanes, dtype=np.uint32)
    for mask in {0, 2**lanes - 1, *np.random.default_rng(1).integers(0, 2**lanes, 300)}:
        kept = np.array([mask >> k & 1 for k in range(lanes)], dtype=np.uint32)
        to = np.full(lanes + 8, 9, dtype=np.uint32)
        count = pack(numbers, kept, to)
        assert count == kept.sum()
        assert np.array_equal(to[3 : 3 + count], numbers[kept == 1])
        assert (to[:3] == 9).all()
        assert (to[3 + lanes :] == 9).all()


@numba.njit(error_model="numpy")
def add_up(a, out):
    store(out, 0, lists.sums(load(a, 0), load(a, LANES), load(a, 2 * LANES)))


def test_sums_are_a_row() -> None:
    a, out = np.arange(3.0 * LANES) ** 2, np.zeros(4)
    add_up(a, out)
    assert np.array_equal(out, [*a.reshape(3, LANES).sum(axis=1), 0])


@numba.njit
def transpose(x, c, out):
    for k, coordinates in enumerate(clusters.members(x, c)):
        store(out, k * LANES_32, coordinates)


def test_members_of_a_cluster_are_once_in_each_neighbours_lanes() -> None:
    x, out = lists.rows(16, np.float32), np.zeros((3, LANES_32), np.float32)
    x[:] = np.arange(64)
    transpose(x, 1, out.reshape(-1))
    assert np.array_equal(out, np.tile(x.reshape(16, 4)[8:, :3].T, clusters.AT_ONCE))


@both_boundaries
@both_ports
def test_arrays_that_are_too_small_grow_and_lose_nothing(port: ModuleType, number: type, boundary: str) -> None:
    parameters = spec.parameters(**{**spec.CASES["tiny"], "boundary": boundary})
    state = {name: array.astype(number) for name, array in spec.initial_state(parameters).items()}
    whole = port.load(parameters, state)
    small = port.make(parameters, state["position"][0], state["velocity"][0])
    room = small.n + lists.SPARE + 3
    small = small._replace(
        x=lists.rows(room, number),
        shift=lists.rows(room, number),
        source=small.source[:room].copy(),
        cell=small.cell[:room].copy(),
        inside=small.inside[: room + LANES_32].copy(),
        sorted=np.ascontiguousarray(small.sorted[:, : room + LANES_32]),
        neighbours=small.neighbours[:, : 4 * LANES_32].copy(),
    )
    small.x.reshape(room, 4)[: small.n, :3] = state["position"][0]
    assert_same_motion(port, whole, small)


@pytest.mark.parametrize("n", [1, 2, 3, 8, 9, 500])
@both_boundaries
@both_ports
def test_lists_hold_all_within_reach_once_and_no_others(port: ModuleType, number: type, boundary: str, n: int) -> None:
    parameters = {"boxes": 1, "box": [7, 8, 9], "cutoff": 2.5, "dt": 0.005, "boundary": boundary}
    x = (np.random.default_rng(n).random((n, 3)) * parameters["box"]).astype(number)
    s = port.rebuild(port.make(parameters, x, np.zeros_like(x)))
    total, reach = s.total[0], 2.5 + lists.SKIN
    x = s.x.reshape(-1, 4)[:total, :3].astype(float)
    apart = np.linalg.norm(x[:, None] - x, axis=2)
    np.fill_diagonal(apart, np.inf)
    assert total > n if boundary == "periodic" and n > 3 else total >= n
    for number_of_list, (begin, count) in enumerate(zip(s.start, s.count)):
        mine = s.neighbours.reshape(-1)[begin : begin + count] // 4
        mine = mine[mine < total]  # without nobody
        some = np.arange(total)[number_of_list * s.members :][: s.members]
        assert len(set(mine)) == len(mine)
        assert set(np.flatnonzero((apart[some[some < n]] < reach - 1e-6).any(axis=0))) <= set(mine)
        others = np.setdiff1d(mine, some) if s.members > 1 else mine
        assert (apart[np.ix_(some, others)].min(axis=0) < reach + 1e-5).all()


@both_boundaries
@both_ports
def test_nobody_is_out_of_reach_and_his_force_does_not_underflow(port: ModuleType, number: type, boundary: str) -> None:
    parameters = {"boxes": 1, "box": [30, 33, 36], "cutoff": 2.5, "dt": 0.005, "boundary": boundary}
    x = (np.random.default_rng(1).random((500, 3)) * parameters["box"]).astype(number)
    s = port.rebuild(port.make(parameters, x, np.zeros_like(x)))
    assert_nobody_is_out_of_reach(s.x.reshape(-1, 4)[s.total[0], :3], parameters["box"], 2.5 + lists.SKIN)


@both_ports
def test_who_is_fetched_ahead_is_about_the_farthest_in_sight(port: ModuleType, number: type) -> None:
    """Of a box with more slabs than columns in each: a little beyond the last particle that one sees."""
    s = port.rebuild(disordered(port, number, **{**spec.CASES["melt-4k"], "cells": [16, 9, 8]}))
    column = s.n / (s.columns[0] * s.columns[1])
    listed = [
        s.neighbours.reshape(-1)[begin : begin + count].astype(int) // 4 for begin, count in zip(s.start, s.count)
    ]
    farthest = max(mine[mine < s.n].max() - s.members * k for k, mine in enumerate(listed))
    assert -2 * column < s.ahead - farthest < 3 * column
    assert disordered(port, number, **spec.CASES["tiny"]).ahead == 0  # where all are in sight


def disordered(port: ModuleType, number: type, **parameters) -> lists.System:
    """A System not yet advanced."""
    made = spec.parameters(**parameters)
    state = spec.disordered_state(made)
    return port.make(made, *(state[name][0].astype(number) for name in ("position", "velocity")))


@LONG
def test_all_of_it_with_four_lanes(tmp_path: Path) -> None:
    """As on a processor without AVX-512."""
    command = [sys.executable, "-m", "pytest", __file__, "-q", "-p", "no:cacheprovider", "-k", "not four_lanes"]
    generic = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}  # of what a processor of this family has at least
    environment = {**os.environ, **generic, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=250)
    assert done.returncode == 0, done.stdout
    assert "40 passed" in done.stdout

"""Parts of plain Numba's port against what is known of them; test_vectors.py has those of the tuned ones."""

import numpy as np
import pytest
from conftest import assert_nobody_is_out_of_reach, assert_same_motion

from particles import spec

pytest.importorskip("numba", reason="Numba is not installed: pip install -e '.[ports]'")
from particles import port_numba as port

both_precisions = pytest.mark.parametrize("number", [np.float64, np.float32])
both_boundaries = pytest.mark.parametrize("boundary", ["periodic", "walls"])


@both_precisions
@both_boundaries
def test_arrays_that_are_too_small_grow_and_lose_nothing(number: type, boundary: str) -> None:
    parameters = spec.parameters(**{**spec.CASES["tiny"], "boundary": boundary})
    state = {name: array.astype(number) for name, array in spec.initial_state(parameters).items()}
    whole = port.load(parameters, state)
    small = port.make(parameters, state["position"][0], state["velocity"][0])
    room, some = small.n + 3, 4
    small = small._replace(
        x=small.x[: 3 * (room + 2)].copy(),
        shift=small.shift[: 3 * room].copy(),
        source=small.source[:room].copy(),
        cell=small.cell[:room].copy(),
        inside=small.inside[:room].copy(),
        sorted=np.ascontiguousarray(small.sorted[:, :room]),
        candidates=small.candidates[:, :some].copy(),
        near=small.near[:, :some].copy(),
        copied=small.copied[:, : 3 * (some + port.MOST_LANES) + 1].copy(),
        neighbours=small.neighbours[:, :some].copy(),
    )
    assert_same_motion(port, whole, small)


@pytest.mark.parametrize("n", [1, 2, 3, 8, 9, 500])
@both_precisions
@both_boundaries
def test_lists_hold_all_within_reach_once_and_no_others(number: type, boundary: str, n: int) -> None:
    parameters = {"boxes": 1, "box": [7, 8, 9], "cutoff": 2.5, "dt": 0.005, "boundary": boundary}
    x = (np.random.default_rng(n).random((n, 3)) * parameters["box"]).astype(number)
    s = port.rebuild(port.make(parameters, x, np.zeros_like(x)))
    total, reach, threads = s.total[0], 2.5 + port.SKIN, len(s.neighbours)
    x = s.x.reshape(-1, 3)[:total].astype(float)
    apart = np.linalg.norm(x[:, None] - x, axis=2)
    np.fill_diagonal(apart, np.inf)
    assert total > n if boundary == "periodic" and n > 3 else total >= n
    assert sorted(s.id) == list(range(n))
    for part in range(threads):
        for i in range(n * part // threads, n * (part + 1) // threads):
            listed = s.neighbours[part, s.start[i] : s.start[i] + s.count[i]]
            mine = listed[listed != total]
            assert s.count[i] % port.MOST_LANES == 0
            assert len(listed) - len(mine) < port.MOST_LANES  # nobody fills the last vector
            assert len(set(mine)) == len(mine)
            assert set(np.flatnonzero(apart[i] < reach - 1e-6)) <= set(mine)
            assert (apart[i, mine] < reach + 1e-5).all()


@both_precisions
@both_boundaries
def test_nobody_is_out_of_reach_and_his_force_does_not_underflow(number: type, boundary: str) -> None:
    parameters = {"boxes": 1, "box": [30, 33, 36], "cutoff": 2.5, "dt": 0.005, "boundary": boundary}
    x = (np.random.default_rng(1).random((500, 3)) * parameters["box"]).astype(number)
    s = port.rebuild(port.make(parameters, x, np.zeros_like(x)))
    for nobody in s.x[3 * s.total[0] :][:6].reshape(2, 3):
        assert_nobody_is_out_of_reach(nobody, parameters["box"], 2.5 + port.SKIN)

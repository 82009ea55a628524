"""A state that comes back otherwise than it was given is told by what became of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import WAVE

from portbench.agreement import slips

random = np.random.default_rng(3)
GRID = random.uniform(size=(6, 7))
SQUARE = random.uniform(size=(6, 6))
VECTORS = random.uniform(size=(2, 5, 3))
OTHER = random.uniform(size=(2, 5, 3))
x = SimpleNamespace(
    precision="float64",
    specification=SimpleNamespace(
        advance=lambda parameters, state, steps: {name: a + 0.25 * steps for name, a in state.items()},
        difference=lambda parameters, name, a, b: a - b,
    ),
)


def filled(array: np.ndarray) -> np.ndarray:
    """With another number where a shift leaves a place free."""
    moved = np.roll(array, 1, 1)
    moved[:, 0] = 0.5
    return moved


@pytest.mark.parametrize(
    ("given", "back", "words"),
    [
        (GRID, GRID.ravel("F").reshape(6, 7), "in column-major (Fortran) order"),
        (GRID, GRID.ravel().reshape((6, 7), order="F"), "in column-major (Fortran) order"),
        (SQUARE, SQUARE.T, "transposed"),
        (VECTORS, VECTORS.ravel("F").reshape(2, 5, 3), "in column-major (Fortran) order"),
        (VECTORS, VECTORS.transpose(0, 2, 1).reshape(2, 5, 3), "with its axes in the order 0, 2, 1"),
        (VECTORS, VECTORS[..., [2, 1, 0]], "with [:, :, 0] and [:, :, 2] swapped"),
        (VECTORS, VECTORS[..., [1, 2, 0]], "with [:, :, 0], [:, :, 1], [:, :, 2] in the order 1, 2, 0"),
        (GRID, GRID.astype("float32").astype(float), "rounded to float32"),
        (GRID, GRID.byteswap(), "with its bytes in the other order (big-endian)"),
        (GRID, -GRID, "with the other sign"),
        (GRID - 0.5, np.abs(GRID - 0.5), "without signs"),
        (GRID, 0 * GRID, "as zeros"),
        (GRID, GRID[::-1], "in reversed order along axis 0"),
        (GRID.ravel(), GRID.ravel()[::-1], "in reversed order"),
        (GRID, np.roll(GRID, -1, 0), "shifted by one place towards the start along axis 0"),
        (GRID, filled(GRID), "shifted by one place towards the end along axis 1"),
        (GRID, np.roll(GRID.ravel(), 1).reshape(6, 7), "shifted by one number towards the end"),
        (GRID, random.permutation(GRID), "in another order, with the same numbers"),
        (GRID, GRID + 0.25, "as it is one step later"),
        (GRID, GRID * (1 + 3e-10), "with only 9 digits that are right, in 42 of 42 numbers"),
        (GRID, np.where(GRID[2, 3] == GRID, 7.0, GRID), "with 1 of 42 numbers changed"),
        (VECTORS, OTHER, "as the other"),
    ],
)
def test_what_became_of_it_is_named(given: np.ndarray, back: np.ndarray, words: str) -> None:
    state = {"field": given, "other": OTHER}
    at = tuple(int(i) for i in np.argwhere(back != given)[0])
    assert slips.echo(x, {}, state, {"field": back, "other": OTHER}, "field") == (
        f"field came back {words}: field[{', '.join(map(str, at))}] was given as {float(given[at])!r} "
        f"and came back as {float(back[at])!r}"
    )


def test_two_fields_that_change_places() -> None:
    state, back = {"a": VECTORS, "b": OTHER}, {"a": OTHER, "b": VECTORS}
    assert slips.echo(x, {}, state, back, "a").startswith("a came back swapped with the b: a[0, 0, 0] was given as")


def test_bytes_of_single_precision() -> None:
    given = GRID.astype("float32")
    single = SimpleNamespace(**{**vars(x), "precision": "float32"})
    told = slips.echo(single, {}, {"u": given.astype(float)}, {"u": given.byteswap().astype(float)}, "u")
    assert told.startswith("u came back with its bytes in the other order")


def test_what_comes_back_as_it_was_given_and_what_cannot_be_told() -> None:
    assert slips.echo(x, {}, {"u": GRID}, {"u": GRID.copy()}, "u") == ""
    told = slips.echo(x, {}, {"u": np.zeros(3)}, {"u": np.array([1.0, 2.0, 3.0])}, "u")
    assert told == "u[0] was given as 0.0 and came back as 1.0"


def test_a_port_that_gives_back_the_wrong_order_is_told_so(portbench, tmp_path: Path) -> None:
    project = shutil.copytree(WAVE, tmp_path / "wave")
    with (project / "wave_port.py").open("a") as port:
        port.write("\n\nright_state = state\n\n\ndef state(wave):\n")
        port.write("    seen = right_state(wave)\n")
        port.write("    return {**seen, 'displacement': seen['velocity'], 'velocity': seen['displacement']}\n")
    done = portbench("check", "--json", "--quiet", "--ports", "vectorised", cwd=project)
    (certificate,) = json.loads(done.stdout)["certificates"]
    assert done.returncode == 1
    assert certificate["finding"].startswith("A0: displacement came back swapped with the velocity: displacement[1]")

"""What the bundled specification draws, cuts out, copies and splits into terms, beside its own plain answers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from particles import spec
from portbench import exchange
from portbench.agreement import histories, own, sizes, twins
from portbench.agreement.levels import deviation, worst_element
from portbench.agreement.own import Judge
from portbench.agreement.reference import Question
from portbench.contract import Fields, Parameters, Specification

EPS = float(np.finfo(float).eps)
SPECIFICATION = Specification(spec)
JUDGE = Judge(SPECIFICATION, "", twins.CLASSES["float64"])
DRAWS = 12


def drawn(size: int, draws: int = DRAWS) -> Iterator[tuple[Parameters, Fields]]:
    for seed in range(draws):
        yield spec.stress(np.random.default_rng([size, seed]), size)


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness asks this module, and not one that it loads from a manifest."""
    monkeypatch.setattr("portbench.agreement.reference.specification_at", lambda _: SPECIFICATION)


# ---------------------------------------------------------------- drawn


@pytest.mark.parametrize("size", histories.SIZES)
def test_each_is_legal_and_can_go_on(size: int) -> None:
    for parameters, state in drawn(size):
        exchange.refuse_unless_carried(parameters)
        SPECIFICATION.checked("stress", parameters, state)
        box = np.array(parameters["box"])
        assert all(a.dtype == float and np.all(np.isfinite(a)) for a in state.values())
        assert np.all((state["position"] >= 0) & (state["position"] <= box))
        assert parameters["boundary"] == "walls" or parameters["cutoff"] <= min(box) / 2
        assert 1 <= SPECIFICATION.work(parameters) <= max(size, parameters["boxes"])
        moved = SPECIFICATION.advance(parameters, state, 2)
        SPECIFICATION.check_state(parameters, moved)
        seen = SPECIFICATION.observe(parameters, moved)
        assert all(np.all(np.isfinite(a)) for a in (moved | seen).values())
        assert all(seen[n].shape == f.shape(parameters) for n, f in SPECIFICATION.derived.items())


def test_the_generator_alone_decides() -> None:
    for size in (1, 16, 100):
        (one, state), (other, again) = (spec.stress(np.random.default_rng(7), size) for _ in range(2))
        assert one == other
        assert all(np.array_equal(state[name], again[name]) for name in state)
        np.random.seed(1)  # what is global is not looked at
        assert spec.stress(np.random.default_rng(7), size)[0] == one
        assert spec.stress(np.random.default_rng(8), size)[0] != one


def test_all_kinds_come_up() -> None:
    """In as many as a check or two would draw."""
    every = [one for size in histories.SIZES for one in drawn(size)]
    of = [parameters for parameters, _ in every]
    assert {p["boundary"] for p in of} == {"periodic", "walls"}
    assert {1, 2, 3, 5} <= {p["boxes"] for p in of}
    assert {True, False} == {p["particles"] % 2 == 1 for p in of}
    assert 1 in {p["particles"] for p in of}
    assert len({p["cutoff"] for p in of}) == len({p["dt"] for p in of}) == len(of)
    assert any(max(p["box"]) > 3 * min(p["box"]) for p in of), "a long and narrow one"
    assert any(max(p["box"]) < 1.2 * min(p["box"]) for p in of)
    faces = [np.any((s["position"] == 0) | (s["position"] == np.array(p["box"]))) for p, s in every]
    assert any(faces) and not all(faces)
    assert any(not np.any(s["velocity"]) for _, s in every), "one at rest"
    assert any(np.max(np.abs(s["velocity"])) > 10 for _, s in every), "one with a fast particle"


# ---------------------------------------------------------------- cut out


def wide(**changes) -> tuple[Parameters, Fields]:
    """432 particles in a box four times as long as wide: so long that a part of it is not the whole."""
    case = {**spec.CASES["liquid-500"], "cells": (12, 3, 3), "cutoff": 1.3}
    parameters = spec.parameters(**{**case, **changes})
    return parameters, spec.advance(parameters, spec.disordered_state(parameters), 20)


WHOLES = {
    "periodic": lambda: wide(),
    "between walls": lambda: wide(boundary="walls"),
    "three boxes": lambda: wide(boxes=3),
    "fast": lambda: wide(temperature=400.0, dt=0.0005),
    "thin": lambda: wide(density=0.6),
}


def of_the_part(parameters: Parameters, state: Fields, cut: tuple, steps: int) -> float:
    """How far the fields of the part are from those of the whole, in tolerances of the seal."""
    smaller, fields, places = cut
    whole = {**spec.advance(parameters, state, steps)}
    whole |= spec.observe(parameters, whole)
    question, _ = JUDGE._question("the part", smaller, fields, steps, np.random.default_rng(1), "few")
    (answer,) = question.answers
    answer = own._in_the_whole(answer, whole, places)
    asked = Question("the part", parameters, state, [answer])
    assert any(np.any(t > 0) for t in answer.tolerance.values())
    return deviation(SPECIFICATION, asked, answer, whole).ratio


@pytest.mark.parametrize("name", WHOLES)
def test_a_part_is_what_it_is_in_the_whole(name: str) -> None:
    parameters, state = WHOLES[name]()
    for seed in range(4):
        cut = spec.part(parameters, state, np.random.default_rng(seed))
        smaller, fields, places = cut
        SPECIFICATION.checked("part", smaller, fields)
        assert smaller["particles"] < 0.8 * parameters["particles"]
        assert places.keys() == {"position", "velocity", "force"}
        for field in ("position", "velocity"):
            inside, outside = places[field]
            assert np.array_equal(state[field][inside], fields[field][outside])
            assert state[field][inside].shape == (8, 3)
        for steps in (0, 1):
            assert of_the_part(parameters, state, cut, steps) < 0.5


def test_a_part_that_lacks_a_neighbour_is_not() -> None:
    """So what is compared above would show it."""
    parameters, state = wide()
    smaller, fields, places = spec.part(parameters, state, np.random.default_rng(1))
    (_, inner) = places["force"][1]
    terms = spec.terms(smaller, fields, "force", (0, inner[0], 0))
    neighbour = next(n for n in (int(what.split(" and ")[1].split(" at ")[0]) for what, _ in terms) if n not in inner)
    kept = np.delete(np.arange(smaller["particles"]), neighbour)
    without = (
        {**smaller, "particles": len(kept)},
        {name: a[:, kept] for name, a in fields.items()},
        {name: (here, (0, np.searchsorted(kept, inner))) for name, (here, _) in places.items()},
    )
    for steps in (0, 1):
        assert of_the_part(parameters, state, without, steps) > 1e3


def test_a_part_of_few_particles_is_all_of_them() -> None:
    for size in (1, 2, 7):
        for parameters, state in drawn(size, 4):
            smaller, fields, places = spec.part(parameters, state, np.random.default_rng(0))
            assert smaller["particles"] == parameters["particles"]
            (box, _), _ = places["position"]
            assert np.array_equal(fields["position"][0], state["position"][box])


# ---------------------------------------------------------------- copied


def of_the_copies(parameters: Parameters, state: Fields, times: tuple[int, int, int]) -> float:
    """How far the specification's own run of the larger state is from the copied answer, in its tolerances."""
    unit = sizes._copied(JUDGE, parameters, state, times)
    assert unit
    kinds = JUDGE.few_twins(parameters)
    question = sizes._question(JUDGE, unit, times, np.random.default_rng(1), kinds, sizes.ROUNDINGS)
    found = []
    for answer in question.answers:
        large = SPECIFICATION.advance(question.parameters, question.state, answer.step)
        fields = large | SPECIFICATION.observe(question.parameters, large)
        assert all(answer.fields[n].shape == fields[n].shape for n in answer.fields)
        # as the small case sees it: who leaves a copy is in the next
        found.append(worst_element(SPECIFICATION, Question("", parameters, {}, []), answer, fields))
    assert len(found) >= 2
    return max(one.ratio for one in found)


def periodic(size: int, count: int) -> Iterator[tuple[Parameters, Fields]]:
    """So many periodic states of one box, of which there are copies."""
    random = np.random.default_rng(size)
    while count:
        parameters, state = spec.stress(random, size)
        if spec.copies(parameters, state, (1, 2, 1)):
            count -= 1
            yield parameters, state


@pytest.mark.parametrize("times", [(1, 1, 1), (2, 3, 1), (1, 1, 5), (2, 2, 2)])
@pytest.mark.parametrize("size", [1, 2, 3, 17])
def test_copies_are_right(size: int, times: tuple[int, int, int]) -> None:
    for parameters, state in periodic(size, 2):
        large, fields = spec.copies(parameters, state, times)
        SPECIFICATION.checked("copies", large, fields)
        assert large["particles"] == parameters["particles"] * np.prod(times)
        assert of_the_copies(parameters, state, times) < 0.7


@pytest.mark.parametrize("field", ["temperature", "pressure", "virial", "momentum", "force"])
def test_copies_that_are_wrong_are_seen(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = spec.copies

    def wrong(parameters: Parameters, fields: Fields, times: tuple[int, int, int]) -> tuple[Parameters, Fields]:
        large, made = right(parameters, fields, times)
        return large, {n: a * (1 + 1e-7 * (n == field)) for n, a in made.items()}

    drawn_at_random = list(periodic(17, 4))  # in a thin one there may be no force at all
    monkeypatch.setattr(spec, "copies", wrong)
    assert max(of_the_copies(parameters, state, (2, 3, 1)) for parameters, state in drawn_at_random) > 10


def test_between_walls_and_of_several_boxes_there_are_no_copies() -> None:
    for size in (3, 16, 64):
        for parameters, state in drawn(size):
            made = spec.copies(parameters, state, (2, 1, 1))
            assert (made is None) == (parameters["boundary"] == "walls" or parameters["boxes"] > 1)


# ---------------------------------------------------------------- terms


@pytest.mark.parametrize("size", [1, 3, 31, 100])
def test_the_terms_of_a_force_add_up_to_it(size: int) -> None:
    for parameters, state in drawn(size, 6):
        force = spec.observe(parameters, state)["force"]
        random = np.random.default_rng(0)
        for _ in range(4):
            one, i = random.integers(parameters["boxes"]), random.integers(parameters["particles"])
            axis = random.integers(3)
            terms = spec.terms(parameters, state, "force", (one, i, axis))
            values = np.array([value for _, value in terms])
            assert abs(np.sum(values) - force[one, i, axis]) <= 16 * EPS * np.sum(np.abs(values))
            x = state["position"][one]
            d = spec.difference(parameters, "position", x, x[i])
            near = np.flatnonzero((np.sum(d * d, axis=1) < parameters["cutoff"] ** 2) & (np.arange(len(x)) != i))
            assert [what.split(" at ")[0] for what, _ in terms] == [f"the pair of particles {i} and {j}" for j in near]


def test_terms_are_of_the_type_of_the_state_and_of_forces_alone() -> None:
    parameters, state = wide()
    single = {name: a.astype(np.float32) for name, a in state.items()}
    terms = spec.terms(parameters, single, "force", (0, 7, 1))
    assert terms and all(value.dtype == np.float32 for _, value in terms)
    for name in spec.DERIVED.keys() - {"force"}:
        assert spec.terms(parameters, state, name, (0,)) is None

"""Is the bundled specification right? Evidence that does not come from its own code.

The formulas are evaluated again with 50 digits, orbits are compared with closed
forms, and mistakes are planted to see that these comparisons would find them.
"""

import ast
import itertools
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf
from scipy.integrate import quad

from particles import spec

EPS = np.finfo(float).eps
HALF = EPS / 2  # the largest relative error of one rounding
SLACK = 4  # in units of EPS: see `reference`

PROBES = spec.probes()
SMALL = {
    "tiny": spec.CASES["tiny"],
    "liquid, not a cube": {**spec.CASES["liquid-500"], "cells": (2, 3, 2), "cutoff": 1.6},
    "walls, not a cube": {**spec.CASES["walls-500"], "cells": (3, 2, 2)},
    "two boxes": {**spec.CASES["ensemble"], "cells": (2, 2, 1), "boxes": 2, "cutoff": 0.8, "density": 0.9},
}


def small_states():
    """Name -> (parameters, state): disordered ones, a melted one, and the probes."""
    made = {}
    for name, case in SMALL.items():
        parameters = spec.parameters(**case)
        made[name] = parameters, spec.disordered_state(parameters)
    made["tiny, melted"] = made["tiny"][0], spec.advance(*made["tiny"], 300)
    return {**made, **PROBES}


STATES = small_states()


def liquid(**changes):
    """108 particles of the melt in a periodic box, disordered: (parameters, state)."""
    parameters = spec.parameters(**{**spec.CASES["liquid-500"], "cells": (3, 3, 3), **changes})
    return parameters, spec.disordered_state(parameters)


def lone(position, velocity, box, boundary, dt):
    """Boxes that hold one particle each: (parameters, state), from arrays (boxes, 3)."""
    parameters = {
        "boxes": len(position), "particles": 1, "box": box, "boundary": boundary, "cutoff": min(box) / 2, "dt": dt
    }  # fmt: skip
    return parameters, {"position": position[:, None].copy(), "velocity": velocity[:, None].copy()}


def two(x, v, dt, boundary="periodic", cutoff=2.5):
    """Two particles on a line along the first axis of a box of side 8: (parameters, state)."""
    parameters = {
        "boxes": 1, "particles": 2, "box": (8.0, 8.0, 8.0), "boundary": boundary, "cutoff": cutoff, "dt": dt
    }  # fmt: skip
    position, velocity = np.full((1, 2, 3), 3.0), np.zeros((1, 2, 3))
    position[0, :, 0], velocity[0, :, 0] = x, v
    return parameters, {"position": position, "velocity": velocity}


def energy(parameters, state):
    seen = spec.observe(parameters, state)
    return seen["kinetic_energy"] + seen["potential_energy"]


# ---------------------------------------------------------------- the formulas, with 50 digits


def reference(parameters, state):
    """Every observable of a state with 50 digits, and how far rounding may take a double from it.

    Returns field -> (exact, allowed). Three things are allowed for:

    the separations  a - b is rounded, and once more if the nearest image is taken;
                     what this does to a sum follows from the derivative of each term
    the terms        at worst 18 EPS of a term, before its r^-12 and r^-6 cancel: r^2 has three roundings and
                     enters to the 7th power. The roundings are of either sign: SLACK = 4 EPS is what is given
    the sums         of fewer than 100 terms, in any order: included in SLACK
    """
    boxes = [one_box(parameters, x, v) for x, v in zip(state["position"], state["velocity"], strict=True)]
    return {
        name: tuple(np.array([box[name][part] for box in boxes], dtype=object) for part in (0, 1)) for name in boxes[0]
    }


def one_box(parameters, x, v):
    with mp.workdps(50):
        n, box, cutoff = len(x), [mpf(side) for side in parameters["box"]], mpf(parameters["cutoff"])
        periodic = parameters["boundary"] == "periodic"
        x = [[mpf(float(c)) for c in point] for point in x]
        v = [[mpf(float(c)) for c in point] for point in v]
        force, force_slack = np.full((n, 3), mpf(0)), np.zeros((n, 3))
        potential, virial, potential_slack, virial_slack = mpf(0), mpf(0), 0.0, 0.0
        shift = 4 * (cutoff**-12 - cutoff**-6)
        for i, j in itertools.combinations(range(n), 2):
            raw = [a - b for a, b in zip(x[i], x[j], strict=True)]
            d = raw
            if periodic:
                d = [min((c, c - side, c + side), key=abs) for c, side in zip(raw, box, strict=True)]
            r2 = d[0] ** 2 + d[1] ** 2 + d[2] ** 2
            if r2 >= cutoff**2:
                continue
            s6 = 1 / r2**3
            f_over_r = 24 * (2 * s6**2 - s6) / r2
            potential += 4 * (s6**2 - s6) - shift
            virial += f_over_r * r2
            # From here on doubles will do: these are sizes and derivatives, for `allowed`.
            d_error = np.array([HALF * float(abs(b) + abs(c)) for b, c in zip(raw, d, strict=True)])
            reach = np.abs(np.array(d, dtype=float))
            r2, s6 = float(r2), float(s6)
            r2_error = 2 * reach @ d_error
            size, slope = 24 * (2 * s6**2 + s6) / r2, 24 * abs(4 * s6 - 14 * s6**2) / r2**2
            slack = SLACK * EPS * size * reach + float(abs(f_over_r)) * d_error + slope * r2_error * reach
            for who, sign in ((i, 1), (j, -1)):
                force[who] += [sign * f_over_r * c for c in d]
                force_slack[who] += slack
            potential_slack += SLACK * EPS * (4 * (s6**2 + s6) + abs(float(shift)))
            potential_slack += float(abs(f_over_r)) / 2 * r2_error
            virial_slack += SLACK * EPS * size * r2 + 24 * abs(3 * s6 - 12 * s6**2) / r2 * r2_error
        kinetic = sum((c**2 for point in v for c in point), mpf(0)) / 2
        volume, free = box[0] * box[1] * box[2], max(n - 1 if periodic else n, 1)
        momentum = [sum((point[axis] for point in v), mpf(0)) for axis in range(3)]
        momentum_size = [sum(float(abs(point[axis])) for point in v) for axis in range(3)]
        kinetic_slack = SLACK * EPS * float(kinetic)
        pressure = (2 * kinetic + virial) / (3 * volume)
        pressure_slack = (2 * kinetic_slack + virial_slack) / (3 * float(volume)) + SLACK * EPS * float(abs(pressure))
        return {
            "force": (force, force_slack),
            "kinetic_energy": (kinetic, kinetic_slack),
            "potential_energy": (potential, potential_slack),
            "virial": (virial, virial_slack),
            "pressure": (pressure, pressure_slack),
            "temperature": (2 * kinetic / (3 * free), 2 * SLACK * EPS * float(2 * kinetic / (3 * free))),
            "momentum": (momentum, [SLACK * EPS * size for size in momentum_size]),
        }


def assert_observes(parameters, state, expected):
    """The spec's observables of a state are `expected`, within what rounding can do."""
    seen = spec.observe(parameters, state)
    assert set(seen) == set(spec.DERIVED) == set(expected)
    for name, (exact, allowed) in expected.items():
        assert seen[name].shape == exact.shape, name
        with mp.workdps(50):
            error = np.abs(seen[name].astype(object) - exact)
        assert np.all(error <= allowed), f"{name} is off by up to {float(np.max(error)):.3g}"


@pytest.mark.parametrize("name", STATES)
def test_observables_agree_with_fifty_digits(name):
    """Forces and every other observable follow from the formulas, on ordinary and on awkward states."""
    assert_observes(*STATES[name], reference(*STATES[name]))


def wrong_sigma(spec):
    force, potential, scale = spec.pair_force, spec.pair_potential, (1 + 1e-10) ** 2
    return {"pair_force": lambda r2: force(r2 / scale) / scale, "pair_potential": lambda r2: potential(r2 / scale)}


def no_shift(spec):
    potential = spec.pair_potential
    return {"pair_potential": lambda r2: potential(r2) if isinstance(r2, np.ndarray) else 0.0}


def half_the_virial(spec):
    sums = spec.potential_and_virial
    return {"potential_and_virial": lambda *given: (sums(*given)[0], sums(*given)[1] / 2)}


def cutoff_included(spec):
    pairs = spec.pairs
    return {"pairs": lambda p, x: pairs({**p, "cutoff": np.nextafter(p["cutoff"], np.inf)}, x)}


def single_precision(spec):
    force = spec.pair_force
    return {"pair_force": lambda r2: force(r2.astype(np.float32)).astype(float)}


def no_images(spec):
    separation = spec.separation
    return {"separation": lambda p, a, b: separation({**p, "boundary": "walls"}, a, b)}


def floor_for_rint(spec):
    def separation(parameters, a, b):
        box, d = np.array(parameters["box"])[:, None, None], a[:, :, None] - b[:, None, :]
        return d - box * np.floor(d / box)

    return {"separation": separation}


def three_n_degrees_of_freedom(spec):
    return {"temperature": lambda p, v, add=np.sum: 2 * spec.kinetic_energy(v, add) / (3 * len(v))}


@pytest.mark.parametrize(
    ("mistake", "name", "field"),
    [
        (wrong_sigma, "tiny", "force"),
        (wrong_sigma, "3 particles", "force"),
        (no_shift, "tiny", "potential_energy"),
        (half_the_virial, "walls, not a cube", "virial"),
        (cutoff_included, "two particles at the cutoff", "force"),
        (single_precision, "17 particles between walls", "force"),
        (no_images, "pairs across each face", "force"),
        (floor_for_rint, "liquid, not a cube", "force"),
        (three_n_degrees_of_freedom, "33 particles", "temperature"),
    ],
)
def test_mistakes_are_found(mistake, name, field, monkeypatch):
    """The comparison with 50 digits can fail: a small mistake in a formula fails it, in the field expected."""
    expected = reference(*STATES[name])
    assert_observes(*STATES[name], expected)
    for function, wrong in mistake(spec).items():
        monkeypatch.setattr(spec, function, wrong)
    with pytest.raises(AssertionError, match=f"^{field} is off"):
        assert_observes(*STATES[name], expected)


# ---------------------------------------------------------------- motion, against closed forms


def orbit_period(total):
    """Period of two particles bound head-on with the energy `total` in -1 .. 0, by quadrature.

    With w = r^-6 the energy integral, of dr / sqrt(total - u(r)), is that of w^(-7/6) / 12 between
    the roots w of 4 (w^2 - w) = total; these are 1/2 +- reach, and w = 1/2 + reach cos(angle).
    """
    reach = np.sqrt(1 + total) / 2
    return quad(lambda angle: (0.5 + reach * np.cos(angle)) ** (-7 / 6) / 12, 0, np.pi, epsabs=1e-14, epsrel=1e-14)[0]


@pytest.mark.parametrize("centre", [4.0, 0.0], ids=["inside the box", "across its face"])
def test_period_of_a_bound_pair(centre):
    """Two particles swing as the energy integral says, and the period converges with the square of dt."""
    rest, speed = 2 ** (1 / 6), 1.2  # of separation, at the bottom of the well
    period = orbit_period(speed**2 / 4 - 1)
    found = []
    for steps in (100, 200, 400):
        x = np.mod([centre - rest / 2, centre + rest / 2], 8)
        parameters, state = two(x, [-speed / 2, speed / 2], period / steps)
        end = spec.advance(parameters, state, steps)["position"][0, :, 0]
        late = rest - (end[1] - end[0]) % 8  # how far the pair is from its start when it should be back there
        found.append(period + late / speed)
    error = np.array(found) - period
    assert np.all(np.abs(error) < [2e-3, 5e-4, 1.2e-4])
    assert np.allclose(error[:-1] / error[1:], 4, rtol=0.02)
    assert (4 * found[2] - found[1]) / 3 == pytest.approx(period, abs=1e-7)  # Richardson: dt -> 0


def test_small_oscillations():
    """Close to r = 2^(1/6) a pair is a harmonic oscillator, for which velocity Verlet has a closed form."""
    rest, speed, dt, steps = 2 ** (1 / 6), 1e-5, 0.005, 5000
    spring = 72 / 2 ** (1 / 3)  # u'' at the minimum
    omega = np.sqrt(2 * spring)  # the reduced mass is 1/2
    assert 2 * np.pi / omega == pytest.approx(orbit_period(-1.0), rel=1e-14)
    slowed = np.arccos(1 - (omega * dt) ** 2 / 2) / dt  # the frequency of the algorithm
    amplitude = speed / (omega * np.sqrt(1 - (omega * dt / 2) ** 2))
    parameters, state = two([3, 3 + rest], [-speed / 2, speed / 2], dt)
    for _ in range(5):
        state = spec.advance(parameters, state, steps // 5)
    end = state["position"][0, 1, 0] - state["position"][0, 0, 0] - rest
    assert end == pytest.approx(amplitude * np.sin(slowed * dt * steps), abs=1e-3 * amplitude)


def folded(x, side):
    """Where a straight line to x ends between mirrors at 0 and side, and whether it then runs backwards."""
    x = x % (2 * side)
    return (2 * side - x, True) if x > side else (x, False)


# Multiples of 1/1024 are exact through thousands of steps. The fastest bounce up to four times a step.
BOX = (4.0, 7.0, 12.0)
SPEEDS = (0.0, 0.125, -1.5, 77.0, -2044.0, 4093.0)


def flights(boundary):
    """Free particles of different speeds along each axis of BOX, in numbers without rounding."""
    random = np.random.default_rng(3)
    velocity = np.array([random.permutation(SPEEDS)[:3] for _ in range(8)])
    position = random.integers(1, 1024 * np.array(BOX), (8, 3)) / 1024
    return lone(position, velocity, BOX, boundary, 1 / 256)


@pytest.mark.parametrize("boundary", ["walls", "periodic"])
def test_free_flight_is_exact(boundary):
    """Without rounding, a free particle is where the folded (walls) or wrapped line ends, to the last bit."""
    parameters, start = flights(boundary)
    now, bounced = start, 0
    for steps in (1, 2, 7, 90, 400):
        now = spec.advance(parameters, now, steps)
        elapsed = Fraction(bounced := bounced + steps, 256)
        for box, axis in itertools.product(range(parameters["boxes"]), range(3)):
            side, x, v = Fraction(BOX[axis]), *(Fraction(start[n][box, 0, axis]) for n in ("position", "velocity"))
            if boundary == "walls":
                expected, backwards = folded(x + v * elapsed, side)
            else:
                expected, backwards = (x + v * elapsed) % side, False
            assert Fraction(now["position"][box, 0, axis]) == expected
            if 0 < expected < side:
                assert now["velocity"][box, 0, axis] == (-v if backwards else v)


def test_free_flight_with_rounding():
    """With ordinary numbers the error is a few roundings a step, over thousands of bounces."""
    random, steps = np.random.default_rng(4), 1000
    box, dt = (4.1, 7.3, 12.7), 0.005
    parameters, start = lone(random.uniform(0, box, (5, 3)), random.normal(0, 700, (5, 3)), box, "walls", dt)
    end = spec.advance(parameters, start, steps)
    for one, axis in itertools.product(range(5), range(3)):
        x, v = (Fraction(start[n][one, 0, axis]) for n in ("position", "velocity"))
        exact, backwards = folded(x + v * Fraction(dt) * steps, Fraction(box[axis]))
        per_step = 4 * EPS * (abs(v) * dt + box[axis])  # dt v, its sum with x, and the bounces
        assert abs(Fraction(end["position"][one, 0, axis]) - exact) < steps * per_step
        assert end["velocity"][one, 0, axis] == (-v if backwards else v)


# ---------------------------------------------------------------- velocity Verlet


def cluster():
    """Eight particles amid a large walled box, with a cutoff that nobody reaches: all is smooth."""
    corners = np.array(list(itertools.product((0, 1.15), repeat=3)))
    random = np.random.default_rng(6)
    parameters = {
        "boxes": 1, "particles": 8, "box": (40.0,) * 3, "boundary": "walls", "cutoff": 100.0, "dt": 0.005
    }  # fmt: skip
    return parameters, {
        "position": 20 + corners[None] + random.uniform(-0.03, 0.03, (1, 8, 3)),
        "velocity": random.normal(0, 0.3, (1, 8, 3)),
    }


def test_second_order():
    """Halving dt divides the error of positions, velocities and energy by four."""
    parameters, start = cluster()
    ends = [spec.advance({**parameters, "dt": 0.4 / steps}, start, steps) for steps in (100, 200, 400)]
    for field in ("position", "velocity"):
        first, second = (np.linalg.norm(a[field] - b[field]) for a, b in itertools.pairwise(ends))
        assert first / second == pytest.approx(4, rel=0.02)
    error = [abs(energy(parameters, end) - energy(parameters, start)).item() for end in ends]
    assert error[0] / error[1] == pytest.approx(4, rel=0.05)
    assert error[1] / error[2] == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("boundary", ["periodic", "walls"])
def test_time_reversal(boundary):
    """With the velocities turned round, a run goes back to its start, but for rounding."""
    parameters, start = liquid(boundary=boundary)
    there = spec.advance(parameters, start, 60)
    back = spec.advance(parameters, {**there, "velocity": -there["velocity"]}, 60)
    if boundary == "walls":
        assert np.max(np.abs(there["velocity"].sum(axis=1))) > 1  # some have met a wall
    assert np.max(np.abs(there["position"] - start["position"])) > 0.1
    assert np.max(np.abs(spec.difference(parameters, "position", back["position"], start["position"]))) < 1e-12
    assert np.max(np.abs(back["velocity"] + start["velocity"])) < 1e-11


def test_conservation():
    """In a periodic liquid momentum stays zero, and the energy of 1500 steps neither wanders nor drifts."""
    parameters, now = liquid()
    energies = []
    for _ in range(150):
        energies.append(energy(parameters, now).item() / 108)
        now = spec.advance(parameters, now, 10)
    assert np.max(np.abs(now["velocity"].sum(axis=1))) < 1e-12
    # Kinetic and potential energy exchange 1.5 a particle; dt = 0.005 lets their sum vary by 0.015.
    assert np.ptp(energies) < 0.03
    assert abs(np.mean(energies[100:]) - np.mean(energies[50:100])) < 5e-4


def test_steps_add_up():
    """advance(2) then advance(3) is advance(5), to the bit: nothing is carried but the state. It keeps its input."""
    for name in ("tiny", "walls, not a cube", "two boxes"):
        parameters, state = STATES[name]
        before = {field: values.copy() for field, values in state.items()}
        once = spec.advance(parameters, state, 5)
        twice = spec.advance(parameters, spec.advance(parameters, state, 2), 3)
        unmoved = spec.advance(parameters, state, 0)
        for field in spec.STATE:
            assert np.array_equal(once[field], twice[field])
            assert np.array_equal(unmoved[field], before[field])
            assert np.array_equal(state[field], before[field])


# ---------------------------------------------------------------- cases and their first states


@pytest.mark.parametrize("name", spec.CASES)
def test_case(name):
    """A case has the particles that its name says, and starts legal, at rest as a whole, at its temperature."""
    parameters = spec.parameters(**spec.CASES[name])
    counts = {"tiny": 64, "liquid-500": 500, "walls-500": 500, "gas-4k": 4000, "melt-4k": 4000, "melt-32k": 32000}
    assert parameters["particles"] == counts.get(name, 108)
    assert parameters["boxes"] == (1000 if name == "ensemble" else 1)
    assert parameters["particles"] / np.prod(parameters["box"]) == pytest.approx(parameters["density"], rel=1e-14)
    state = spec.initial_state(parameters)
    for one in (state, spec.disordered_state(parameters)):
        spec.check_state(parameters, one)
        for field, about in spec.STATE.items():
            assert one[field].shape == tuple(parameters.get(axis, axis) for axis in about["shape"])
            assert one[field].dtype == np.float64
    hot = [spec.temperature(parameters, v) for v in state["velocity"]]
    assert np.allclose(hot, parameters["temperature"], rtol=1e-14, atol=0)
    assert np.max(np.abs(state["velocity"].sum(axis=1))) < 100 * EPS * parameters["particles"]


def test_first_state_depends_on_the_seed_alone():
    """The same seed gives the same bits, another seed other velocities; boxes of an ensemble differ."""
    case = {**spec.CASES["ensemble"], "boxes": 3}
    for make in (spec.initial_state, spec.disordered_state):
        one, same = (make(spec.parameters(**case, seed=7)) for _ in range(2))
        other = make(spec.parameters(**case, seed=8))
        assert all(np.array_equal(one[field], same[field]) for field in spec.STATE)
        assert not np.any(one["velocity"] == other["velocity"])
        assert not np.any(one["velocity"][0] == one["velocity"][1])


def test_lattice_is_fcc():
    """On the lattice everyone has 12 nearest neighbours, the forces cancel, and after disorder they do not."""
    parameters = spec.parameters(**spec.CASES["liquid-500"])
    state = spec.initial_state(parameters)
    d = spec.difference(parameters, "position", state["position"][0, :, None], state["position"][0, None])
    r = np.sqrt(np.sum(d**2, axis=-1))
    nearest = r[r > 0].min()
    assert nearest == pytest.approx((4 / 0.8442) ** (1 / 3) / np.sqrt(2), rel=1e-13)
    assert np.all(np.sum((r > 0) & (r < 1.01 * nearest), axis=1) == 12)
    assert np.max(np.abs(spec.observe(parameters, state)["force"])) < 1e-11
    assert np.median(np.abs(spec.observe(parameters, spec.disordered_state(parameters))["force"])) > 1


def test_memory_stays_bounded():
    """All 16 million pairs of melt-4k are summed in less than 1 GB, in a process of its own."""
    program = """
import resource, sys
from particles import spec
parameters = spec.parameters(**spec.CASES["melt-4k"])
spec.observe(parameters, spec.initial_state(parameters))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 1e9


# ---------------------------------------------------------------- what is refused


def assert_one_sentence(refusal):
    message = str(refusal.value)
    assert len(message) > 20 and "\n" not in message and ". " not in message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cutoff": 4.21}, "over half the shortest side"),
        ({"boundary": "open"}, "boundary"),
        ({"density": float("nan")}, "not a finite number"),
        ({"temperature": float("inf")}, "not a finite number"),
        ({"cells": (5, 0, 5)}, "cells"),
        ({"cells": (5, 5)}, "cells"),
        ({"cells": (5, 5, 2.5)}, "cells"),
        ({"boxes": 0}, "boxes"),
        ({"dt": 0.0}, "dt"),
        ({"cutoff": -1.0}, "cutoff"),
        ({"density": -0.8}, "density"),
        ({"temperature": -1.0}, "temperature"),
    ],
)
def test_bad_parameters(changes, said):
    """Parameters that describe no simulation are refused in one sentence that names the culprit."""
    with pytest.raises(ValueError, match=said) as refusal:
        spec.parameters(**{**spec.CASES["liquid-500"], **changes})
    assert_one_sentence(refusal)


@pytest.mark.parametrize("boundary", ["periodic", "walls"])
def test_largest_cutoff(boundary):
    """Half the shortest side is the largest cutoff of a periodic box; walls set no limit."""
    parameters = {"box": (5.0, 7.0, 12.0), "boundary": boundary, "cutoff": 2.5}
    spec.check_parameters(parameters)
    larger = {**parameters, "cutoff": np.nextafter(2.5, 3)}
    if boundary == "walls":
        spec.check_parameters(larger)
    else:
        with pytest.raises(ValueError, match="half the shortest side"):
            spec.check_parameters(larger)


@pytest.mark.parametrize(
    ("field", "particle", "values", "said"),
    [
        ("position", 0, [np.nan, 1, 1], "position of particle 0"),
        ("velocity", 2, [1, np.inf, 1], "velocity of particle 2"),
        ("position", 1, [1, 1, -1e-300], "outside the box"),
        ("position", 1, [1, 1, np.nextafter(8, 9)], "outside the box"),
        ("position", 2, [1, 0, 2], "particles 0 and 2 are at the same point"),
        ("position", 2, [1, 8, 2], "particles 0 and 2 are at the same point"),
    ],
)
def test_bad_states(field, particle, values, said):
    """States without a future are refused in one sentence; 0 and L are one point only where periodic."""
    parameters = {"boxes": 1, "particles": 3, "box": (8.0,) * 3, "boundary": "periodic", "cutoff": 2.5, "dt": 0.005}
    state = {"position": np.array([[[1.0, 0, 2], [3, 3, 3], [5, 6, 7]]]), "velocity": np.zeros((1, 3, 3))}
    spec.check_state(parameters, state)
    state[field][0, particle] = values
    if values == [1, 8, 2]:
        spec.check_state({**parameters, "boundary": "walls"}, state)
    with pytest.raises(ValueError, match=said) as refusal:
        spec.check_state(parameters, state)
    assert_one_sentence(refusal)


def test_points_that_rounding_makes_one():
    """Also two points whose difference is rounded to nothing have no finite force, and are refused."""
    parameters, state = two([1e-17, 8.0], [0, 0], 0.005)
    with pytest.raises(ValueError, match="same point"):
        spec.check_state(parameters, state)


def test_runaways_are_refused():
    """A particle thrown through the box a hundred times in a step, or lost to infinity, ends the run."""
    for boundary, speed in itertools.product(("periodic", "walls"), (1e9, np.inf, np.nan)):
        parameters, state = two([1, 5], [0, speed], 0.005, boundary)
        with pytest.raises(ValueError, match="time step is too long") as refusal:
            spec.advance(parameters, state, 1)
        assert_one_sentence(refusal)


# ---------------------------------------------------------------- the drift


TRIED = settings(max_examples=400, deadline=None, derandomize=True, database=None)


def drifted(side, x, v, boundary):
    parameters = {"box": (side,) * 3, "boundary": boundary, "dt": 1.0}
    x, v = spec.drift(parameters, np.full((1, 3), x), np.full((1, 3), v))
    return x[0, 0], v[0, 0]


@TRIED
@given(st.floats(0.5, 50), st.floats(0, 1), st.floats(-98, 98))
def test_drift_ends_inside(side, start, reach):
    """Wherever a particle goes, it ends in [0, L), whole boxes away, or in [0, L] between walls, at the same speed."""
    there, _ = drifted(side, start * side, reach * side, "periodic")
    assert 0 <= there < side
    boxes = (start * side + reach * side - there) / side
    assert abs(boxes - round(boxes)) < 1e4 * EPS
    there, speed = drifted(side, start * side, reach * side, "walls")
    assert 0 <= there <= side
    assert abs(speed) == abs(reach * side)


@TRIED
@given(st.floats(0.5, 50), st.integers(-98, 98), st.sampled_from([-1, 0, 1]))
@example(side=1.05, boxes=3, ulps=-1)
@example(side=8.0, boxes=0, ulps=-1)
def test_drift_to_a_face(side, boxes, ulps):
    """Also a particle that lands on a face of the box or of an image, or an ulp beside it, ends in [0, L)."""
    x = boxes * side
    x = np.nextafter(x, ulps * np.inf) if ulps else x
    assert 0 <= drifted(side, 0.0, x, "walls")[0] <= side
    assert 0 <= drifted(side, 0.0, x, "periodic")[0] < side


# ---------------------------------------------------------------- what a checker relies on


def compensated(a, axis):
    """Sums in extended precision, in place of NumPy's."""
    return np.sum(a, axis=axis, dtype=np.longdouble).astype(float)


def backwards(a, axis):
    return np.sum(np.flip(a, axis), axis=axis)


def condition(a, axis):
    return np.sum(np.abs(a), axis=axis)


def assert_same_but_for_rounding(parameters, state, seen, other):
    """Two sets of observables of a state differ by no more than rounding of sums: their condition says how much."""
    sizes = spec.observe(parameters, state, condition)
    for name in spec.DERIVED:
        assert np.all(np.abs(seen[name] - other[name]) <= 8 * EPS * sizes[name]), name


@pytest.mark.parametrize("name", ["tiny, melted", "walls, not a cube", "two boxes that must not meet"])
def test_symmetries(name):
    """do and undo are exact, and what is observed after `do` is what was observed before, done, but for rounding."""
    parameters, state = STATES[name]
    seen = spec.observe(parameters, state)
    symmetries = spec.symmetries(parameters, np.random.default_rng(1))
    assert symmetries
    for do, undo in symmetries.values():
        done = do(state)
        assert any(not np.array_equal(done[field], state[field]) for field in state)
        spec.check_state(parameters, done)
        for fields in (state, seen):
            again = undo(do(fields))
            assert set(again) == set(fields)
            assert all(np.array_equal(again[field], fields[field]) for field in fields)
        assert_same_but_for_rounding(parameters, state, undo(spec.observe(parameters, done)), seen)


@pytest.mark.parametrize("name", ["tiny, melted", "63 particles between walls", "pairs across edges and corners"])
@pytest.mark.parametrize("add", [compensated, backwards])
def test_order_of_summation(name, add):
    """`add` changes the last digits and nothing else."""
    parameters, state = STATES[name]
    assert_same_but_for_rounding(
        parameters, state, spec.observe(parameters, state), spec.observe(parameters, state, add)
    )
    once, other = spec.advance(parameters, state, 3), spec.advance(parameters, state, 3, add)
    for field in spec.STATE:
        assert np.allclose(once[field], other[field], rtol=0, atol=1e-12)


def test_every_sum_goes_through_add():
    """Where `add` doubles, a field doubles once for each sum over particles that it is made of."""
    parameters, state = cluster()  # in which the shift of the potential, which is no sum, is 1e-11
    once = spec.observe(parameters, state)
    doubled = spec.observe(parameters, state, lambda a, axis: 2 * np.sum(a, axis=axis))
    sums = dict.fromkeys(spec.DERIVED, 2) | {"force": 1, "momentum": 1}
    for field, count in sums.items():
        assert np.allclose(doubled[field], 2**count * once[field], rtol=1e-9, atol=0), field


@pytest.mark.parametrize("name", ["liquid, not a cube", "walls, not a cube"])
def test_condition_of_the_sums(name):
    """With sums of absolute values for `add`, a checker gets sum_j |f_ij| and its like for all the fields."""
    parameters, state = STATES[name]
    sizes, seen = spec.observe(parameters, state, condition), spec.observe(parameters, state)
    x, v, n = state["position"][0], state["velocity"][0], parameters["particles"]
    forces = np.zeros((n, 3))
    potential = virial = 0.0
    for i, j in itertools.combinations(range(n), 2):
        d = spec.difference(parameters, "position", x[i], x[j])
        r2 = d @ d
        if r2 < parameters["cutoff"] ** 2:
            term = 24 * (2 / r2**6 - 1 / r2**3) / r2
            forces[[i, j]] += np.abs(term * d)
            potential += abs(4 / r2**6 - 4 / r2**3) - 4 * (parameters["cutoff"] ** -12 - parameters["cutoff"] ** -6)
            virial += abs(term * r2)
    assert np.allclose(sizes["force"][0], forces, rtol=1e-11, atol=0)
    assert sizes["potential_energy"][0] == pytest.approx(potential, rel=1e-11)
    assert sizes["virial"][0] == pytest.approx(virial, rel=1e-11)
    assert np.allclose(sizes["momentum"][0], np.abs(v).sum(axis=0), rtol=1e-13)
    for field in spec.DERIVED:
        assert np.all(np.abs(seen[field]) <= sizes[field] * (1 + 1e-14))


@pytest.mark.parametrize("size", ["one row", "all rows"])
def test_blocks(size, monkeypatch):
    """How many rows of the pairs are summed at a time changes nothing but rounding."""
    parameters = spec.parameters(**spec.CASES["walls-500"])  # 500 is not a whole number of blocks
    state, pairs = spec.disordered_state(parameters), spec.pairs
    seen = spec.observe(parameters, state)

    def other_blocks(parameters, x):
        blocks = list(pairs(parameters, x))
        assert len(blocks) > 2 and blocks[-1][3].shape != blocks[0][3].shape
        d, r2, near = (np.concatenate([block[i] for block in blocks], axis=-2) for i in (1, 2, 3))
        if size == "all rows":
            yield slice(0, len(x)), d, r2, near
        else:
            for i in range(len(x)):
                yield slice(i, i + 1), d[:, i : i + 1].copy(), r2[i : i + 1], near[i : i + 1]

    monkeypatch.setattr(spec, "pairs", other_blocks)
    assert_same_but_for_rounding(parameters, state, seen, spec.observe(parameters, state))


def test_difference():
    """Positions differ by the shortest way round a periodic box, everything else by a - b."""
    periodic, walls = ({"box": (8.0, 8.0, 8.0), "boundary": boundary} for boundary in ("periodic", "walls"))
    a, b = np.array([[[0.5, 4, 7.75]]]), np.array([[[7.5, 3, 0.25]]])
    assert spec.difference(periodic, "position", a, b).tolist() == [[[1.0, 1.0, -0.5]]]
    assert spec.difference(walls, "position", a, b).tolist() == [[[-7.0, 1.0, 7.5]]]
    assert spec.difference(periodic, "velocity", a, b).tolist() == [[[-7.0, 1.0, 7.5]]]


@pytest.mark.parametrize("name", PROBES)
def test_probe(name):
    """Every probe is legal, its fields have the stated shapes, and it survives a step."""
    parameters, state = PROBES[name]
    spec.check_state(parameters, state)
    after = spec.advance(parameters, state, 1)
    spec.check_state(parameters, after)
    everything = {**after, **spec.observe(parameters, after)}
    for field, about in {**spec.STATE, **spec.DERIVED}.items():
        assert everything[field].shape == tuple(parameters.get(axis, axis) for axis in about["shape"])


def test_boxes_do_not_meet():
    """The boxes of an ensemble, run together, do to the bit what each does alone."""
    parameters, state = STATES["two boxes that must not meet"]
    together = spec.advance(parameters, state, 5)
    for i in range(2):
        alone = spec.advance({**parameters, "boxes": 1}, {field: a[i : i + 1] for field, a in state.items()}, 5)
        assert all(np.array_equal(alone[field][0], together[field][i]) for field in spec.STATE)


def test_imports_only_numpy():
    """The specification can be read, and run, with nothing but NumPy."""
    tree = ast.parse(Path(spec.__file__).read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"numpy"}

"""Motion: the walls, the periodic boundary, and what velocity Verlet keeps."""

from std.testing import TestSuite, assert_almost_equal, assert_equal
from std.testing import assert_raises, assert_true

from particles.arrays import EPSILON, Real, Vec
from particles.motion import advance, drift
from particles.forces import potential_and_virial
from particles.observe import kinetic_energy
from particles.periodic import wrapped
from particles.system import System
from particles.threads import Team

from states import ROUNDING, at_rest, jittered, parameters, same, system_of


def test_two_bounces_in_one_step() raises:
    var team = Team()
    var given = parameters(1, "8.0 8.0 8.0", "walls")
    # 0.005 * 1900 = 9.5: 1 + 9.5 = 10.5 -> 16 - 10.5 = 5.5, one bounce;
    # 0.005 * 3500 = 17.5: 18.5 -> -2.5 -> 2.5, two; -0.3 -> 0.3, one.
    var system = system_of(
        given, [Vec(1, 1, 1, 0)], [Vec(1900, 3500, -260, 0)], team
    )
    drift(system, 0)
    assert_almost_equal(
        system.position[0], Vec(5.5, 2.5, 0.3, 0), rtol=50 * ROUNDING, atol=0
    )
    assert_equal(system.velocity[0], Vec(-1900, 3500, 260, 0))


def test_wrapped() raises:
    var box = Vec(8, 8, 8, 1)
    assert_equal(wrapped(box, Vec(-1, 8, 17, 0)), Vec(7, 0, 1, 0))
    # Just below 0 is rounded to 8, which is 0; inside, no bit changes.
    var below = 8 - 4 * EPSILON
    assert_equal(wrapped(box, Vec(-1e-17, 0, below, 0)), Vec(0, 0, below, 0))


def test_a_step_too_long_is_an_error() raises:
    for boundary in ["periodic", "walls"]:
        var team = Team()
        var given = parameters(1, "8.0 8.0 8.0", boundary)
        var system = system_of(
            given, [Vec(1, 1, 1, 0)], [Vec(0, 1e6, 0, 0)], team
        )
        system.remember()
        with assert_raises(contains="too long"):
            advance(system, 1, team)
        system.go_back()
        assert_equal(system.position[0], Vec(1, 1, 1, 0))
        system.velocity[0] = Vec(0)
        advance(system, 1, team)


def test_energy_is_kept_and_time_reversed() raises:
    for boundary in ["periodic", "walls"]:
        var team = Team()
        var start = jittered(5, 1.15)
        var system = at_rest(start, "5.75 5.75 5.75", boundary, team)
        advance(system, 10, team)
        var before = energy(system)
        advance(system, 90, team)
        assert_almost_equal(energy(system), before, rtol=0.005)
        for ref v in system.velocity:
            v = -v
        advance(system, 100, team)
        for i in range(system.particles):
            var back = wrapped(system.box, system.position[i])
            assert_almost_equal(back, start[i], atol=1e4 * ROUNDING)


def energy(system: System) -> Real:
    """What velocity Verlet keeps."""
    return kinetic_energy(system.velocity) + potential_and_virial(system)[0]


def test_threads_change_no_bit() raises:
    for boundary in ["periodic", "walls"]:
        var alone = Team()
        var start = jittered(6, 1.1)
        var one = at_rest(start, "6.6 6.6 6.6", boundary, alone)
        advance(one, 50, alone)
        for threads in range(2, 5):
            var team = Team(threads)
            var many = at_rest(start, "6.6 6.6 6.6", boundary, team)
            advance(many, 50, team)
            assert_true(same(one.position, many.position, one.particles))
            assert_true(same(one.velocity, many.velocity, one.particles))


def main() raises:
    TestSuite.discover_tests[__functions_in_module()]().run()

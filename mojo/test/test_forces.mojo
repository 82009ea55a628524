"""Forces and energies of a few particles, known in closed form."""

from std.testing import (
    TestSuite,
    assert_almost_equal,
    assert_equal,
    assert_true,
)

from particles.arrays import EPSILON, Real, Vec, total
from particles.forces import forces, potential_and_virial
from particles.pairs import pair_force, pair_potential
from particles.system import System, check_distinct
from particles.threads import Team

from states import ROUNDING, at_rest, jittered


def force_on_first(
    a: Vec, b: Vec, boundary: String = "periodic", cutoff: Float64 = 2.5
) raises -> Vec:
    """The force on a particle at a from one at b, in a cube of side 8."""
    var team = Team()
    var system = at_rest([a, b], "8.0 8.0 8.0", boundary, team, cutoff)
    forces(system, 0)
    assert_equal(system.force[0], -system.force[1])
    return system.force[0]


def test_two_particles() raises:
    var force = force_on_first(Vec(1, 1, 1, 0), Vec(3, 1, 1, 0))
    # 24 (2 r^-13 - r^-7) at r = 2, attractive
    assert_almost_equal(
        force[0],
        Real(24 * (2.0**-7 - 2 * 2.0**-13)),
        rtol=5 * ROUNDING,
        atol=0,
    )
    assert_equal(force[1], 0)
    assert_equal(force[2], 0)


def test_energy_and_virial() raises:
    var team = Team()
    var pair: List[Vec] = [Vec(1, 1, 1, 0), Vec(1, 2, 1, 0)]
    var system = at_rest(pair, "8.0 8.0 8.0", "walls", team)
    var potential, virial = potential_and_virial(system)
    # At r = 1 the energy is 0 before it is shifted, and the force is 24.
    var cut = 2.5**-12 - 2.5**-6
    assert_almost_equal(potential, Real(-4 * cut), rtol=5 * ROUNDING, atol=0)
    assert_equal(virial, 24)


def test_images_across_faces() raises:
    for axis in range(3):
        var a = Vec(4, 4, 4, 0)
        var b = a
        a[axis] = 0.25
        b[axis] = 7.25
        var d = Vec(0)
        d[axis] = 1
        assert_equal(force_on_first(a, b), pair_force(Real(1)) * d)
        assert_equal(force_on_first(a, b, "walls"), Vec(0))


def test_images_across_corner() raises:
    var force = force_on_first(Vec(0.5, 0.5, 0.5, 0), Vec(7.5, 7.5, 7.5, 0))
    assert_equal(force, pair_force(Real(3)) * Vec(1, 1, 1, 0))


def test_cutoff_is_sharp() raises:
    var a = Vec(1, 1, 1, 0)
    assert_equal(force_on_first(a, Vec(3.5, 1, 1, 0)), Vec(0))
    var just_inside = 3.5 - 2 * EPSILON
    assert_true(force_on_first(a, Vec(just_inside, 1, 1, 0))[0] > 0)


def test_half_a_box_apart() raises:
    var a = Vec(1, 1, 1, 0)
    assert_equal(force_on_first(a, Vec(5, 1, 1, 0), cutoff=4), Vec(0))
    assert_true(force_on_first(a, Vec(4.75, 1, 1, 0), cutoff=4)[0] > 0)
    assert_true(force_on_first(a, Vec(5.25, 1, 1, 0), cutoff=4)[0] < 0)


def test_one_particle_does_not_meet_itself() raises:
    var team = Team()
    var alone: List[Vec] = [Vec(1, 1, 1, 0)]
    var system = at_rest(alone, "5.0 5.0 5.0", "periodic", team)
    forces(system, 0)
    assert_equal(system.force[0], Vec(0))


def test_forces_cancel() raises:
    var team = Team()
    var system = at_rest(jittered(5, 1.1), "5.5 5.5 5.5", "periodic", team)
    forces(system, 0)
    assert_true(abs(total(system.force)).lt(5e5 * EPSILON).reduce_and())


def test_force_is_the_slope_of_the_energy() raises:
    var h = EPSILON ** (1 / 3)
    for r in [Real(0.95), Real(1.1), Real(1.4), Real(2.2)]:
        var slope = pair_potential((r + h) ** 2) - pair_potential((r - h) ** 2)
        var force = pair_force(r * r) * r
        assert_almost_equal(-slope / (2 * h), force, rtol=1000 * Float64(h * h))


def is_refused(a: Vec, b: Vec, boundary: String) raises -> Bool:
    """Whether two particles count as being at one point of a cube of side 8."""
    var team = Team()
    var system = at_rest([a, b], "8.0 8.0 8.0", boundary, team)
    try:
        check_distinct(system)
        return False
    except:
        return True


def test_particles_at_one_point() raises:
    var a = Vec(0, 4, 4, 0)
    for boundary in ["periodic", "walls"]:
        assert_true(is_refused(a, a, boundary))
        # Beside 8, rounding does not tell these apart.
        assert_true(is_refused(a, Vec(1e-17, 4, 4, 0), boundary))
        assert_true(not is_refused(a, Vec(1e-3, 4, 4, 0), boundary))
    # Opposite faces are one in the periodic box.
    assert_true(is_refused(a, Vec(8, 4, 4, 0), "periodic"))
    assert_true(not is_refused(a, Vec(8, 4, 4, 0), "walls"))


def main() raises:
    TestSuite.discover_tests[__functions_in_module()]().run()

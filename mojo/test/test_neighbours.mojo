"""The list of neighbours equals what a look at all pairs finds."""

from std.math import sqrt
from std.random import seed
from std.testing import TestSuite, assert_equal, assert_true

from particles.arrays import EPSILON, Real, Vec, square
from particles.forces import separation
from particles.images import move_images
from particles.neighbours import measure_moves, moved_too_far
from particles.periodic import wrapped
from particles.system import System
from particles.threads import Team

from states import at_rest, random, scattered


def check_against_all_pairs(
    particles: Int,
    sides: Vec,
    boundary: String,
    threads: Int,
    cutoff: Float64 = 2.5,
) raises:
    """Compare the list with all pairs of all images at most a box away."""
    var team = Team(threads)
    var box = String(sides[0], " ", sides[1], " ", sides[2])
    var points = scattered(particles, sides)
    var system = at_rest(points, box, boundary, team, cutoff)
    var images = 1 if boundary == "periodic" else 0
    var pairs = 0
    for ref part in system.parts:
        for i in range(part.first, part.last):
            var expected = List[Real]()
            for j in range(particles):
                for a in range(-images, images + 1):
                    for b in range(-images, images + 1):
                        for c in range(-images, images + 1):
                            var shift = sides * Vec(
                                Real(a), Real(b), Real(c), 0
                            )
                            var itself = i == j and a == b == c == 0
                            var r2 = square(points[i] - points[j] - shift)
                            if not itself and r2 <= system.reach() ** 2:
                                expected.append(r2)
            var found = List[Real]()
            for k in part.neighbours(i):
                var j = Int(k)
                assert_true(j != i)
                var d = points[i] - system.position[j] - system.shift[j]
                found.append(square(d))
            sort(expected)
            sort(found)
            assert_equal(found, expected)
            pairs += len(found)
    assert_true(pairs > 0)


def test_periodic() raises:
    check_against_all_pairs(300, Vec(9, 11, 14, 0), "periodic", 1)


def test_smallest_legal_box() raises:
    check_against_all_pairs(60, Vec(5, 5, 7, 0), "periodic", 1)
    check_against_all_pairs(60, Vec(5, 5, 5, 0), "periodic", 3)


def test_walls() raises:
    check_against_all_pairs(300, Vec(9, 11, 14, 0), "walls", 2)
    check_against_all_pairs(40, Vec(1, 7, 12, 0), "walls", 1)


def test_short_cutoff_in_a_large_box() raises:
    # Here cells of half the reach would be far more than particles.
    check_against_all_pairs(400, Vec(30, 30, 30, 0), "periodic", 1, cutoff=0.7)
    check_against_all_pairs(2000, Vec(50, 1, 50, 0), "walls", 1, cutoff=0.1)


def test_more_threads_than_particles() raises:
    check_against_all_pairs(3, Vec(5, 5, 5, 0), "periodic", 5)


def test_half_the_skin() raises:
    var team = Team()
    var points: List[Vec] = [Vec(1, 1, 1, 0), Vec(4, 4, 4, 0)]
    var system = at_rest(points, "8.0 8.0 8.0", "periodic", team)
    for moved in [(0.49, False), (0.5, True), (0.51, True)]:
        var way = Real(moved[0]) * system.skin
        system.position[1] = points[1] + Vec(0, way, 0, 0)
        measure_moves(system, 0)
        assert_equal(moved_too_far(system), moved[1])


def farthest_move(mut system: System) -> Real:
    """How far a particle may move before the neighbours are listed anew."""
    var low, high = (Real(0), system.skin)
    for _ in range(60):
        system.parts[0].moved2 = ((low + high) / 2) ** 2
        if moved_too_far(system):
            high = (low + high) / 2
        else:
            low = (low + high) / 2
    return low


def test_rounding_loses_no_pair() raises:
    """Two just came within the cutoff, and each moved as far as it may."""
    var team = Team()
    var side = Real(300)
    var met = 0
    seed(1)
    for _ in range(10000):
        var d = Vec(random(-1, 1), random(-1, 1), random(-1, 1), 0)
        d /= sqrt(square(d))
        var x = Vec(random(0, 2), random(0, side), random(140, 160), 0)
        var system = at_rest([x, x], "300.0 300.0 300.0", "periodic", team)
        var way = farthest_move(system)
        var apart = 2.5 + 2 * way + random(-2, 2) * EPSILON * side
        var y = wrapped(system.box, x - apart * d)
        system = at_rest([x, y], "300.0 300.0 300.0", "periodic", team)
        system.position[0] -= way * d
        system.position[1] += way * d
        move_images(system, 0)
        measure_moves(system, 0)
        if moved_too_far(system):
            continue
        for k in range(2):
            for j in range(2, len(system.position)):
                if Int(system.source[j - 2]) != k:
                    var d = separation(system, system.position[k], j)
                    if square(d) < system.cutoff * system.cutoff:
                        met += 1
                        var found = system.parts[0].neighbours(k)
                        assert_equal(len(found), 1)
    assert_true(met > 100)


def main() raises:
    TestSuite.discover_tests[__functions_in_module()]().run()

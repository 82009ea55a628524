"""The tuned box against the plain one: the same forces, and the same bits on any number of threads."""

from std.testing import TestSuite, assert_almost_equal, assert_equal
from std.testing import assert_raises, assert_true

from particles.arrays import Real, Vec, square
from particles.plain import PlainBox
from particles.threads import Team
from particles_simd import TunedBox
from particles_simd.clusters import members, neighbours
from particles_simd.columns import columns, sums
from particles_simd.neighbours import SORTED, rebuild
from particles_simd.vectors import AT_A_TIME, LANES, MEMBERS, Some, pack

from states import ROUNDING, jittered, parameters, same, scattered


def table(rows: Int) -> List[Vec]:
    """Rows i, 10 i, 100 i, 0."""
    var made = List[Vec](capacity=rows)
    for i in range(rows):
        made.append(Vec(Real(i), Real(10 * i), Real(100 * i), 0))
    return made^


def test_rows_transposed() raises:
    comptime if MEMBERS == 1:
        var start = List[Int32]()
        for i in range(LANES):
            start.append(Int32(4 * (LANES - 1 - i)))
        var rows = table(LANES)
        var x, y, z = columns(
            rows.unsafe_ptr().unsafe_bitcast[Real](), start.unsafe_ptr()
        )
        for lane in range(LANES):
            assert_equal(x[lane], Real(LANES - 1 - lane))
            assert_equal(y[lane], 10 * x[lane])
            assert_equal(z[lane], 100 * x[lane])
        var all = Real(LANES * (LANES - 1) // 2)
        assert_equal(sums(x, y, z), Vec(all, 10 * all, 100 * all, 0))
        _ = rows^


def test_members_and_neighbours() raises:
    comptime if MEMBERS > 1:
        var rows = table(3 * MEMBERS)
        var at = rows.unsafe_ptr().unsafe_bitcast[Real]()
        var xi, yi, zi = members(at, MEMBERS)
        var start: List[Int32] = [4 * 21, 4 * 5]
        var xj, yj, zj = neighbours(at, start.unsafe_ptr())
        for lane in range(LANES):
            assert_equal(xi[lane], Real(MEMBERS + lane % MEMBERS))
            assert_equal(yi[lane], 10 * xi[lane])
            assert_equal(zi[lane], 100 * xi[lane])
            assert_equal(xj[lane], Real(21 if lane < MEMBERS else 5))
            assert_equal(yj[lane], 10 * xj[lane])
            assert_equal(zj[lane], 100 * xj[lane])
        _ = rows^


def test_pack() raises:
    for mask in range(0, 1 << AT_A_TIME, 77):
        var rows = Some(0)
        var wanted = SIMD[DType.bool, AT_A_TIME](fill=False)
        var expected = List[Int32]()
        for lane in range(AT_A_TIME):
            rows[lane] = Int32(7 * lane + 1)
            wanted[lane] = (mask >> lane) & 1 == 1
            if wanted[lane]:
                expected.append(rows[lane])
        var packed = List[Int32](length=AT_A_TIME + 1, fill=-1)
        var found = pack(packed.unsafe_ptr(), rows, wanted)
        assert_equal(found, len(expected))
        for k in range(found):
            assert_equal(packed[k], expected[k])
        assert_equal(packed[AT_A_TIME], -1)


def check_forces(
    points: List[Vec], sides: String, boundary: String, cutoff: Float64 = 2.5
) raises:
    """Compare forces and observables with those of the plain box."""
    var alone = Team()
    var given = parameters(len(points), sides, boundary, cutoff)
    var still = List[Vec](length=len(points), fill=Vec(0))
    var plain = PlainBox(given, points, still, 1)
    plain.begin(alone)
    var expected = plain.shown(alone)
    for threads in range(1, 4):
        var team = Team(threads)
        var tuned = TunedBox(given, points, still, threads)
        tuned.begin(team)
        var found = tuned.shown(team)
        assert_true(same(found.position, points, len(points)))
        for i in range(len(points)):
            # What cancels in the sum of a few dozen forces is rounded too.
            var size = Float64(abs(expected.force[i]).reduce_max() + 100)
            assert_almost_equal(
                found.force[i], expected.force[i], atol=200 * ROUNDING * size
            )
        for pair in [
            (
                found.observation.potential_energy,
                expected.observation.potential_energy,
            ),
            (found.observation.virial, expected.observation.virial),
            (found.observation.pressure, expected.observation.pressure),
        ]:
            assert_almost_equal(pair[0], pair[1], rtol=1e4 * ROUNDING)


def test_forces_of_a_liquid() raises:
    check_forces(jittered(6, 1.1), "6.6 6.6 6.6", "periodic")
    check_forces(jittered(6, 1.1), "6.6 6.6 6.6", "walls")


def test_smallest_legal_box() raises:
    check_forces(jittered(4, 1.25), "5.0 5.0 5.0", "periodic")


def test_a_dense_corner() raises:
    check_forces(jittered(7, 1.1), "60.0 60.0 60.0", "periodic")
    check_forces(jittered(7, 1.1), "60.0 60.0 60.0", "walls")


def test_cutoff_beyond_the_walls() raises:
    check_forces(jittered(4, 1.1), "4.4 4.4 4.4", "walls", cutoff=20)


def test_few_particles() raises:
    check_forces([Vec(1, 1, 1, 0)], "8.0 8.0 8.0", "periodic")
    check_forces(
        [Vec(1, 1, 1, 0), Vec(7.5, 1, 7.5, 0)], "8.0 8.0 8.0", "periodic"
    )


def test_every_neighbour_is_listed_once() raises:
    """As often as a look at all pairs of all images finds them."""
    var points = scattered(300, Vec(6, 7, 9, 0))
    var team = Team(2)
    var still = List[Vec](length=300, fill=Vec(0))
    var given = parameters(300, "6.0 7.0 9.0", "periodic")
    var box = TunedBox(given, points, still, 2)
    rebuild(box.system, team)
    ref system = box.system
    var found = 0
    var reach2 = system.reach() * system.reach()
    for ref part in system.parts:
        for i in range(part.first, part.last):
            for start in part.listed(i):
                var j = Int(start) // 4
                assert_true(j <= system.total() and (j != i or MEMBERS > 1))
                # A cluster lists what is near to any of its members.
                var r2 = square(system.position[i] - system.position[j])
                found += Int(r2 <= reach2 and j != i)
    var expected = 0
    for x in points:
        for y in points:
            for a in range(-1, 2):
                for b in range(-1, 2):
                    for c in range(-1, 2):
                        var d = (
                            x
                            - y
                            + Vec(Real(6 * a), Real(7 * b), Real(9 * c), 0)
                        )
                        var r2 = (d * d).reduce_add()
                        expected += Int(r2 <= reach2)
    assert_equal(found, expected - 300)


def test_energy_is_kept_and_threads_change_no_bit() raises:
    for boundary in ["periodic", "walls"]:
        var start = jittered(5, 1.15)
        var still = List[Vec](length=len(start), fill=Vec(0))
        var given = parameters(len(start), "5.75 5.75 5.75", boundary)
        var alone = Team()
        var one = TunedBox(given, start, still, 1)
        one.begin(alone)
        one.advance(10, alone)
        var before = one.shown(alone)
        one.advance(90, alone)
        var after = one.shown(alone)
        assert_almost_equal(
            after.observation.kinetic_energy
            + after.observation.potential_energy,
            before.observation.kinetic_energy
            + before.observation.potential_energy,
            rtol=0.005,
        )
        for threads in range(2, 5):
            var team = Team(threads)
            var many = TunedBox(given, start, still, threads)
            many.begin(team)
            many.advance(100, team)
            var shown = many.shown(team)
            assert_true(same(shown.position, after.position, len(start)))
            assert_true(same(shown.velocity, after.velocity, len(start)))


def test_a_failed_run_changes_nothing() raises:
    var start = jittered(5, 1.15)
    var still = List[Vec](length=len(start), fill=Vec(0))
    var given = parameters(len(start), "5.75 5.75 5.75", "periodic")
    var team = Team(2)
    var box = TunedBox(given, start, still, 2)
    box.begin(team)
    box.advance(20, team)
    box.remember()
    var before = box.shown(team)
    box.system.velocity[3] = Vec(1e7, 0, 0, 0)
    with assert_raises(contains="too long"):
        box.advance(3, team)
    box.system.velocity[3] = Vec(0)
    box.go_back(team)
    var after = box.shown(team)
    assert_true(same(after.position, before.position, len(start)))
    assert_true(same(after.velocity, before.velocity, len(start)))
    box.advance(3, team)


def test_who_is_fetched_ahead() raises:
    """About the farthest in sight, in a box with more slabs than columns in each."""
    var points = scattered(3400, Vec(24, 14, 12, 0))
    var still = List[Vec](length=len(points), fill=Vec(0))
    var given = parameters(len(points), "24.0 14.0 12.0", "periodic")
    var team = Team()
    var box = TunedBox(given, points, still, 1)
    rebuild(box.system, team)
    var farthest = 0
    for i in range(0, len(points), MEMBERS):
        for start in box.system.parts[0].listed(i):
            var j = Int(start) // 4
            if j < len(points):
                farthest = max(farthest, j - i)
    var expected = Float64(farthest if MEMBERS > 1 or SORTED else 0)
    assert_almost_equal(Float64(box.system.ahead), expected, atol=120)


def test_two_at_one_point() raises:
    var points: List[Vec] = [Vec(0, 1, 1, 0), Vec(3, 1, 1, 0), Vec(8, 1, 1, 0)]
    var still = List[Vec](length=3, fill=Vec(0))
    var team = Team()
    var box = TunedBox(
        parameters(3, "8.0 8.0 8.0", "periodic"), points, still, 1
    )
    with assert_raises(contains="particles 0 and 2"):
        box.begin(team)


def main() raises:
    TestSuite.discover_tests[__functions_in_module()]().run()

"""A case goes from a folder to a folder; what is wrong with one is said."""

from std.os import makedirs
from std.testing import TestSuite, assert_equal, assert_raises, assert_true

from particles.arrays import EPSILON, Vec, read_rows, write_rows
from particles.plain import PlainBox
from particles.simulation import Simulation
from particles.threads import Team

from states import Scratch, jittered

comptime TWO_BOXES = """boxes = 2
particles = 125
box = 5.75 5.75 5.75
boundary = periodic
cutoff = 2.5
dt = 0.005
"""


def two_jittered() -> List[Vec]:
    """The same positions in both boxes."""
    var position = jittered(5, 1.15)
    position.extend(Span(jittered(5, 1.15)))
    return position^


def write_case(folder: String) raises:
    """Write two boxes, the second of them moving."""
    with open(folder + "/parameters.txt", "w") as file:
        file.write(TWO_BOXES)
    var velocity = List[Vec](length=125, fill=Vec(0))
    velocity.extend(Span(List[Vec](length=125, fill=Vec(1, -2, 3, 0))))
    write_rows(folder, "position", two_jittered())
    write_rows(folder, "velocity", velocity)


def test_load_and_save() raises:
    with Scratch() as folder:
        write_case(folder)
        var results = List[List[List[Vec]]]()
        for threads in range(1, 4):
            var team = Team(threads)
            var simulation = Simulation[PlainBox](folder, team)
            var saved = String(folder, "/saved by ", threads)
            makedirs(saved)
            simulation.save(saved, team)
            for field in ["position", "velocity"]:
                var before = read_rows(folder, field, 2, 125)
                var after = read_rows(saved, field, 2, 125)
                assert_true(before == after)
            _ = simulation.run(20, team)
            simulation.save(saved, team)
            results.append(read_rows(saved, "position", 2, 125))
            assert_true(results[0] == results[threads - 1])
            var momentum = read_rows(saved, "momentum", 2, 1)
            assert_true(
                abs(momentum[1][0] - Vec(125, -250, 375, 0))
                .lt(1e4 * EPSILON)
                .reduce_and()
            )


def test_looking_changes_nothing() raises:
    with Scratch() as folder:
        write_case(folder)
        var team = Team()
        var seen = Simulation[PlainBox](folder, team)
        var unseen = Simulation[PlainBox](folder, team)
        for _ in range(5):
            _ = seen.run(7, team)
            seen.save(folder, team)
        _ = unseen.run(35, team)
        for b in range(2):
            assert_true(
                seen.boxes[b].system.position == unseen.boxes[b].system.position
            )
            assert_true(
                seen.boxes[b].system.velocity == unseen.boxes[b].system.velocity
            )


def test_a_failed_run_changes_nothing() raises:
    with Scratch() as folder:
        write_case(folder)
        var team = Team(2)
        var simulation = Simulation[PlainBox](folder, team)
        simulation.boxes[1].system.velocity[3] = Vec(1e7, 0, 0, 0)
        with assert_raises(contains="too long"):
            _ = simulation.run(3, team)
        simulation.save(folder, team)
        assert_true(
            read_rows(folder, "position", 2, 125)[0] == jittered(5, 1.15)
        )
        _ = simulation.run(0, team)


def test_wrong_cases_are_refused() raises:
    with Scratch() as folder:
        var team = Team()
        with assert_raises(contains="no folder"):
            _ = Simulation[PlainBox](folder + "/none", team)
        with assert_raises(contains="no file"):
            _ = Simulation[PlainBox](folder, team)
        var bad: List[Tuple[Vec, String]] = [
            (Vec(FloatLiteral.nan, 1, 1, 0), "not a finite number"),
            (Vec(1, 6, 1, 0), "outside"),
            (Vec(1, 1, -0.1, 0), "outside"),
        ]
        for wrong in bad:
            write_case(folder)
            var position = two_jittered()
            position[130] = wrong[0]
            write_rows(folder, "position", position)
            with assert_raises(contains=wrong[1]):
                _ = Simulation[PlainBox](folder, team)
        write_case(folder)
        write_rows(folder, "velocity", [Vec(1, 2, 3, 0)])
        with assert_raises(contains="bytes"):
            _ = Simulation[PlainBox](folder, team)


def main() raises:
    TestSuite.discover_tests[__functions_in_module()]().run()

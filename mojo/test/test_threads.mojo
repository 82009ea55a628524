"""A team does each part of its work once, and wakes when it was asleep."""

from std.testing import TestSuite, assert_equal
from std.time import sleep

from particles.threads import Team


struct Counts(Movable):
    """How often each part was done."""

    var done: List[Int]

    def __init__(out self, parts: Int):
        self.done = List[Int](length=parts, fill=0)


def count(mut counts: Counts, number: Int):
    counts.done[number] += 1


def test_each_part_once() raises:
    for size in range(1, 5):
        var team = Team(size)
        var counts = Counts(team.size)
        for round in range(200):
            team.share[count](counts)
            if round % 50 == 0:
                sleep(0.01)
        for number in range(team.size):
            assert_equal(counts.done[number], 200)


def test_teams_come_and_go() raises:
    for _ in range(200):
        var team = Team(3)
        var counts = Counts(team.size)
        team.share[count](counts)
        assert_equal(counts.done[0], 1)


def main() raises:
    TestSuite.discover_tests[__functions_in_module()]().run()

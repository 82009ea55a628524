"""States that the tests start from, and folders for them."""

from std.os import listdir, remove, rmdir
from std.os.path import isdir
from std.random import random_float64, seed
from std.tempfile import mkdtemp

from particles.arrays import EPSILON, Real, Vec
from particles.neighbours import rebuild
from particles.parameters import Parameters
from particles.system import System
from particles.threads import Team

comptime ROUNDING = Float64(EPSILON)
"""What rounding may change, in the type in which tolerances are given."""


def parameters(
    particles: Int, box: String, boundary: String, cutoff: Float64 = 2.5
) raises -> Parameters:
    """The parameters of one box, whose sides are in the text `box`."""
    return Parameters(
        String(
            t"boxes = 1\nparticles = {particles}\nbox = {box}\n",
            t"boundary = {boundary}\ncutoff = {cutoff}\ndt = 0.005\n",
        )
    )


def system_of(
    given: Parameters, position: List[Vec], velocity: List[Vec], mut team: Team
) -> System:
    """A box with these particles, their neighbours listed."""
    var system = System(given, position, velocity, team.size)
    rebuild(system, team)
    return system^


def at_rest(
    position: List[Vec],
    box: String,
    boundary: String,
    mut team: Team,
    cutoff: Float64 = 2.5,
) raises -> System:
    """A box with particles at rest, their neighbours listed."""
    var given = parameters(len(position), box, boundary, cutoff)
    var velocity = List[Vec](length=len(position), fill=Vec(0))
    return system_of(given, position, velocity, team)


def scattered(particles: Int, box: Vec) -> List[Vec]:
    """Random points in the box."""
    seed(particles)
    var points = List[Vec](capacity=particles)
    for _ in range(particles):
        var x = random(0, box[0])
        var y = random(0, box[1])
        var z = random(0, box[2])
        points.append(Vec(x, y, z, 0))
    return points^


def jittered(cells: Int, spacing: Real) -> List[Vec]:
    """A cubic lattice of cells^3 points, each moved a little at random."""
    seed(cells)
    var points = List[Vec](capacity=cells * cells * cells)
    for i in range(cells * cells * cells):
        var lattice = Vec(
            Real(i // (cells * cells)),
            Real(i // cells % cells),
            Real(i % cells),
            0,
        )
        var jitter = Vec(
            random(0.3, 0.7),
            random(0.3, 0.7),
            random(0.3, 0.7),
            0,
        )
        points.append(spacing * (lattice + jitter))
    return points^


def random(low: Real, high: Real) -> Real:
    """A random number between these."""
    return Real(random_float64(Float64(low), Float64(high)))


def same(a: List[Vec], b: List[Vec], count: Int) -> Bool:
    """Whether the first `count` vectors of both are the same."""
    for i in range(count):
        if a[i] != b[i]:
            return False
    return True


struct Scratch:
    """A folder that is there for the length of a `with` block.

    Not the standard library's TemporaryDirectory: that of Mojo 1.2 swallows the
    errors raised in its block, failed assertions too.
    """

    var path: String

    def __init__(out self) raises:
        self.path = mkdtemp()

    def __enter__(self) -> String:
        return self.path

    def __exit__(self) raises:
        remove_all(self.path)


def remove_all(path: String) raises:
    """Remove the file or the folder and what is in it."""
    if not isdir(path):
        remove(path)
        return
    for name in listdir(path):
        remove_all(String(path, "/", name))
    rmdir(path)

"""A list for each particle, whose neighbours are looked at as many at a time as a vector has lanes."""

from particles.arrays import Real, Vec
from std.sys.intrinsics import prefetch

from .candidates import list_run
from .cells import cell_of
from .columns import columns, sums
from .order import Order
from .system import RIM, System
from .vectors import LANES, Lanes, Rows, pair_forces, pull, whole


struct OrderOfCells(Order):
    """The order of the cells."""

    def __init__(out self, system: System):
        pass

    def slabs(self, system: System) -> Int:
        """How many there are along x."""
        return system.count[0] - 2 * RIM

    def columns(self, system: System) -> Int:
        """How many there are in a slab."""
        return system.count[1] - 2 * RIM

    def per_length(self, system: System) -> Vec:
        """How many there are in a unit of length along each axis."""
        return system.per_length

    def places(self, system: System) -> Int:
        """How many places there are."""
        return len(system.start) - 2

    def place(self, system: System, x: Vec) -> Int:
        """That of the point x."""
        return cell_of(system, x, RIM)  # the rim is for images


def list_neighbours(mut system: System, number: Int):
    """For a part of the particles: all others, and images, within reach."""
    var column = system.count[2]
    var layer = system.count[1] * column
    var nobody = Rows(Int32(4 * system.total()))
    var first = system.parts[number].first
    var listed = 0
    for i in range(first, system.parts[number].last):
        var here = system.position[i]
        system.listed_position[i] = here
        var own = Int(system.cell.unsafe_get(i))
        for a in range(-RIM, RIM + 1):
            for b in range(-RIM, RIM + 1):
                var cell = own + a * layer + b * column
                var run = (
                    Int(system.start.unsafe_get(cell - RIM)),
                    Int(system.start.unsafe_get(cell + RIM + 1)),
                )
                listed += list_run(
                    system, number, here, here, run, Int32(4 * i), listed
                )
        ref part = system.parts[number]
        part.make_room(listed, 0)
        part.neighbour.unsafe_ptr().unsafe_store(listed, nobody)
        listed = whole(listed, LANES)
        part.begin[i - first + 1] = listed
    ref part = system.parts[number]
    part.make_room(listed, 0)
    for k in range(2):  # as far as forces() looks ahead
        part.neighbour.unsafe_ptr().unsafe_store(listed + k * LANES, nobody)


def forces[and_kick: Bool](mut system: System, number: Int):
    """The force on each of a part of the particles, and perhaps half a kick by it.

    The coordinates of two vectors of neighbours are on their way, be they the next particle's,
    while the forces of those before them are found: the processor has no room for so many
    operations that wait that it would come to them by itself.
    """
    ref part = system.parts[number]
    var cutoff2 = system.cutoff * system.cutoff
    var half = 0.5 * system.dt
    var x = system.position.unsafe_ptr().unsafe_bitcast[Real]()
    var mine = part.neighbour.unsafe_ptr()
    var x1, y1, z1 = columns(x, mine)
    var x2, y2, z2 = columns(x, mine.unsafe_offset(LANES))
    for i in range(part.first, part.last):
        var here = system.position.unsafe_get(i)
        var xi, yi, zi = Lanes(here[0]), Lanes(here[1]), Lanes(here[2])
        var fx, fy, fz = Lanes(0), Lanes(0), Lanes(0)
        var begin = part.begin.unsafe_get(i - part.first)
        var end = part.begin.unsafe_get(i - part.first + 1)
        system.fetch_ahead(i)
        for k in range(begin, end, LANES):
            var dx, dy, dz = xi - x1, yi - y1, zi - z1
            x1, y1, z1 = x2, y2, z2
            x2, y2, z2 = columns(x, mine.unsafe_offset(k + 2 * LANES))
            # The list is read once, from far away.
            prefetch(mine.unsafe_offset(k + 64 * LANES))
            var r2 = dx * dx + dy * dy + dz * dz
            pull(fx, fy, fz, dx, dy, dz, pair_forces(r2), r2.lt(cutoff2))
        var force = sums(fx, fy, fz)
        system.force.unsafe_get(i) = force
        comptime if and_kick:
            system.velocity.unsafe_get(i) += half * force

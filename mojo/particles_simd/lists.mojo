"""A list for each particle, whose neighbours are looked at as many at a time as a vector has lanes."""

from particles.arrays import Real, Vec
from particles.pairs import pair_force
from std.math import iota

from .cells import cell_of
from .columns import columns, sums
from .order import Order
from .system import RIM, System
from .vectors import LANES, Lanes, Rows, pack, pull, whole


struct OrderOfCells(Order):
    """The order of the cells."""

    def __init__(out self, system: System):
        pass

    def places(self, system: System) -> Int:
        """How many places there are."""
        return len(system.start) - 1

    def place(self, system: System, x: Vec) -> Int:
        """That of the point x."""
        return cell_of(system, x, RIM)  # the rim is for images


def list_neighbours(mut system: System, number: Int):
    """For a part of the particles: all others, and images, within reach."""
    var last = system.parts[number].last
    var column = system.count[2]
    var layer = system.count[1] * column
    var nobody = Rows(Int32(4 * system.total()))
    var needed = 0
    for i in range(system.parts[number].first, last):
        system.listed_position[i] = system.position[i]
        var mine = i * system.width
        var own = Int(system.cell.unsafe_get(i))
        var found = 0
        for a in range(-RIM, RIM + 1):
            for b in range(-RIM, RIM + 1):
                var cell = own + a * layer + b * column
                var first = Int(system.start.unsafe_get(cell - RIM))
                var end = Int(system.start.unsafe_get(cell + RIM + 1))
                # As whole vectors, and to fill up.
                var room = found + end - first + 2 * LANES
                needed = max(needed, room)
                if room <= system.width:
                    found += list_run(system, i, first, end, mine + found)
        system.neighbour.unsafe_ptr().unsafe_store(mine + found, nobody)
        system.neighbours[i] = Int32(whole(found, LANES))
    system.parts[number].needed = needed


@always_inline
def list_run(mut system: System, i: Int, first: Int, end: Int, to: Int) -> Int:
    """List those from `first` to `end` that are within reach of the particle i.

    They are written from the place `to` on; how many they are.
    """
    var reach2 = system.reach() * system.reach()
    var here = system.position.unsafe_get(i)
    var xi, yi, zi = Lanes(here[0]), Lanes(here[1]), Lanes(here[2])
    var itself = Rows(Int32(4 * i))
    var x, y = system.x.unsafe_ptr(), system.y.unsafe_ptr()
    var z = system.z.unsafe_ptr()
    var member = system.member.unsafe_ptr()
    var neighbour = system.neighbour.unsafe_ptr()
    var found = 0
    for k in range(first, end, LANES):
        var dx = xi - x.unsafe_load[width=LANES](k)
        var dy = yi - y.unsafe_load[width=LANES](k)
        var dz = zi - z.unsafe_load[width=LANES](k)
        var some = member.unsafe_load[width=LANES](k)
        var near = (dx * dx + dy * dy + dz * dz).le(reach2) & some.ne(itself)
        near &= iota[DType.int32, LANES]().lt(Int32(end - k))
        found += pack(neighbour.unsafe_offset(to + found), some, near)
    return found


def forces(mut system: System, number: Int):
    """The force on each of a part of the particles: the sum of its pair forces."""
    ref part = system.parts[number]
    var cutoff2 = system.cutoff * system.cutoff
    var x = system.position.unsafe_ptr().unsafe_bitcast[Real]()
    var neighbour = system.neighbour.unsafe_ptr()
    for i in range(part.first, part.last):
        var here = system.position.unsafe_get(i)
        var xi, yi, zi = Lanes(here[0]), Lanes(here[1]), Lanes(here[2])
        var fx, fy, fz = Lanes(0), Lanes(0), Lanes(0)
        var mine = neighbour.unsafe_offset(i * system.width)
        for k in range(0, Int(system.neighbours.unsafe_get(i)), LANES):
            var xj, yj, zj = columns(x, mine.unsafe_offset(k))
            var dx, dy, dz = xi - xj, yi - yj, zi - zj
            var r2 = dx * dx + dy * dy + dz * dz
            pull(fx, fy, fz, dx, dy, dz, pair_force(r2), r2.lt(cutoff2))
        system.force.unsafe_get(i) = sums(fx, fy, fz)

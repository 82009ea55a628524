"""A list for each cluster of eight particles, all of which look at each neighbour together.

What one of them sees most others see too, so that a vector of single precision, too
wide for the neighbours of one, is filled. After S. Páll and B. Hess, Comput. Phys.
Commun. 184, 2641 (2013), with particles in place of clusters as neighbours.
"""

from particles.arrays import PRECISION, Real, Vec
from std.math import cbrt, iota
from std.memory import pack_bits

from .candidates import list_run
from .cells import place_of
from .order import Order
from .system import System
from .vectors import (
    LANES,
    Lanes,
    MEMBERS,
    Reals,
    Rows,
    Starts,
    pair_forces,
    pull,
    whole,
)

comptime AT_ONCE = LANES // MEMBERS
"""Neighbours in a vector: each with all members."""


def cluster_side(box: Vec, particles: Int) -> Real:
    """The side of a cube with as many particles as share a list."""
    var each = Float64(box.reduce_mul()) / Float64(particles)
    return Real(cbrt(Float64(MEMBERS) * each))


struct OrderOfColumns(Order):
    """Columns as wide as a cluster is long, there and back again, in thin layers.

    So eight in a row are near each other.
    """

    var count: SIMD[DType.int, 4]
    """Slabs along x, columns in each, and layers in these."""
    var along_unit: Vec
    """As many for a length."""

    def __init__(out self, system: System):
        var n = system.particles
        var most = Real(cbrt(Float64(n)))
        var along = max(
            min(round(system.box / cluster_side(system.box, n)), most), 1
        )
        # Layers of less than a particle each.
        along[2] = Real(1 + 2 * n // Int(along[0] * along[1]))
        self.count = along.cast[DType.int]()
        self.along_unit = along / system.box

    def slabs(self, system: System) -> Int:
        """How many there are along x."""
        return self.count[0]

    def columns(self, system: System) -> Int:
        """How many there are in a slab."""
        return self.count[1]

    def per_length(self, system: System) -> Vec:
        """How many there are in a unit of length along each axis."""
        return self.along_unit

    def places(self, system: System) -> Int:
        """How many places there are."""
        return self.count[0] * self.count[1] * self.count[2]

    def place(self, system: System, x: Vec) -> Int:
        """That of the point x."""
        var along = (x * self.along_unit).cast[DType.int]()
        var place = 0
        for axis in range(3):
            var next = min(along[axis], self.count[axis] - 1)
            if place % 2 == 1:
                next = self.count[axis] - 1 - next  # back again
            place = place * self.count[axis] + next
        return place


def list_neighbours(mut system: System, number: Int):
    """For a part of the clusters: the members, and all others within reach of any."""
    var last = system.parts[number].last
    var start = system.parts[number].first
    var column = system.count[2]
    var nobody = Int32(4 * system.total())
    var reach = Vec(system.reach())
    var listed = 0
    for first in range(start, last, MEMBERS):
        var end = min(first + MEMBERS, last)
        system.fetch_ahead(first)
        var low = system.position[first]
        var high = low
        for i in range(first, end):
            var here = system.position[i]
            system.listed_position[i] = here
            low, high = min(low, here), max(high, here)
        var lowest = place_of(system, low - reach, 0)
        var highest = place_of(system, high + reach, 0)
        system.parts[number].make_room(listed, MEMBERS)
        for m in range(MEMBERS):
            system.parts[number].neighbour[listed + m] = Int32(4 * (first + m))
        var found = listed + MEMBERS
        for a in range(lowest[0], highest[0] + 1):
            for b in range(lowest[1], highest[1] + 1):
                var row = (a * system.count[1] + b) * column
                var run = (
                    Int(system.start.unsafe_get(row + lowest[2])),
                    Int(system.start.unsafe_get(row + highest[2] + 1)),
                )
                found += list_run(
                    system, number, low, high, run, Int32(4 * first), found
                )
        system.parts[number].make_room(found, 0)
        # To fill the last vector, here and below.
        system.parts[number].neighbour[found] = nobody
        found = keep_near(system, number, first, end, listed, found)
        system.parts[number].neighbour[found] = nobody
        listed = listed + whole(found - listed, AT_ONCE)
        system.parts[number].begin[(first - start) // MEMBERS + 1] = listed
    # As far as forces() looks ahead.
    system.parts[number].make_room(listed, AT_ONCE)
    for k in range(AT_ONCE):
        system.parts[number].neighbour[listed + k] = nobody


@no_inline  # or the registers do not suffice for it and the loop around it
def keep_near(
    mut system: System,
    number: Int,
    first: Int,
    end: Int,
    begin: Int,
    listed: Int,
) -> Int:
    """Of those listed behind the members, keep whom any member reaches.

    The list begins at `begin`; where it then ends.
    """
    var reach2 = system.reach() * system.reach()
    var x = system.position.unsafe_ptr().unsafe_bitcast[Real]()
    var xi, yi, zi = members(x, first)
    var mine = system.parts.unsafe_get(number).neighbour.unsafe_ptr()
    # The rows behind the last particle are none of its cluster.
    var others = (iota[DType.int32, LANES]() % Rows(Int32(MEMBERS))).ge(
        Int32(end - first)
    )
    xi = others.select(Lanes(xi[0]), xi)
    yi = others.select(Lanes(yi[0]), yi)
    zi = others.select(Lanes(zi[0]), zi)
    var kept = begin + MEMBERS
    for k in range(begin + MEMBERS, listed, AT_ONCE):
        var xj, yj, zj = neighbours(x, mine.unsafe_offset(k))
        var dx, dy, dz = xi - xj, yi - yj, zi - zj
        var near = (dx * dx + dy * dy + dz * dz).le(reach2)
        var bits = Int(pack_bits(near))
        comptime for m in range(AT_ONCE):
            var j = mine[unsafe_offset=k + m]
            # No branch: whom none reaches is overwritten by the next.
            mine[unsafe_offset=kept] = j
            kept += Int((bits >> (m * MEMBERS)) % (1 << MEMBERS) != 0)
    return kept


@always_inline
def members(x: Reals, first: Int) -> Tuple[Lanes, Lanes, Lanes]:
    """The x, y and z of the rows of a cluster, once for each neighbour in a vector."""
    var rows = x.unsafe_offset(4 * first)
    var four, more = rows.unsafe_load[width=16](0), rows.unsafe_load[width=16](
        16
    )
    var xs = four.shuffle[
        0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28
    ](more)
    var ys = four.shuffle[
        1, 5, 9, 13, 17, 21, 25, 29, 1, 5, 9, 13, 17, 21, 25, 29
    ](more)
    var zs = four.shuffle[
        2, 6, 10, 14, 18, 22, 26, 30, 2, 6, 10, 14, 18, 22, 26, 30
    ](more)
    return (
        rebind[Lanes](xs.slice[LANES, offset=0]()),
        rebind[Lanes](ys.slice[LANES, offset=0]()),
        rebind[Lanes](zs.slice[LANES, offset=0]()),
    )


@always_inline
def neighbours(x: Reals, j: Starts) -> Tuple[Lanes, Lanes, Lanes]:
    """The x, y and z of the rows that begin at these places, each for all members."""
    var row = x.unsafe_load[width=4, alignment=16](Int(j[unsafe_offset=0]))
    comptime if AT_ONCE == 2:
        var other = x.unsafe_load[width=4, alignment=16](
            Int(j[unsafe_offset=1])
        )
        var both = row.join(row).join(other.join(other))
        return (
            rebind[Lanes](
                both.shuffle[
                    0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12
                ]()
            ),
            rebind[Lanes](
                both.shuffle[
                    1, 1, 1, 1, 5, 5, 5, 5, 9, 9, 9, 9, 13, 13, 13, 13
                ]()
            ),
            rebind[Lanes](
                both.shuffle[
                    2, 2, 2, 2, 6, 6, 6, 6, 10, 10, 10, 10, 14, 14, 14, 14
                ]()
            ),
        )
    else:
        return Lanes(row[0]), Lanes(row[1]), Lanes(row[2])


@always_inline
def halves_added(f: Lanes) -> SIMD[PRECISION, MEMBERS]:
    """For each member the sum of its lanes."""
    var sum = f.slice[MEMBERS, offset=0]()
    comptime if AT_ONCE == 2:
        sum += f.slice[MEMBERS, offset=MEMBERS]()
    return sum


def forces[and_kick: Bool](mut system: System, number: Int):
    """The force on each of a part of the particles, and perhaps half a kick by it.

    The coordinates of the next neighbours are on their way meanwhile, be they the
    next cluster's: see lists.mojo.
    """
    ref part = system.parts[number]
    var cutoff2 = system.cutoff * system.cutoff
    var half = 0.5 * system.dt
    var x = system.position.unsafe_ptr().unsafe_bitcast[Real]()
    # The member that each lane sees in the first vector, itself a neighbour.
    var lane, all = iota[DType.int32, LANES](), Rows(Int32(MEMBERS))
    var seen = lane % all - lane // all
    var mine = part.neighbour.unsafe_ptr()
    var x1, y1, z1 = neighbours(x, mine)
    for first in range(part.first, part.last, MEMBERS):
        system.fetch_ahead(first)
        var xi, yi, zi = members(x, first)
        var fx, fy, fz = Lanes(0), Lanes(0), Lanes(0)
        var number = (first - part.first) // MEMBERS
        var begin = part.begin.unsafe_get(number)
        var end = part.begin.unsafe_get(number + 1)
        comptime for k in range(0, MEMBERS, AT_ONCE):
            var dx, dy, dz = xi - x1, yi - y1, zi - z1
            x1, y1, z1 = neighbours(x, mine.unsafe_offset(begin + k + AT_ONCE))
            var r2 = dx * dx + dy * dy + dz * dz
            var near = r2.lt(cutoff2) & seen.ne(Int32(k))
            pull(fx, fy, fz, dx, dy, dz, pair_forces(r2), near)
        for k in range(begin + MEMBERS, end, AT_ONCE):
            var dx, dy, dz = xi - x1, yi - y1, zi - z1
            x1, y1, z1 = neighbours(x, mine.unsafe_offset(k + AT_ONCE))
            var r2 = dx * dx + dy * dy + dz * dz
            pull(fx, fy, fz, dx, dy, dz, pair_forces(r2), r2.lt(cutoff2))
        var x8, y8, z8 = halves_added(fx), halves_added(fy), halves_added(fz)
        comptime for m in range(MEMBERS):
            if first + m < part.last:
                var force = Vec(x8[m], y8[m], z8[m], 0)
                system.force.unsafe_get(first + m) = force
                comptime if and_kick:
                    system.velocity.unsafe_get(first + m) += half * force

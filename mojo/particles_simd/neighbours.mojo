"""Images, cells and the list of neighbours, and how long it holds."""

from particles.arrays import Real, Vec
from particles.periodic import may_move, refuse_same_point, same_point, wrapped
from particles.threads import Team
from std.math import iota
from std.sys.defines import get_defined_bool

from .system import RIM, System
from .vectors import LANES, Lanes, Rows, pack, whole_vectors

comptime SORTED = get_defined_bool["sorted", True]()
"""Whether particles are kept in the order of cells: not with `mojo build -D sorted=False`."""
comptime FAR: Real = 1e150
"""Where nobody is; the square is finite."""


def rebuild(mut system: System, mut team: Team) raises:
    """Sort the particles, and list the neighbours anew, in more room if need be."""
    if system.periodic:
        wrap(system)
    comptime if SORTED:
        sort_particles(system)
    make_images(system)
    if system.total() > Int(Int32.MAX) // 4:
        raise Error("particles and images cannot be listed in 32 bits")
    sort_into_cells(system)
    while True:
        team.share[list_neighbours](system)
        var needed = 0
        for ref part in system.parts:
            needed = max(needed, part.needed)
        if needed <= system.width:
            break
        system.width = whole_vectors(needed + needed // 2)
        system.neighbour.resize(system.particles * system.width, 0)


def wrap(mut system: System):
    """Bring all particles back into the periodic box."""
    for i in range(system.particles):
        system.position[i] = wrapped(system.box, system.position[i])


def cell_of(system: System, x: Vec, rim: Int) -> Int:
    """The number of the cell of the point x, at least so far from the edge."""
    # No image is so far below 0 that this rounds up.
    var cell = (x * system.per_length + RIM).cast[DType.int]()
    cell = max(min(cell, system.count - 1 - rim), rim)
    return (cell[0] * system.count[1] + cell[1]) * system.count[2] + cell[2]


def sort_particles(mut system: System):
    """Put the particles themselves in the order of their cells."""
    var n = system.particles
    system.cell.resize(n, 0)
    system.member.resize(n, 0)
    for ref start in system.start:
        start = 0
    for i in range(n):
        # The rim is for images.
        var cell = cell_of(system, system.position[i], RIM)
        system.cell[i] = Int32(cell)
        system.start[cell] += 1
    ends_to_starts(system)
    for i in range(n):
        ref slot = system.start[Int(system.cell[i])]
        system.member[Int(slot)] = Int32(i)
        slot += 1
    for at in range(n):
        system.spare[at] = system.position[Int(system.member[at])]
    for at in range(n):
        system.position[at] = system.spare[at]
    for at in range(n):
        system.spare[at] = system.velocity[Int(system.member[at])]
    swap(system.velocity, system.spare)
    for ref one in system.member:
        one = system.id[Int(one)]
    swap(system.id, system.member)
    for at in range(n):
        system.place[Int(system.id[at])] = Int32(at)


def ends_to_starts(mut system: System):
    """From how many are in each cell, where each cell begins."""
    var total = Int32(0)
    for ref start in system.start:
        var here = start
        start = total
        total += here


def make_images(mut system: System):
    """Give each particle near a face an image beyond the opposite face.

    Axis by axis, and of images too: thus along edges and at corners.
    """
    var n = system.particles
    system.position.shrink(n)
    system.shift.clear()
    system.source.clear()
    for axis in range(3 if system.periodic else 0):
        for i in range(len(system.position)):
            for side in range(2):
                var x = system.position[i]
                var length = system.box[axis]
                if side == 0 and x[axis] < length - system.reach():
                    continue
                if side == 1 and x[axis] >= system.reach():
                    continue
                var source = Int32(i)
                var shift = Vec(0)
                if i >= n:
                    source = system.source[i - n]
                    shift = system.shift[i - n]
                shift[axis] = -length if side == 0 else length
                var from_source = system.position[Int(source)] + shift
                system.source.append(source)
                system.shift.append(shift)
                system.position.append(from_source)
    system.position.append(Vec(FAR, FAR, FAR, 0))


def move_images(mut system: System, number: Int):
    """Let a part of the images follow their particles."""
    var images = len(system.source)
    var parts = len(system.parts)
    var first = images * number // parts
    for k in range(first, images * (number + 1) // parts):
        var i = Int(system.source.unsafe_get(k))
        system.position.unsafe_get(
            system.particles + k
        ) = system.position.unsafe_get(i) + system.shift.unsafe_get(k)


def sort_into_cells(mut system: System):
    """Sort particles and images; cells that follow each other along z adjoin."""
    var total = system.total()
    # A vector may begin at the last.
    system.cell.resize(total, 0)
    system.member.resize(total + LANES, 0)
    system.x.resize(total + LANES, 0)
    system.y.resize(total + LANES, 0)
    system.z.resize(total + LANES, 0)
    for ref start in system.start:
        start = 0
    # Without bounds checks, here and where neighbours are listed.
    for i in range(total):
        var rim = RIM if i < system.particles else 0
        var cell = cell_of(system, system.position.unsafe_get(i), rim)
        system.cell.unsafe_get(i) = Int32(cell)
        system.start.unsafe_get(cell) += 1
    var end = Int32(0)
    for ref start in system.start:
        end += start
        start = end
    for i in reversed(range(total)):
        ref slot = system.start.unsafe_get(Int(system.cell.unsafe_get(i)))
        slot -= 1
        var at = Int(slot)
        var here = system.position.unsafe_get(i)
        system.member.unsafe_get(at) = Int32(4 * i)
        system.x.unsafe_get(at) = here[0]
        system.y.unsafe_get(at) = here[1]
        system.z.unsafe_get(at) = here[2]


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
        system.neighbours[i] = Int32(whole_vectors(found))
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


def moved_too_far(system: System) -> Bool:
    """Whether two particles that are not listed may have come within the cutoff."""
    var limit = may_move(system.skin, system.reach(), system.box)
    for ref part in system.parts:
        if part.moved2 > limit * limit:
            return True
    return False


def check_distinct(system: System) raises:
    """Raise an Error if two particles are at the same point."""
    var n = system.particles
    for i in range(n):
        for k in range(Int(system.neighbours[i])):
            var j = Int(system.neighbour[i * system.width + k]) // 4
            if j == system.total():
                break
            if j >= n:
                j = Int(system.source[j - n])
            if i != j and same_point(
                system.position[i],
                system.position[j],
                system.box,
                system.periodic,
            ):
                refuse_same_point(Int(system.id[i]), Int(system.id[j]))

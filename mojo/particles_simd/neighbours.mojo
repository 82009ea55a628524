"""The list of neighbours, and how long it holds."""

from particles.periodic import may_move, refuse_same_point, same_point
from particles.threads import Team
from std.math import ceil
from std.sys.defines import get_defined_bool

from .cells import ends_to_starts, sort_into_cells
from .clusters import OrderOfColumns
from .clusters import list_neighbours as list_for_clusters
from .images import make_images, wrap
from .lists import OrderOfCells, list_neighbours
from .order import Order
from .system import System
from .vectors import MEMBERS

comptime SORTED = get_defined_bool["sorted", True]()
"""Whether particles are kept in order: not with `mojo build -D sorted=False`."""


def rebuild(mut system: System, mut team: Team) raises:
    """Sort the particles, and list the neighbours anew."""
    if system.periodic:
        wrap(system)
    comptime if MEMBERS > 1:
        sort_particles[OrderOfColumns](system)
    elif SORTED:
        sort_particles[OrderOfCells](system)
    make_images(system)
    if system.total() > Int(Int32.MAX) // 4 - MEMBERS:
        raise Error("particles and images cannot be listed in 32 bits")
    sort_into_cells(system)
    comptime if MEMBERS > 1:
        team.share[list_for_clusters](system)
    else:
        team.share[list_neighbours](system)


def next_in_sight[SomeOrder: Order](system: System, order: SomeOrder) -> Int:
    """How many rows further on, about, is who comes into a particle's sight next.

    As many slabs and columns as it sees, even numbers of them, for who goes there
    and back again meets himself at every second; and a column, for memory takes time.
    """
    # Not quite a half: what is seen of two is not to be rounded to four.
    var seen = (
        2
        * ceil(0.499 * system.reach() * order.per_length(system)).cast[
            DType.int
        ]()
    )
    var slabs, columns = order.slabs(system), order.columns(system)
    var ahead = (
        system.particles
        * (Int(seen[0]) * columns + Int(seen[1]) + 1)
        // (slabs * columns)
    )
    # In few slabs all are in sight.
    return ahead if ahead < system.particles else 0


def sort_particles[SomeOrder: Order](mut system: System):
    """Put the particles themselves in an order in which neighbours are near in memory."""
    var n = system.particles
    var order = SomeOrder(system)
    system.ahead = next_in_sight(system, order)
    system.cell.resize(n, 0)
    system.member.resize(n, 0)
    system.begin.clear()
    system.begin.resize(order.places(system), 0)
    for i in range(n):
        var place = order.place(system, system.position[i])
        system.cell[i] = Int32(place)
        system.begin[place] += 1
    ends_to_starts(system.begin)
    for i in range(n):
        ref slot = system.begin[Int(system.cell[i])]
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
    for ref part in system.parts:
        for i in range(part.first, part.last):
            for start in part.listed(i):
                var j = Int(start) // 4
                if j >= system.total():
                    continue
                if j >= n:
                    j = Int(system.source[j - n])
                if i != j and same_point(
                    system.position[i],
                    system.position[j],
                    system.box,
                    system.periodic,
                ):
                    refuse_same_point(Int(system.id[i]), Int(system.id[j]))

"""The list of neighbours, and how long it holds."""

from particles.periodic import may_move, refuse_same_point, same_point
from particles.threads import Team
from std.math import ceil
from std.sys.defines import get_defined_bool

from .cells import counting_sort, sort_into_cells
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
        team.share[wrap](system)
    comptime if MEMBERS > 1:
        sort_particles[OrderOfColumns](system, team)
    elif SORTED:
        sort_particles[OrderOfCells](system, team)
    make_images(system, team)
    sort_into_cells(system, team)
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


def sort_particles[SomeOrder: Order](mut system: System, mut team: Team):
    """Put the particles themselves in an order in which neighbours are near in memory."""
    var order = SomeOrder(system)
    system.ahead = next_in_sight(system, order)
    system.cell.resize(system.particles, 0)
    system.member.resize(system.particles, 0)
    system.begin.resize(order.places(system) + 2, 0)
    team.share[find_places[SomeOrder]](system)
    counting_sort(system.cell, system.begin, system.member)
    team.share[copy_to_places](system)
    swap(system.position, system.listed_position)
    swap(system.velocity, system.force)
    swap(system.id, system.cell)


def find_places[SomeOrder: Order](mut system: System, number: Int):
    """Where in the order a part of the particles are."""
    ref part = system.parts[number]
    var order = SomeOrder(system)
    for i in range(part.first, part.last):
        var place = order.place(system, system.position.unsafe_get(i))
        system.cell.unsafe_get(i) = Int32(place)


def copy_to_places(mut system: System, number: Int):
    """What is known of the particles that will be those of a part."""
    ref part = system.parts[number]
    for at in range(part.first, part.last):
        var i = Int(system.member.unsafe_get(at))
        var id = system.id.unsafe_get(i)
        # These two are found anew after this.
        system.listed_position.unsafe_get(at) = system.position.unsafe_get(i)
        system.force.unsafe_get(at) = system.velocity.unsafe_get(i)
        system.cell.unsafe_get(at) = id
        system.place.unsafe_get(Int(id)) = Int32(at)


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

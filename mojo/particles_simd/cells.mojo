"""Particles and images in the order of cells."""

from particles.arrays import Vec
from particles.cells import Cell
from particles.threads import Team

from .system import RIM, System
from .vectors import AT_A_TIME


def place_of(system: System, x: Vec, rim: Int) -> Cell:
    """Which cell along each axis the point x is in, at least so far from the edge."""
    # Nothing is asked that is so far below 0 that this rounds up.
    var cell = (x * system.per_length + RIM).cast[DType.int]()
    return max(min(cell, system.count - 1 - rim), rim)


def cell_of(system: System, x: Vec, rim: Int) -> Int:
    """The number of the cell of the point x, at least so far from the edge."""
    var cell = place_of(system, x, rim)
    return (cell[0] * system.count[1] + cell[1]) * system.count[2] + cell[2]


def counting_sort(
    place: List[Int32], mut start: List[Int32], mut sorted: List[Int32]
):
    """The numbers of all in the order of their place, and where each place begins.

    Room there is for two places more.
    """
    for ref one in start:
        one = 0
    # Without bounds checks, here and where neighbours are listed.
    for one in place:
        start.unsafe_get(Int(one) + 2) += 1
    var end = Int32(0)
    for ref one in start:
        end += one
        one = end
    for i in range(len(place)):
        # So the end of one place becomes the beginning of the next.
        ref slot = start.unsafe_get(Int(place.unsafe_get(i)) + 1)
        sorted.unsafe_get(Int(slot)) = Int32(i)
        slot += 1


def sort_into_cells(mut system: System, mut team: Team):
    """Sort particles and images; cells that follow each other along z adjoin."""
    var total = system.total()
    # A vector may begin at the last.
    system.cell.resize(total, 0)
    system.member.resize(total + AT_A_TIME, 0)
    system.x.resize(total + AT_A_TIME, 0)
    system.y.resize(total + AT_A_TIME, 0)
    system.z.resize(total + AT_A_TIME, 0)
    team.share[find_cells](system)
    counting_sort(system.cell, system.start, system.member)
    team.share[copy_to_cells](system)


def find_cells(mut system: System, number: Int):
    """In which a part of the particles and images are."""
    var first, last = system.share_of(system.total(), number)
    for i in range(first, last):
        var rim = RIM if i < system.particles else 0
        var cell = cell_of(system, system.position.unsafe_get(i), rim)
        system.cell.unsafe_get(i) = Int32(cell)


def copy_to_cells(mut system: System, number: Int):
    """Where a part of the particles and images, in the order of cells, are; and where their rows begin."""
    var first, last = system.share_of(system.total(), number)
    for at in range(first, last):
        ref member = system.member.unsafe_get(at)
        var here = system.position.unsafe_get(Int(member)).cast[DType.float32]()
        member *= 4
        system.x.unsafe_get(at) = here[0]
        system.y.unsafe_get(at) = here[1]
        system.z.unsafe_get(at) = here[2]

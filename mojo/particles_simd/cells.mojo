"""Particles and images in the order of cells."""

from particles.arrays import Vec
from particles.cells import Cell

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


def ends_to_starts(mut start: List[Int32]):
    """From how many are in each place, where each begins."""
    var total = Int32(0)
    for ref one in start:
        var here = one
        one = total
        total += here


def sort_into_cells(mut system: System):
    """Sort particles and images; cells that follow each other along z adjoin."""
    var total = system.total()
    # A vector may begin at the last.
    system.cell.resize(total, 0)
    system.member.resize(total + AT_A_TIME, 0)
    system.x.resize(total + AT_A_TIME, 0)
    system.y.resize(total + AT_A_TIME, 0)
    system.z.resize(total + AT_A_TIME, 0)
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
        var here = system.position.unsafe_get(i).cast[DType.float32]()
        system.member.unsafe_get(at) = Int32(4 * i)
        system.x.unsafe_get(at) = here[0]
        system.y.unsafe_get(at) = here[1]
        system.z.unsafe_get(at) = here[2]

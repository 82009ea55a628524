"""The list of neighbours, and how long it holds."""

from .arrays import Real, Vec, square
from .cells import sort_into_cells
from .images import make_images, wrap
from .periodic import may_move
from .system import System
from .threads import Team


def rebuild(mut system: System, mut team: Team):
    """List the neighbours anew."""
    if system.periodic:
        wrap(system)
        make_images(system)
    sort_into_cells(system.cells, system.position, system.shift)
    team.share[list_neighbours](system)


def list_neighbours(mut system: System, number: Int):
    """For a part of the particles: all others, and images, within reach."""
    ref part = system.parts[number]
    ref cells = system.cells
    var reach2 = system.reach() * system.reach()
    var found = 0
    for i in range(part.first, part.last):
        var x = system.position[i]
        system.listed_position[i] = x
        part.start[i - part.first] = found
        var cell = cells.cell(x)
        var low = max(cell - cells.span, 0)
        var high = min(cell + cells.span, cells.count - 1)
        for cx in range(low[0], high[0] + 1):
            for cy in range(low[1], high[1] + 1):
                var first = Int(cells.start[cells.number_of(cx, cy, low[2])])
                var end = Int(cells.start[cells.number_of(cx, cy, high[2]) + 1])
                if found + end - first > len(part.neighbour):
                    part.neighbour.resize(2 * found + end - first, 0)
                # Each is written down, but kept only if it is near: a branch
                # would often be predicted wrongly.
                for k in range(first, end):
                    var j = cells.member.unsafe_get(k)
                    var d = x - cells.place.unsafe_get(k)
                    var near = square(d) <= reach2 and j != Int32(i)
                    part.neighbour.unsafe_get(found) = j
                    found += Int(near)
    part.start[part.last - part.first] = found


def measure_moves(mut system: System, number: Int):
    """How far the farthest of a part of the particles is from where it was listed."""
    ref part = system.parts[number]
    var moved2 = Real(0)
    for i in range(part.first, part.last):
        var d = system.position[i] - system.listed_position[i]
        moved2 = max(moved2, square(d))
    # Not sooner: another thread's part is in the same line of the cache.
    part.moved2 = moved2


def moved_too_far(system: System) -> Bool:
    """Whether two particles that are not listed may have come within the cutoff."""
    var limit = may_move(system.skin, system.reach(), system.box)
    for ref part in system.parts:
        if part.moved2 > limit * limit:
            return True
    return False

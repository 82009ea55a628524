"""A grid of cells, so that neighbours need be looked for only nearby."""

from std.math import ceil, floor

from .arrays import Real, Vec

comptime Cell = SIMD[DType.int, 4]
"""Which cell along each axis; the fourth number is not used."""


struct Cells(Copyable, Movable):
    """Points sorted by cell. Cells that follow each other along z adjoin."""

    var corner: Vec
    """The lowest corner of the grid."""
    var per_length: Vec
    """Cells per length along each axis."""
    var count: Cell
    """Cells along each axis."""
    var span: Cell
    """How many cells away along each axis a neighbour may be."""
    var number: List[Int32]
    """The number of the cell of each point."""
    var start: List[Int32]
    """Where each cell begins in what follows, and where the last one ends."""
    var member: List[Int32]
    """The points, cell by cell."""
    var place: List[Vec]
    """Where they are, in the same order."""

    def __init__(out self, box: Vec, reach: Real, margin: Real, points: Int):
        """Cells for a box, and for points in a margin around it."""
        var sides = box + 2 * margin
        # Two cells to a reach; fewer if there were far more cells than points.
        # The fraction keeps rounding from making that three. What rounding puts
        # one cell too far is so far away that no neighbour is lost by it: see
        # `moved_too_far`.
        var side = 0.500001 * reach
        var count = cells_along(sides, side)
        while count.reduce_mul() > 1000 + 10 * Real(points):
            side *= 1.25
            count = cells_along(sides, side)
        self.corner = Vec(-margin)
        self.per_length = count / sides
        self.count = count.cast[DType.int]()
        self.span = ceil(reach * self.per_length).cast[DType.int]()
        self.number = List[Int32]()
        self.start = List[Int32](length=self.count.reduce_mul() + 1, fill=0)
        self.member = List[Int32]()
        self.place = List[Vec]()

    def cell(self, x: Vec) -> Cell:
        """The cell of the point x; rounding cannot put it beside the grid."""
        var cell = ((x - self.corner) * self.per_length).cast[DType.int]()
        return max(min(cell, self.count - 1), 0)

    def number_of(self, x: Int, y: Int, z: Int) -> Int:
        """The number of the cell that is x-th, y-th and z-th along the axes."""
        return (x * self.count[1] + y) * self.count[2] + z


def cells_along(sides: Vec, side: Real) -> Vec:
    """How many cells at least so large there are along each of the sides."""
    var count = max(floor(sides / side), 1)
    count[3] = 1
    return count


def sort_into_cells(mut cells: Cells, position: List[Vec], shift: List[Vec]):
    """Sort the points position + shift by the number of their cell.

    By counting: how many are in each cell, then where each cell ends, and then
    the cells are filled from their ends.
    """
    var points = len(position)
    cells.number.resize(points, 0)
    cells.member.resize(points, 0)
    cells.place.resize(points, Vec(0))
    for ref start in cells.start:
        start = 0
    for i in range(points):
        var c = cells.cell(position[i] + shift[i])
        var number = cells.number_of(c[0], c[1], c[2])
        cells.number[i] = Int32(number)
        cells.start[number] += 1
    var total = Int32(0)
    for ref start in cells.start:
        total += start
        start = total
    for i in reversed(range(points)):
        ref slot = cells.start[Int(cells.number[i])]
        slot -= 1
        cells.member[Int(slot)] = Int32(i)
        cells.place[Int(slot)] = position[i] + shift[i]

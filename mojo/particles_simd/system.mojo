"""One box of particles, laid out for vector registers."""

from std.math import cbrt, floor
from std.sys.intrinsics import prefetch

from particles.arrays import Real, Vec
from particles.cells import Cell
from particles.parameters import Parameters

from .vectors import AT_A_TIME, MEMBERS, whole

comptime SKIN: Real = 0.4
"""How far beyond the cutoff neighbours are listed; any value is right."""
comptime RIM = 2
"""Cells on every side of the box for the images, and as far a neighbour may be."""


struct System(Copyable, Movable):
    """One box, its particles divided into as many parts as there are threads."""

    var box: Vec
    """Sides of the box; the fourth is 1, so that one may divide by it."""
    var periodic: Bool
    """Whether the boundary is periodic; otherwise there are walls."""
    var cutoff: Real
    """Distance beyond which particles do not interact."""
    var skin: Real
    """How much farther away neighbours are listed."""
    var dt: Real
    """Time step."""

    var particles: Int
    """How many there are."""
    var position: List[Vec]
    """Of the particles, their images and of nobody."""
    var velocity: List[Vec]
    """Of the particles."""
    var force: List[Vec]
    """On the particles, as last computed."""
    var listed_position: List[Vec]
    """Where the particles were when the neighbours were listed."""
    var id: List[Int32]
    """Particles are sorted: which this one was when loaded."""
    var place: List[Int32]
    """Where the particle is now that was the i-th then."""
    var source: List[Int32]
    """The particle that each image copies."""
    var shift: List[Vec]
    """Where an image is from its particle."""

    var count: Cell
    """Cells along each axis, with the rim."""
    var per_length: Vec
    """Cells per length along each axis."""
    var cell: List[Int32]
    """The number of the cell of each particle and image."""
    var start: List[Int32]
    """Where each cell begins in what follows, and where the last one ends, twice."""
    var member: List[Int32]
    """Where the rows of particles and images begin, cell by cell."""
    var x: List[Float32]
    """Where they are along the first axis, roughly, in the same order."""
    var y: List[Float32]
    """Along the second."""
    var z: List[Float32]
    """Along the third."""
    var rough_reach2: Float32
    """What single precision may find for the square of the reach."""
    var begin: List[Int32]
    """Likewise, where particles of each place in their order begin."""
    var ahead: Int
    """How many rows further on, about, is who comes into sight next; 0 if particles are not sorted."""

    var parts: List[Part]
    """The particles, divided for as many threads."""

    var first_position: List[Vec]
    """Positions when the present run began, to go back to if it fails."""
    var first_velocity: List[Vec]
    """Likewise, velocities."""
    var first_id: List[Int32]
    """And whose they were."""

    def __init__(
        out self,
        parameters: Parameters,
        position: List[Vec],
        velocity: List[Vec],
        parts: Int,
    ):
        var n = len(position)
        self.box = parameters.box
        self.periodic = parameters.periodic
        self.cutoff = parameters.cutoff
        # With this limit, images one box away are enough.
        self.skin = min(SKIN, self.cutoff)
        self.dt = parameters.dt
        self.particles = n
        self.position = position.copy()
        self.velocity = velocity.copy()
        self.force = List[Vec](length=n, fill=Vec(0))
        self.listed_position = position.copy()
        self.id = List[Int32](capacity=n)
        for i in range(n):
            self.id.append(Int32(i))
        self.place = self.id.copy()
        self.source = List[Int32]()
        self.shift = List[Vec]()
        # No more than a few cells for each particle, however thin the gas, and
        # none smaller than half the reach.
        var reach = self.cutoff + self.skin
        var most = Real(max(2 * cbrt(Float64(n)), 1))
        var along = floor(max(min(self.box / (reach / 2), most), 1))
        along[3] = 1
        self.per_length = 1 / max(self.box / along, reach / 2)
        self.per_length[3] = 0
        self.count = along.cast[DType.int]() + 2 * RIM
        self.count[3] = 1
        self.cell = List[Int32]()
        self.start = List[Int32](length=self.count.reduce_mul() + 2, fill=0)
        self.member = List[Int32]()
        self.x = List[Float32]()
        self.y = List[Float32]()
        self.z = List[Float32]()
        # Coordinates are rounded, and so are their differences.
        var places = Float32(self.box.reduce_max() + reach)
        var farthest = Float32(reach) + 4 * Float32(2.0**-23) * places
        self.rough_reach2 = farthest * farthest
        self.begin = List[Int32]()
        self.ahead = 0
        self.first_position = position.copy()
        self.first_velocity = velocity.copy()
        self.first_id = self.id.copy()
        self.parts = List[Part](capacity=parts)
        var lists = whole(n, MEMBERS) // MEMBERS
        for number in range(parts):
            # Whole clusters.
            var first = lists * number // parts * MEMBERS
            var last = lists * (number + 1) // parts * MEMBERS
            self.parts.append(Part(first, min(last, n)))

    def reach(self) -> Real:
        """The distance up to which neighbours are listed."""
        return self.cutoff + self.skin

    @always_inline
    def fetch_ahead(self, i: Int):
        """Have them fetched from memory who come into sight next of those who share a list.

        As many as these, of whom i is the first, in lines of memory of four rows
        at most. What is beyond the end is not read.
        """
        comptime for k in range(0, MEMBERS, 4):
            var row = self.position.unsafe_ptr().unsafe_offset(
                i + self.ahead + k
            )
            prefetch(row.unsafe_bitcast[Real]())

    def share_of(self, count: Int, number: Int) -> Tuple[Int, Int]:
        """The first of a part of so many, and the one after the last."""
        var parts = len(self.parts)
        return count * number // parts, count * (number + 1) // parts

    def total(self) -> Int:
        """Particles and images; the row after theirs is nobody's."""
        return self.particles + len(self.source)

    def remember(mut self):
        """Note where a run begins."""
        for i in range(self.particles):
            self.first_position[i] = self.position[i]
            self.first_velocity[i] = self.velocity[i]
            self.first_id[i] = self.id[i]

    def go_back(mut self):
        """Return there; the neighbours must then be listed anew."""
        for i in range(self.particles):
            self.position[i] = self.first_position[i]
            self.velocity[i] = self.first_velocity[i]
            self.id[i] = self.first_id[i]
        for ref part in self.parts:
            part.astray = False


@fieldwise_init
struct Part(Copyable, Movable):
    """Some of the particles, which no two threads work on at a time."""

    var first: Int
    """The first of them."""
    var last: Int
    """The one after the last of them."""
    var moved2: Real
    """Square of the farthest way that one went since neighbours were listed."""
    var astray: Bool
    """Whether one went a hundred boxes far, or nowhere that is a number."""
    var first_image: Int
    """The first of their images."""
    var last_image: Int
    """The one after the last of them."""
    var neighbour: List[Int32]
    """Where the rows of their neighbours begin; lists are filled up with nobody."""
    var begin: List[Int]
    """Where in these each list begins, and the last one ends."""

    def __init__(out self, first: Int, last: Int):
        var lists = whole(last - first, MEMBERS) // MEMBERS
        var begin = List[Int](length=lists + 1, fill=0)
        self = Self(first, last, 0, False, 0, 0, List[Int32](), begin^)

    def listed(self, i: Int) -> Span[Int32, origin_of(self.neighbour)]:
        """Where the rows begin of those listed for the particle i, itself perhaps among them."""
        var list = (i - self.first) // MEMBERS
        return Span(self.neighbour)[self.begin[list] : self.begin[list + 1]]

    def make_room(mut self, listed: Int, run: Int):
        """After those `listed`, for a run of so many as whole vectors, and to fill up."""
        var room = listed + run + 2 * AT_A_TIME
        if room > len(self.neighbour):
            self.neighbour.resize(room + room // 2, 0)

"""One box of particles: all that a simulation knows of it."""

from .arrays import Real, Vec
from .cells import Cells
from .parameters import Parameters
from .periodic import refuse_same_point, same_point

comptime SKIN: Real = 0.3
"""How far beyond the cutoff neighbours are listed; any value is right."""


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
    """Of the particles and, after them, of the particles that images copy."""
    var shift: List[Vec]
    """Where an image is from its particle, and zero for the particles."""
    var velocity: List[Vec]
    """Of the particles."""
    var force: List[Vec]
    """On the particles, as last computed."""
    var forced: Bool
    """Whether the forces are those at the present positions."""
    var source: List[Int32]
    """The particle that each image copies."""

    var cells: Cells
    """Particles and images, sorted by where they are."""
    var listed_position: List[Vec]
    """Where the particles were when the neighbours were listed."""
    var parts: List[Part]
    """The particles, divided for as many threads."""

    var first_position: List[Vec]
    """Positions when the present run began, to go back to if it fails."""
    var first_velocity: List[Vec]
    """Likewise, velocities."""

    def __init__(
        out self,
        parameters: Parameters,
        position: List[Vec],
        velocity: List[Vec],
        parts: Int,
    ):
        self.box = parameters.box
        self.periodic = parameters.periodic
        self.cutoff = parameters.cutoff
        # With this limit, images one box away are enough.
        self.skin = min(SKIN, self.cutoff)
        self.dt = parameters.dt
        self.particles = len(position)
        self.position = position.copy()
        self.velocity = velocity.copy()
        self.force = List[Vec](length=self.particles, fill=Vec(0))
        self.forced = False
        self.source = List[Int32]()
        self.shift = List[Vec](length=self.particles, fill=Vec(0))
        var reach = self.cutoff + self.skin
        var margin = reach if self.periodic else Real(0)
        self.cells = Cells(self.box, reach, margin, self.particles)
        self.listed_position = position.copy()
        self.first_position = position.copy()
        self.first_velocity = velocity.copy()
        self.parts = List[Part](capacity=parts)
        for number in range(parts):
            var first = self.particles * number // parts
            var last = self.particles * (number + 1) // parts
            self.parts.append(Part(first, last))

    def reach(self) -> Real:
        """The distance up to which neighbours are listed."""
        return self.cutoff + self.skin

    def remember(mut self):
        """Note where a run begins."""
        for i in range(self.particles):
            self.first_position[i] = self.position[i]
            self.first_velocity[i] = self.velocity[i]

    def go_back(mut self):
        """Return there; the neighbours must then be listed anew."""
        for i in range(self.particles):
            self.position[i] = self.first_position[i]
            self.velocity[i] = self.first_velocity[i]
        self.forced = False
        for ref part in self.parts:
            part.astray = False


struct Part(Copyable, Movable):
    """Some of the particles, which no two threads work on at a time."""

    var first: Int
    """The first of them."""
    var last: Int
    """The one after the last of them."""
    var start: List[Int]
    """Where the neighbours of each begin, and where those of the last end."""
    var neighbour: List[Int32]
    """The neighbours, particles and images, of one after another."""
    var moved2: Real
    """Square of the farthest way that one went since neighbours were listed."""
    var astray: Bool
    """Whether one went a hundred boxes far, or nowhere that is a number."""

    def __init__(out self, first: Int, last: Int):
        self.first = first
        self.last = last
        self.start = List[Int](length=last - first + 1, fill=0)
        self.neighbour = List[Int32]()
        self.moved2 = 0
        self.astray = False

    def neighbours(self, i: Int) -> Span[Int32, origin_of(self.neighbour)]:
        """The neighbours of the particle i, which is one of these."""
        var k = i - self.first
        return Span(self.neighbour)[self.start[k] : self.start[k + 1]]


def check_distinct(system: System) raises:
    """Raise an Error if two particles are at the same point."""
    for ref part in system.parts:
        for i in range(part.first, part.last):
            for k in part.neighbours(i):
                var j = Int(k)
                if j >= system.particles:
                    j = Int(system.source[j - system.particles])
                if j != i and same_point(
                    system.position[i],
                    system.position[j],
                    system.box,
                    system.periodic,
                ):
                    refuse_same_point(i, j)

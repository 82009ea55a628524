"""What a simulation asks of a box of particles, however that is laid out."""

from .arrays import Vec
from .observe import Observation
from .parameters import Parameters
from .threads import Team


trait Box(Copyable, Deinitable, Movable):
    """One box; its parts can be worked on by as many threads at a time."""

    def __init__(
        out self,
        parameters: Parameters,
        position: List[Vec],
        velocity: List[Vec],
        parts: Int,
    ):
        """A box with these particles, in this state."""
        ...

    def begin(mut self, mut team: Team) raises:
        """Make it ready to run; an Error if two particles are at one point."""
        ...

    def advance(mut self, steps: Int, mut team: Team) raises:
        """Go on by so many time steps; with none, compute the forces."""
        ...

    def remember(mut self):
        """Note where a run begins."""
        ...

    def go_back(mut self, mut team: Team) raises:
        """Return there."""
        ...

    def shown(self, mut team: Team) -> Shown:
        """The state and all that is derived from it."""
        ...


@fieldwise_init
struct Shown(Movable):
    """What one box shows: of each particle a row, in the order of loading."""

    var position: List[Vec]
    """In the box."""
    var velocity: List[Vec]
    """Of the particles."""
    var force: List[Vec]
    """On the particles."""
    var observation: Observation
    """Of the whole box."""

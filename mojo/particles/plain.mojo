"""A box as the modules beside this one lay it out."""

from .arrays import Vec
from .box import Box, Shown
from .forces import forces, potential_and_virial
from .motion import advance
from .neighbours import rebuild
from .observe import observe
from .parameters import Parameters
from .system import System, check_distinct
from .threads import Team


struct PlainBox(Box):
    """A box with the particles in the order in which they were loaded."""

    var system: System
    """All that is known of it."""

    def __init__(
        out self,
        parameters: Parameters,
        position: List[Vec],
        velocity: List[Vec],
        parts: Int,
    ):
        self.system = System(parameters, position, velocity, parts)

    def begin(mut self, mut team: Team) raises:
        """List the neighbours; an Error if two particles are at one point."""
        rebuild(self.system, team)
        check_distinct(self.system)

    def advance(mut self, steps: Int, mut team: Team) raises:
        """Go on by so many time steps; with none, compute the forces."""
        advance(self.system, steps, team)

    def remember(mut self):
        """Note where a run begins."""
        self.system.remember()

    def go_back(mut self, mut team: Team) raises:
        """Return there."""
        self.system.go_back()
        rebuild(self.system, team)

    def shown(self, mut team: Team) -> Shown:
        """All positions wrapped, and the forces at just these.

        Of a copy, so that the box itself goes on as if nobody had looked.
        """
        var now = self.system.copy()
        rebuild(now, team)
        team.share[forces](now)
        var potential, virial = potential_and_virial(now)
        var seen = observe(
            now.velocity, potential, virial, now.box, now.periodic
        )
        now.position.shrink(now.particles)
        return Shown(
            now.position.copy(), now.velocity.copy(), now.force.copy(), seen^
        )

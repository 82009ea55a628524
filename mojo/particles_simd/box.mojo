"""A box as the modules beside this one lay it out."""

from particles.arrays import Vec
from particles.box import Box, Shown
from particles.observe import observe
from particles.parameters import Parameters
from particles.periodic import wrapped
from particles.threads import Team

from .forces import potential_and_virial
from .motion import advance
from .neighbours import check_distinct, rebuild
from .system import System


struct TunedBox(Box):
    """A box with the particles sorted by where they are."""

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
        advance(self.system, 0, team)

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
        advance(self.system, 0, team)

    def shown(self, mut team: Team) -> Shown:
        """The state, in the order of loading, and all that is derived from it."""
        ref system = self.system
        var position = List[Vec](capacity=system.particles)
        var velocity = List[Vec](capacity=system.particles)
        var force = List[Vec](capacity=system.particles)
        for at in system.place:
            var x = system.position[Int(at)]
            position.append(wrapped(system.box, x) if system.periodic else x)
            velocity.append(system.velocity[Int(at)])
            force.append(system.force[Int(at)])
        var potential, virial = potential_and_virial(system)
        var seen = observe(
            velocity, potential, virial, system.box, system.periodic
        )
        return Shown(position^, velocity^, force^, seen^)

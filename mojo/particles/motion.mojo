"""Motion by velocity Verlet: half kick, drift, forces, half kick."""

from std.math import isfinite

from .forces import forces
from .images import move_images
from .neighbours import measure_moves, moved_too_far, rebuild
from .system import System
from .threads import Team


def advance(mut system: System, steps: Int, mut team: Team) raises:
    """Go on by so many time steps; with none, only compute the forces."""
    if steps == 0 or not system.forced:
        team.share[forces](system)
    for _ in range(steps):
        team.share[kick_and_drift](system)
        check_motion(system)
        if moved_too_far(system):
            rebuild(system, team)
        elif system.periodic:
            team.share[move_images](system)
        team.share[forces_and_kick](system)
    check_forces(system)
    system.forced = True


def kick_and_drift(mut system: System, number: Int):
    """The first half of a step, for a part of the particles."""
    kick(system, number)
    drift(system, number)
    measure_moves(system, number)


def forces_and_kick(mut system: System, number: Int):
    """The second half of a step, for a part of the particles."""
    forces(system, number)
    kick(system, number)


def kick(mut system: System, number: Int):
    """Change the velocities by half a step of the forces."""
    ref part = system.parts[number]
    for i in range(part.first, part.last):
        system.velocity[i] += 0.5 * system.dt * system.force[i]


def drift(mut system: System, number: Int):
    """Move by v dt; where there are walls, bounce from them."""
    ref part = system.parts[number]
    for i in range(part.first, part.last):
        var x = system.position[i] + system.dt * system.velocity[i]
        # Written so that what is not a number is astray too.
        if not abs(x).lt(100 * system.box).reduce_and():
            part.astray = True
            continue
        if not system.periodic:
            var low, high = x.lt(0), x.gt(system.box)
            while (low | high).reduce_or():
                x = low.select(-x, high.select(2 * system.box - x, x))
                system.velocity[i] = (low | high).select(
                    -system.velocity[i], system.velocity[i]
                )
                low, high = x.lt(0), x.gt(system.box)
        system.position[i] = x


def check_motion(system: System) raises:
    """Raise an Error if a particle went astray in the drift."""
    for ref part in system.parts:
        if part.astray:
            raise Error(
                "a particle crossed the box many times in one step: the time"
                " step is too long"
            )


def check_forces(system: System) raises:
    """Raise an Error if a force is not a finite number."""
    for i in range(system.particles):
        if not isfinite(system.force[i]).reduce_and():
            raise Error(t"the force on particle {i} is not a finite number")

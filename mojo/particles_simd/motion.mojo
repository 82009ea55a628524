"""Motion by velocity Verlet, in two passes over memory for each step."""

from particles.arrays import Real, square
from particles.threads import Team
from std.math import isfinite

from .forces import forces
from .images import move_images
from .neighbours import moved_too_far, rebuild
from .system import System


def advance(mut system: System, steps: Int, mut team: Team) raises:
    """Go on by so many time steps; with none, only compute the forces."""
    if steps == 0:
        team.share[forces[and_kick=False]](system)
    for _ in range(steps):
        team.share[kick_and_drift](system)
        check_motion(system)
        if moved_too_far(system):
            rebuild(system, team)
        team.share[forces[and_kick=True]](system)
    check_forces(system)


def kick_and_drift(mut system: System, number: Int):
    """The first half of a step, for a part of the particles.

    Half a kick and the move by v dt; where there are walls, bounces from them.
    Images follow: those of the part's own particles, so that it need not wait for others.
    """
    ref part = system.parts[number]
    var half = 0.5 * system.dt
    var moved2 = Real(0)
    var far = 100 * system.box
    for i in range(part.first, part.last):
        var v = system.velocity.unsafe_get(i)
        v += half * system.force.unsafe_get(i)
        var x = system.position.unsafe_get(i) + system.dt * v
        # Written so that what is not a number is astray too.
        if not abs(x).lt(far).reduce_and():
            part.astray = True
            continue
        if not system.periodic:
            var low, high = x.lt(0), x.gt(system.box)
            while (low | high).reduce_or():
                x = low.select(-x, high.select(2 * system.box - x, x))
                v = (low | high).select(-v, v)
                low, high = x.lt(0), x.gt(system.box)
        system.velocity.unsafe_get(i) = v
        system.position.unsafe_get(i) = x
        moved2 = max(moved2, square(x - system.listed_position.unsafe_get(i)))
    # Not sooner: another thread's part is in the same line of the cache.
    part.moved2 = moved2
    move_images(system, number)


def check_motion(system: System) raises:
    """Raise an Error if a particle went astray."""
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
            raise Error(
                t"the force on particle {system.id[i]} is not a finite number"
            )

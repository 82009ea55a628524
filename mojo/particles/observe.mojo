"""What is observed: every derived field of the specification."""

from .arrays import Real, Vec, total
from .forces import potential_and_virial
from .system import System


@fieldwise_init
struct Observation(Movable):
    """What one box shows, besides its forces."""

    var kinetic_energy: Real
    var potential_energy: Real
    var virial: Real
    var pressure: Real
    var temperature: Real
    var momentum: Vec


def observe(system: System) -> Observation:
    """The observables of a box whose forces are up to date."""
    var kinetic = kinetic_energy(system)
    var potential, virial = potential_and_virial(system)
    var volume = system.box.reduce_mul()
    return Observation(
        kinetic_energy=kinetic,
        potential_energy=potential,
        virial=virial,
        pressure=(2 * kinetic + virial) / (3 * volume),
        temperature=temperature(system, kinetic),
        momentum=total(system.velocity),
    )


def kinetic_energy(system: System) -> Real:
    """Half the sum of the squared velocities."""
    var squares = List[Vec](capacity=system.particles)
    for v in system.velocity:
        squares.append(v * v)
    return 0.5 * total(squares).reduce_add()


def temperature(system: System, kinetic: Real) -> Real:
    """Twice the kinetic energy per degree of freedom.

    These are 3 N - 3 where total momentum is conserved (periodic), else 3 N.
    """
    var free = system.particles - 1 if system.periodic else system.particles
    return 2 * kinetic / Real(3 * max(free, 1))

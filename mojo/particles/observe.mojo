"""What is observed: every derived field of the specification but the forces."""

from .arrays import Real, Vec, total


@fieldwise_init
struct Observation(Movable):
    """What one box shows, besides its forces."""

    var kinetic_energy: Real
    var potential_energy: Real
    var virial: Real
    var pressure: Real
    var temperature: Real
    var momentum: Vec


def observe(
    velocity: List[Vec],
    potential: Real,
    virial: Real,
    box: Vec,
    periodic: Bool,
) -> Observation:
    """The observables of a box, from those that are sums over pairs."""
    var kinetic = kinetic_energy(velocity)
    var volume = box.reduce_mul()
    return Observation(
        kinetic_energy=kinetic,
        potential_energy=potential,
        virial=virial,
        pressure=(2 * kinetic + virial) / (3 * volume),
        temperature=temperature(kinetic, len(velocity), periodic),
        momentum=total(velocity),
    )


def kinetic_energy(velocity: List[Vec]) -> Real:
    """Half the sum of the squared velocities."""
    var squares = List[Vec](capacity=len(velocity))
    for v in velocity:
        squares.append(v * v)
    return 0.5 * total(squares).reduce_add()


def temperature(kinetic: Real, particles: Int, periodic: Bool) -> Real:
    """Twice the kinetic energy per degree of freedom.

    These are 3 N - 3 where total momentum is conserved (periodic), else 3 N.
    """
    var free = particles - 1 if periodic else particles
    return 2 * kinetic / Real(3 * max(free, 1))

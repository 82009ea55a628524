"""The forces between the particles, and their energy and virial."""

from .arrays import Real, Vec, square, total
from .pairs import pair_force, pair_potential
from .system import System


def forces(mut system: System, number: Int):
    """The force on each of a part of the particles: the sum of its pair forces."""
    ref part = system.parts[number]
    var cutoff2 = system.cutoff * system.cutoff
    for i in range(part.first, part.last):
        var x = system.position[i]
        var force = Vec(0)
        for j in part.neighbours(i):
            var d = separation(system, x, Int(j))
            var r2 = square(d)
            # Not `if`: one neighbour in four is beyond the cutoff, too often
            # for a processor that guesses which way a branch goes.
            force += r2.lt(cutoff2).select(pair_force(r2), 0.0) * d
        system.force[i] = force


def potential_and_virial(system: System) -> Tuple[Real, Real]:
    """Sums over the pairs of the particles: of their energy, and of r . f."""
    var cutoff2 = system.cutoff * system.cutoff
    var shift = pair_potential(cutoff2)
    var each = List[Vec](capacity=system.particles)
    for ref part in system.parts:
        for i in range(part.first, part.last):
            var energy, virial = (Real(0), Real(0))
            for j in part.neighbours(i):
                var r2 = square(separation(system, system.position[i], Int(j)))
                if r2 < cutoff2:
                    energy += pair_potential(r2) - shift
                    virial += pair_force(r2) * r2
            each.append(Vec(energy, virial, 0, 0))
    # Each pair was met twice, once from either side.
    var sum = 0.5 * total(each)
    return sum[0], sum[1]


def separation(system: System, x: Vec, j: Int) -> Vec:
    """The vector to the point x from the particle or image j of the list."""
    # Without bounds checks: with them, all the forces take half as long again.
    return x - system.position.unsafe_get(j) - system.shift.unsafe_get(j)

"""The forces between the particles, and their energy and virial."""

from particles.arrays import Real, Vec, square, total
from particles.pairs import pair_force, pair_potential

from .clusters import forces as forces_on_clusters
from .lists import forces as forces_on_each
from .system import System
from .vectors import MEMBERS


def forces[and_kick: Bool](mut system: System, number: Int):
    """The force on each of a part of the particles: the sum of its pair forces.

    With `and_kick` each gets half a time step of acceleration too, in the same pass
    over memory.
    """
    comptime if MEMBERS > 1:
        forces_on_clusters[and_kick](system, number)
    else:
        forces_on_each[and_kick](system, number)


def potential_and_virial(system: System) -> Tuple[Real, Real]:
    """Sums over the pairs of the particles: of their energy, and of r . f."""
    var cutoff2 = system.cutoff * system.cutoff
    var shift = pair_potential(cutoff2)
    var each = List[Vec](capacity=system.particles)
    for ref part in system.parts:
        for i in range(part.first, part.last):
            var energy, virial = (Real(0), Real(0))
            for start in part.listed(i):
                var j = Int(start) // 4
                var r2 = square(system.position[i] - system.position[j])
                if r2 < cutoff2 and j != i:
                    energy += pair_potential(r2) - shift
                    virial += pair_force(r2) * r2
            each.append(Vec(energy, virial, 0, 0))
    # Each pair was met twice, once from either side.
    var sum = 0.5 * total(each)
    return sum[0], sum[1]

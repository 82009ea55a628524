"""The forces between the particles, and their energy and virial."""

from particles.arrays import Real, Vec, square, total
from particles.pairs import pair_force, pair_potential

from .system import System
from .vectors import LANES, Lanes, columns, sums


def forces(mut system: System, number: Int):
    """The force on each of a part of the particles: the sum of its pair forces."""
    ref part = system.parts[number]
    var cutoff2 = system.cutoff * system.cutoff
    var x = system.position.unsafe_ptr().unsafe_bitcast[Real]()
    var neighbour = system.neighbour.unsafe_ptr()
    for i in range(part.first, part.last):
        var here = system.position.unsafe_get(i)
        var xi, yi, zi = Lanes(here[0]), Lanes(here[1]), Lanes(here[2])
        var fx, fy, fz = Lanes(0), Lanes(0), Lanes(0)
        var mine = neighbour.unsafe_offset(i * system.width)
        for k in range(0, Int(system.neighbours.unsafe_get(i)), LANES):
            var xj, yj, zj = columns(x, mine.unsafe_offset(k))
            var dx, dy, dz = xi - xj, yi - yj, zi - zj
            var r2 = dx * dx + dy * dy + dz * dz
            var f = r2.lt(cutoff2).select(pair_force(r2), Lanes(0))
            fx += f * dx
            fy += f * dy
            fz += f * dz
        system.force.unsafe_get(i) = sums(fx, fy, fz)


def potential_and_virial(system: System) -> Tuple[Real, Real]:
    """Sums over the pairs of the particles: of their energy, and of r . f."""
    var cutoff2 = system.cutoff * system.cutoff
    var shift = pair_potential(cutoff2)
    var each = List[Vec](capacity=system.particles)
    for i in range(system.particles):
        var energy, virial = (Real(0), Real(0))
        for k in range(Int(system.neighbours[i])):
            var j = Int(system.neighbour[i * system.width + k]) // 4
            var r2 = square(system.position[i] - system.position[j])
            if r2 < cutoff2:
                energy += pair_potential(r2) - shift
                virial += pair_force(r2) * r2
        each.append(Vec(energy, virial, 0, 0))
    # Each pair was met twice, once from either side.
    var sum = 0.5 * total(each)
    return sum[0], sum[1]

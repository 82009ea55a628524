"""The Lennard-Jones pair: its energy and force, of one or of several distances."""

from .arrays import PRECISION

comptime Some[lanes: SIMDLength] = SIMD[PRECISION, lanes]
"""So many numbers; one, if a Real is given."""


def pair_potential[lanes: SIMDLength, //](r2: Some[lanes]) -> Some[lanes]:
    """Lennard-Jones energy at the squared distance r2, not shifted."""
    var s6 = 1 / (r2 * r2 * r2)
    return 4 * (s6 * s6 - s6)


def pair_force[lanes: SIMDLength, //](r2: Some[lanes]) -> Some[lanes]:
    """f(r)/r at the squared distance r2: times the vector between two particles, their force."""
    var s2 = 1 / r2
    var s6 = s2 * s2 * s2
    return 24 * (2 * s6 * s6 - s6) * s2

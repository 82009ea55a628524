"""The Lennard-Jones pair: its energy and force."""

from .arrays import Real


def pair_potential(r2: Real) -> Real:
    """Lennard-Jones energy at the squared distance r2, not shifted."""
    var s6 = 1 / (r2 * r2 * r2)
    return 4 * (s6 * s6 - s6)


def pair_force(r2: Real) -> Real:
    """f(r)/r at the squared distance r2: times the vector between two particles, their force."""
    var s2 = 1 / r2
    var s6 = s2 * s2 * s2
    return 24 * (2 * s6 * s6 - s6) * s2

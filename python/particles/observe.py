"""What is observed of a box, from rows of particles: for the ports that hold them so."""

import numpy as np


def wrapped(box, x):
    """Positions brought back into the periodic box."""
    x = x - box * np.floor(x / box)
    return np.where((x < 0) | (x >= box), 0.0, x)  # rounding takes -1e-17 to the side of the box


def observed(box, periodic, x, v, force, potential, virial):
    """The fields of one box, as the specification shapes them; from rows of particles, and sums over pairs."""
    kinetic = 0.5 * np.sum(v * v)
    free = max(len(x) - 1, 1) if periodic else len(x)
    return {
        "position": wrapped(box, x) if periodic else x,
        "velocity": v,
        "force": force,
        "kinetic_energy": kinetic,
        "potential_energy": potential,
        "virial": virial,
        "pressure": (2 * kinetic + virial) / (3 * np.prod(box)),
        "temperature": 2 * kinetic / (3 * free),
        "momentum": np.sum(v, axis=0),
    }


def observed_rows(s, potential, virial, width):
    """The same of a System of Numba's, in flat rows x y z, of this width; in the order in which it was loaded, and in
    float64."""
    back = np.argsort(s.id)
    x, v, force = (a[: width * s.n].reshape(s.n, width)[back, :3] for a in (s.x, s.v, s.force))
    if s.periodic:
        x = wrapped(s.box, x)  # as precise as it is
    box, x, v, force = (a.astype(float) for a in (s.box, x, v, force))
    return observed(box, s.periodic, x, v, force, potential, virial)


def stacked(boxes, number):
    """The fields of all boxes, boxes first, in this type."""
    return {name: np.array([fields[name] for fields in boxes], dtype=number) for name in boxes[0]}

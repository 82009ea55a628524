"""Particles in a box in plain NumPy, without a loop over particles.

1. sort the particles into cells
2. list the pairs within reach, the cutoff plus a skin: the particles of each pair of near cells
3. per step: half kick, drift, list anew if a particle has moved half the skin, forces, half kick
4. forces: all pairs of the list at once, added to their particles by bincount

Neighbour lists with a skin: L. Verlet, Phys. Rev. 159, 98 (1967).
"""

import itertools

import numpy as np

from particles.checks import check, check_forces

SKIN = 0.4


def about():
    return {"version": np.__version__, "threads": 1}


def load(parameters, state):
    """One System for each box."""
    check(parameters, state)
    return [System(parameters, x, v) for x, v in zip(state["position"], state["velocity"])]


def run(systems, steps):
    for system in systems:
        advance(system, steps)
        check_forces(system.force)


def state(systems):
    """Every field of the specification, boxes first."""
    fields = [observe(system) for system in systems]
    return {name: np.array([f[name] for f in fields], dtype=systems[0].x.dtype) for name in fields[0]}


class System:
    """One box. Vectors are (3, N), so that each component is contiguous."""

    def __init__(self, parameters, position, velocity):
        number = position.dtype.type  # float64 or float32: all is computed in the precision of the state
        self.box = np.array(parameters["box"], dtype=number)[:, None]
        self.periodic = parameters["boundary"] == "periodic"
        self.cutoff, self.dt = number(parameters["cutoff"]), number(parameters["dt"])
        self.skin = min(number(SKIN), self.cutoff)
        self.x, self.v = np.array(position.T, order="C"), np.array(velocity.T, order="C")
        # No more cells than particles, however thin the gas.
        most = max(1, round(self.x.shape[1] ** (1 / 3)))
        self.cells = np.clip(self.box[:, 0] * 2 / (self.cutoff + self.skin), 1, most).astype(int)
        self.cell_pairs = near_cells(self)
        list_neighbours(self)
        self.force = forces(self)


def wrap(system, x):
    """Positions x in [0, L) of a periodic box."""
    x = x - system.box * np.floor(x / system.box)
    return np.where((x < 0) | (x >= system.box), 0.0, x)  # rounding takes -1e-17 to L, and 3 L to just below 0


def near_cells(system):
    """Pairs of cells, each once, that can hold particles within reach of each other: (2, pairs)."""
    cells = system.cells
    side = system.box[:, 0] / cells
    far = np.ceil((system.cutoff + system.skin) / side).astype(int)
    here = np.stack(np.unravel_index(np.arange(cells.prod()), cells))
    found = []
    for step in itertools.product(*[np.unique(np.arange(-f, f + 1).clip(-n, n)) for f, n in zip(far, cells)]):
        there = here + np.array(step)[:, None]
        inside = np.all((there >= 0) & (there < cells[:, None]), axis=0)
        if system.periodic:
            there, inside = there % cells[:, None], np.ones_like(inside)
        pair = np.stack([np.ravel_multi_index(here[:, inside], cells), np.ravel_multi_index(there[:, inside], cells)])
        found.append(pair[:, pair[0] <= pair[1]])
    # In a small box the same cell is reached by several ways round.
    return np.unique(np.concatenate(found, axis=1), axis=1)


def sort_into_cells(system, x):
    """(particles in the order of their cells, first particle of each cell, particles in each cell)."""
    cells = system.cells[:, None]
    place = np.minimum((x * (cells / system.box).astype(x.dtype)).astype(int), cells - 1)
    cell = np.ravel_multi_index(place, system.cells)
    count = np.bincount(cell, minlength=system.cells.prod())
    return np.argsort(cell, kind="stable"), np.cumsum(count) - count, count


def list_neighbours(system):
    """Set system.pairs, two rows of particles: each pair within cutoff + skin once."""
    check_forces(system.x)
    if system.periodic:
        system.x = wrap(system, system.x)
    order, start, count = sort_into_cells(system, system.x)
    a, b = system.cell_pairs[:, (count[system.cell_pairs] > 0).all(axis=0)]
    both = count[a] * count[b]
    # The k-th pair of particles of a pair of cells is (k // count_b, k % count_b).
    k = np.arange(both.sum()) - np.repeat(np.cumsum(both) - both, both)
    i, j = np.divmod(k, np.repeat(count[b], both))
    i += np.repeat(start[a], both)
    j += np.repeat(start[b], both)
    once = (i < j) | np.repeat(a != b, both)
    i, j = order[i[once]], order[j[once]]
    d = separation(system, i, j)
    near = d[0] * d[0] + d[1] * d[1] + d[2] * d[2] < (system.cutoff + system.skin) ** 2
    system.pairs = np.stack([i[near], j[near]])
    system.listed = system.x.copy()


def moved_too_far(system):
    """Whether two particles can have come within the cutoff that are not in the list."""
    moved = system.x - system.listed
    return np.max(np.sum(moved * moved, axis=0), initial=0.0) > (0.5 * system.skin) ** 2


def separation(system, i, j):
    """Vectors (3, pairs) from particles j to i: the shortest ones if periodic."""
    d = system.x.take(i, axis=1) - system.x.take(j, axis=1)
    if system.periodic:
        d -= system.box * np.rint(d * (1 / system.box))
    return d


def forces(system):
    """Force (3, N) on each particle."""
    i, j = system.pairs
    d = separation(system, i, j)
    r2 = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # Beyond the cutoff they are infinitely far from each other; np.where, of the forces, takes twice as long.
        pushes = pair_force(r2 / (r2 < system.cutoff * system.cutoff)) * d
    n = system.x.shape[1]
    return np.stack([np.bincount(i, push, n) - np.bincount(j, push, n) for push in pushes], dtype=d.dtype)


def potential_and_virial(system):
    """Sums over the pairs: of their energy, and of r . f."""
    d = separation(system, *system.pairs)
    r2 = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
    r2 = r2[r2 < system.cutoff * system.cutoff]
    shift = pair_potential(system.cutoff * system.cutoff)
    return np.sum(pair_potential(r2)) - shift * len(r2), np.sum(pair_force(r2) * r2)


def pair_potential(r2):
    """Lennard-Jones energy at the squared distance r2, not shifted."""
    s6 = 1 / (r2 * r2 * r2)
    return 4 * (s6 * s6 - s6)


def pair_force(r2):
    """f(r)/r at the squared distance r2."""
    s2 = 1 / r2
    s6 = s2 * s2 * s2
    return 24 * (2 * s6 * s6 - s6) * s2


def drift(system):
    """Move by v dt; between walls, bounce until inside. A periodic box is wrapped when listed."""
    system.x += system.dt * system.v
    x, v, box = system.x, system.v, system.box
    if not np.all(np.abs(x) < 100 * box):
        raise ValueError("a particle crossed the box many times in one step: the time step is too long")
    while not system.periodic:
        low, high = x < 0, x > box
        if not (low.any() or high.any()):
            break
        np.copyto(x, -x, where=low)
        np.copyto(x, 2 * box - x, where=high)
        np.negative(v, out=v, where=low | high)


def kick(system):
    """Half a time step of acceleration."""
    system.v += 0.5 * system.dt * system.force


def advance(system, steps):
    """Velocity Verlet."""
    for _ in range(steps):
        kick(system)
        drift(system)
        if moved_too_far(system):
            list_neighbours(system)
        system.force = forces(system)
        kick(system)


def observe(system):
    """The fields of one box, as the specification shapes them."""
    kinetic = 0.5 * np.sum(system.v * system.v)
    potential, virial = potential_and_virial(system)
    n = system.x.shape[1]
    free = max(n - 1, 1) if system.periodic else n
    return {
        "position": (wrap(system, system.x) if system.periodic else system.x).T,
        "velocity": system.v.T,
        "force": system.force.T,
        "kinetic_energy": kinetic,
        "potential_energy": potential,
        "virial": virial,
        "pressure": (2 * kinetic + virial) / (3 * np.prod(system.box)),
        "temperature": 2 * kinetic / (3 * free),
        "momentum": np.sum(system.v, axis=1),
    }

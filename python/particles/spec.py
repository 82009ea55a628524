"""Particles in a box: the canonical definition, in plain NumPy, written to be read.

N particles with the Lennard-Jones potential move by Newton's laws in an
orthorhombic box. Everything is in reduced units: mass = epsilon = sigma = 1.

    u(r) = 4 (r^-12 - r^-6) - u_cut   for r < cutoff, else 0        pair potential
    f(r) = 24 (2 r^-12 - r^-6) / r    for r < cutoff, else 0        pair force
    x' = v,  v' = sum of the pair forces                            motion

u_cut makes u(cutoff) = 0; the force is cut off and not shifted, as in the "LJ
melt" benchmark that molecular-dynamics codes publish. Time advances by velocity
Verlet [1]; `advance` below is that algorithm and nothing else.

A state is a dictionary of arrays whose axes are (boxes, particles, 3). `boxes`
is 1, except in an ensemble: many small boxes that know nothing of each other.

Right answers are defined here; speed is left to the ports. Forces are found by
looking at all N^2 pairs, a block of rows at a time so that memory stays bounded.
The order of summation and the number of digits are not part of the definition:
every sum over particles goes through the argument `add`, and all is computed in
the type of the state's arrays, so that whoever checks a port can sum in another
order, or with fewer or more digits, and see how much of a difference is rounding.

[1] W. C. Swope, H. C. Andersen, P. H. Berens, K. R. Wilson, J. Chem. Phys. 76,
    637 (1982), eq. 14.  Potential, virial and minimum image: M. P. Allen,
    D. J. Tildesley, Computer Simulation of Liquids, 2nd ed. (2017), ch. 1-2.
"""

import numpy as np

NAME = "particles in a box"

# What a port receives and returns: shape (in terms of the parameters), unit, and
# `scale`, the size at which a difference in this field means that all is lost.
STATE = {
    "position": {"shape": ("boxes", "particles", 3), "unit": "sigma", "scale": 1.0, "continuous": True},
    "velocity": {"shape": ("boxes", "particles", 3), "unit": "sqrt(epsilon/mass)", "scale": 1.0, "continuous": True},
}
DERIVED = {
    "force": {"shape": ("boxes", "particles", 3), "unit": "epsilon/sigma"},
    "kinetic_energy": {"shape": ("boxes",), "unit": "epsilon"},
    "potential_energy": {"shape": ("boxes",), "unit": "epsilon"},
    "virial": {"shape": ("boxes",), "unit": "epsilon"},
    "pressure": {"shape": ("boxes",), "unit": "epsilon/sigma^3"},
    "temperature": {"shape": ("boxes",), "unit": "epsilon/k_B"},
    "momentum": {"shape": ("boxes", 3), "unit": "sqrt(epsilon mass)"},
}
# One step of one of these is the unit of work in which speed is stated.
WORK = ("boxes", "particles")

_LIQUID = {"density": 0.8442, "temperature": 1.44, "cutoff": 2.5, "dt": 0.005, "boundary": "periodic"}
CASES = {
    "tiny": {**_LIQUID, "cells": (2, 2, 4), "density": 0.4, "cutoff": 2.0},
    "liquid-500": {**_LIQUID, "cells": (5, 5, 5)},
    "walls-500": {**_LIQUID, "cells": (5, 5, 5), "boundary": "walls"},
    "gas-4k": {**_LIQUID, "cells": (10, 10, 10), "density": 0.05},
    "melt-4k": {**_LIQUID, "cells": (10, 10, 10)},
    "melt-32k": {**_LIQUID, "cells": (20, 20, 20)},
    "ensemble": {**_LIQUID, "cells": (3, 3, 3), "boxes": 1000},
}


# ---------------------------------------------------------------- parameters and states


def parameters(*, cells, density, temperature, cutoff, dt, boundary, boxes=1, seed=1):
    """All the numbers that define a case, from the few that a person chooses.

    cells        FCC unit cells along each side; there are 4 particles in each
    density      particles per volume, sigma^-3
    temperature  of the initial velocities, epsilon/k_B
    cutoff       distance beyond which particles do not interact, sigma
    dt           time step, sigma sqrt(mass/epsilon)
    boundary     "periodic" or "walls"
    boxes        independent copies of the system
    seed         of the initial velocities and displacements

    Raises ValueError, in one sentence, if these do not describe a simulation.
    """
    values = np.array([*cells, density, temperature, cutoff, dt], dtype=float)
    if not np.all(np.isfinite(values)):
        raise ValueError("a parameter is not a finite number: give finite cells, density, temperature, cutoff and dt")
    if len(cells) != 3 or any(int(c) != c or c < 1 for c in cells):
        raise ValueError(f"cells = {cells} must be three whole numbers of at least 1")
    if int(boxes) != boxes or boxes < 1:
        raise ValueError(f"boxes = {boxes} must be a whole number of at least 1")
    if not (density > 0 and cutoff > 0 and dt > 0 and temperature >= 0):
        raise ValueError("density, cutoff and dt must be above 0, and temperature not below 0")
    side = (4 / density) ** (1 / 3)
    made = {
        "boxes": int(boxes),
        "particles": int(4 * np.prod(cells)),
        "box": tuple(float(c * side) for c in cells),
        "boundary": boundary,
        "cutoff": float(cutoff),
        "dt": float(dt),
        "cells": tuple(int(c) for c in cells),
        "density": float(density),
        "temperature": float(temperature),
        "seed": int(seed),
    }
    check_parameters(made)
    return made


def check_parameters(parameters):
    """Raise ValueError unless the box, the boundary and the cutoff fit together."""
    box, cutoff = parameters["box"], parameters["cutoff"]
    if parameters["boundary"] not in ("periodic", "walls"):
        raise ValueError(f'boundary = "{parameters["boundary"]}" must be "periodic" or "walls"')
    if parameters["boundary"] == "periodic" and not cutoff <= min(box) / 2:
        raise ValueError(
            f"cutoff = {cutoff} is over half the shortest side of the periodic box ({min(box) / 2:.6g}): "
            "a particle would meet two images of another; take a smaller cutoff or more cells"
        )


def check_state(parameters, state):
    """Raise ValueError unless the particles are finite, inside the box and at distinct points."""
    check_parameters(parameters)
    box = np.array(parameters["box"])
    for name in ("position", "velocity"):
        bad = np.argwhere(~np.isfinite(state[name]))
        if len(bad):
            raise ValueError(f"{name} of particle {bad[0][1]} in box {bad[0][0]} is not a finite number")
    if np.any(state["position"] < 0) or np.any(state["position"] > box):
        raise ValueError("a particle lies outside the box: positions must be within 0 and the box sides")
    for position in state["position"]:
        # what rounding cannot tell apart beside a box side is one point; and so are opposite faces
        place = (position + box) - box
        place = np.where((parameters["boundary"] == "periodic") & (place >= box), 0.0, place)
        order = np.lexsort(place.T)
        twice = np.flatnonzero(np.all(np.diff(place[order], axis=0) == 0, axis=1))
        if len(twice):
            first, second = sorted(order[twice[0] : twice[0] + 2])
            raise ValueError(f"particles {first} and {second} are at the same point, where the force is infinite")


def initial_state(parameters):
    """A lattice that fills the box, and velocities of the wanted temperature without a total momentum."""
    cells, box = np.array(parameters["cells"]), np.array(parameters["box"])
    corner = np.stack(np.meshgrid(*[np.arange(c) for c in cells], indexing="ij"), axis=-1).reshape(-1, 1, 3)
    basis = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
    # A quarter of a cell away from the faces, so that no particle starts on a wall.
    lattice = ((corner + basis + 0.25).reshape(-1, 3)) * (box / cells)
    boxes, particles = parameters["boxes"], parameters["particles"]
    random = np.random.default_rng(parameters["seed"])
    velocity = random.standard_normal((boxes, particles, 3))
    velocity -= velocity.mean(axis=1, keepdims=True)
    for one in velocity:
        hot = temperature(parameters, one)
        one *= np.sqrt(parameters["temperature"] / hot) if hot > 0 else 0.0
    return {"position": np.tile(lattice, (boxes, 1, 1)), "velocity": velocity}


def disordered_state(parameters):
    """The initial state without its symmetry: each particle moved by up to a tenth of a lattice spacing.

    On a perfect lattice the forces cancel, and many an error in a port with them.
    """
    state = initial_state(parameters)
    random = np.random.default_rng([parameters["seed"], 1])
    reach = 0.1 * np.array(parameters["box"]) / np.array(parameters["cells"])
    state["position"] = state["position"] + random.uniform(-1, 1, state["position"].shape) * reach
    return state


# ---------------------------------------------------------------- the simulation


def advance(parameters, state, steps, add=np.sum):
    """The state `steps` time steps later, by velocity Verlet: half kick, drift, forces, half kick."""
    dt = parameters["dt"]
    boxes = []
    for x, v in zip(state["position"], state["velocity"]):
        f = forces(parameters, x, add)
        for _ in range(steps):
            v = v + 0.5 * dt * f
            x, v = drift(parameters, x, v)
            f = forces(parameters, x, add)
            v = v + 0.5 * dt * f
        boxes.append((x, v))
    return {"position": np.array([x for x, _ in boxes]), "velocity": np.array([v for _, v in boxes])}


def drift(parameters, x, v):
    """Move by v dt and meet the boundary: re-enter opposite (periodic) or bounce (walls)."""
    box = np.array(parameters["box"], dtype=x.dtype)
    x = x + parameters["dt"] * v
    if not np.all(np.abs(x) < 100 * box):
        raise ValueError("a particle crossed the box many times in one step: the time step is too long")
    if parameters["boundary"] == "periodic":
        x = x - box * np.floor(x / box)
        x = np.where((x < 0) | (x >= box), 0.0, x)  # rounding takes -1e-17 to L, and 3 L to just below 0
    else:
        while np.any((x < 0) | (x > box)):
            low, high = x < 0, x > box
            x = np.where(low, -x, np.where(high, 2 * box - x, x))
            v = np.where(low | high, -v, v)
    return x, v


def forces(parameters, x, add=np.sum):
    """Force (N, 3) on each of the particles at x (N, 3): the sum of its pair forces."""
    force = np.empty_like(x)
    for rows, d, r2, near in pairs(parameters, x):
        f_over_r = np.zeros_like(r2)
        f_over_r[near] = pair_force(r2[near])
        force[rows] = add(f_over_r * d, axis=-1).T
    return force


def potential_and_virial(parameters, x, add=np.sum):
    """Sums over the pairs of the particles at x (N, 3): of their energy, and of r . f."""
    energy, virial = np.empty_like(x[:, 0]), np.empty_like(x[:, 0])
    shift = pair_potential(x.dtype.type(parameters["cutoff"]) ** 2)
    for rows, _, r2, near in pairs(parameters, x):
        u, w = np.zeros_like(r2), np.zeros_like(r2)
        u[near] = pair_potential(r2[near])
        w[near] = pair_force(r2[near]) * r2[near]
        energy[rows] = add(u, axis=-1) - shift * near.sum(axis=-1)
        virial[rows] = add(w, axis=-1)
    # each pair was met twice, once from either side
    return 0.5 * add(energy, axis=0), 0.5 * add(virial, axis=0)


def pairs(parameters, x):
    """All pairs, some rows of the N x N at a time: (rows, vectors (3, rows, N), r^2, whether inside the cutoff)."""
    cutoff, particles = x.dtype.type(parameters["cutoff"]), len(x)
    xyz = np.ascontiguousarray(x.T)
    size = max(1, 8_000 // max(1, particles))  # so few that a block stays in the processor's cache
    for start in range(0, particles, size):
        rows = slice(start, min(start + size, particles))
        d = separation(parameters, xyz[:, rows], xyz)
        r2 = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
        near = r2 < cutoff * cutoff
        near[np.arange(rows.stop - start), np.arange(start, rows.stop)] = False  # nobody meets itself
        yield rows, d, r2, near


def separation(parameters, a, b):
    """Vectors from each point of b (3, M) to each of a (3, K), as (3, K, M): the shortest ones if periodic."""
    d = a[:, :, None] - b[:, None, :]
    if parameters["boundary"] == "periodic":
        box = np.array(parameters["box"], dtype=d.dtype)[:, None, None]
        d -= box * np.rint(d / box)
    return d


def pair_potential(r2):
    """Lennard-Jones energy at the squared distance r2, not shifted."""
    s6 = 1 / (r2 * r2 * r2)
    return 4 * (s6 * s6 - s6)


def pair_force(r2):
    """f(r)/r at the squared distance r2: times the vector between two particles, their force."""
    s2 = 1 / r2
    s6 = s2 * s2 * s2
    return 24 * (2 * s6 * s6 - s6) * s2


# ---------------------------------------------------------------- what is observed


def observe(parameters, state, add=np.sum):
    """The DERIVED fields of a state."""
    seen = {name: [] for name in DERIVED}
    volume = np.prod(np.array(parameters["box"], dtype=state["position"].dtype))
    for x, v in zip(state["position"], state["velocity"]):
        potential, virial = potential_and_virial(parameters, x, add)
        kinetic = kinetic_energy(v, add)
        seen["force"].append(forces(parameters, x, add))
        seen["kinetic_energy"].append(kinetic)
        seen["potential_energy"].append(potential)
        seen["virial"].append(virial)
        seen["pressure"].append((2 * kinetic + virial) / (3 * volume))
        seen["temperature"].append(temperature(parameters, v, add))
        seen["momentum"].append(add(v, axis=0))
    return {name: np.array(values) for name, values in seen.items()}


def kinetic_energy(v, add=np.sum):
    """Half the sum of the squared velocities v (N, 3)."""
    return 0.5 * add(add(v * v, axis=0), axis=0)


def temperature(parameters, v, add=np.sum):
    """Twice the kinetic energy per degree of freedom: 3 N, less 3 where momentum is conserved (periodic)."""
    free = len(v) - 1 if parameters["boundary"] == "periodic" else len(v)
    return 2 * kinetic_energy(v, add) / (3 * max(free, 1))


# ---------------------------------------------------------------- what a checker needs to know


def difference(parameters, name, a, b):
    """a - b for the field `name`: positions in a periodic box differ by the shortest way round."""
    d = a - b
    if name == "position" and parameters["boundary"] == "periodic":
        box = np.array(parameters["box"])
        d = d - box * np.rint(d / box)
    return d


def symmetries(parameters, random):
    """Changes of a state that change no physics and no bit: name -> (do, undo), on dictionaries of fields."""
    order = random.permutation(parameters["particles"])
    back = np.argsort(order)

    def reorder(fields, by):
        return {name: a[:, by] if name in ("position", "velocity", "force") else a for name, a in fields.items()}

    return {"particles in another order": (lambda s: reorder(s, order), lambda s: reorder(s, back))}


def jumps(parameters):
    """How far one pair that is counted inside the cutoff, or is not, moves a field in one step."""
    cutoff, dt = parameters["cutoff"], parameters["dt"]
    force = abs(pair_force(cutoff**2)) * cutoff
    return {
        "position": force * dt**2,
        "velocity": force * dt,
        "force": force,
        "virial": force * cutoff,
        "pressure": force * cutoff / (3 * float(np.prod(parameters["box"]))),
    }


def relations(parameters, random):
    """Changes after which the same must come out but for rounding: name -> (parameters, do, undo)."""
    box = np.array(parameters["box"])
    periodic = parameters["boundary"] == "periodic"
    sign = np.array([-1.0, 1.0, 1.0])

    def inside(x):
        x = x - box * np.floor(x / box)
        return np.where((x < 0) | (x >= box), 0.0, x)

    def moved(by):
        return lambda fields: {**fields, "position": inside(fields["position"] + by)}

    def mirrored(fields):
        x = fields["position"]
        x = np.where(sign < 0, box - x, x)
        return {name: sign * a if name in ("velocity", "force", "momentum") else a for name, a in fields.items()} | {
            "position": inside(x) if periodic else x
        }

    def turned(fields, by):
        return {
            name: np.roll(a, by, axis=-1) if name in ("position", "velocity", "force", "momentum") else a
            for name, a in fields.items()
        }

    other = {**parameters, "box": tuple(float(side) for side in np.roll(box, 1))}
    made = {
        "mirrored in x": (parameters, mirrored, mirrored),
        "axes turned": (other, lambda s: turned(s, 1), lambda s: turned(s, -1)),
    }
    if periodic:
        by = random.uniform(0.2, 0.8, 3) * box
        made["moved as a whole"] = (parameters, moved(by), moved(-by))
    return made


def reverse(parameters, state):
    """The state from which the motion runs backwards."""
    return {**state, "velocity": -state["velocity"]}


def conserved(parameters, fields):
    """What the exact motion keeps, of the fields of a state: total energy, and momentum where there are no walls."""
    kept = {"energy": fields["kinetic_energy"] + fields["potential_energy"]}
    if parameters["boundary"] == "periodic":
        kept["momentum"] = fields["momentum"]
    return kept


def refine(parameters, times):
    """The same with a time step so many times shorter."""
    return {**parameters, "dt": parameters["dt"] / times}


def statistics(parameters, samples):
    """Averages over the samples of a run (fields of states, equally spaced in time), for runs too long to compare
    point by point: name -> number. Temperature, potential energy and pressure; the pair distribution g(r) in shells,
    relative to an ideal gas; mean squared displacement and velocity autocorrelation over a tenth of the run.
    """
    box, particles = np.array(parameters["box"]), parameters["particles"]
    mean = {name: np.mean([f[name] for f in samples]) for name in ("temperature", "potential_energy", "pressure")}
    mean["potential_energy"] /= particles
    mean["fluctuation of the temperature"] = np.std([f["temperature"] for f in samples])
    edges = np.linspace(0.9, min(parameters["cutoff"], min(box) / 2), 7)
    shells = np.zeros(len(edges) - 1)
    for fields in samples:
        for x in fields["position"]:
            for _, _, r2, near in pairs({**parameters, "cutoff": edges[-1]}, x):
                shells += np.histogram(np.sqrt(r2[near]), edges)[0]
    ideal = 4 / 3 * np.pi * np.diff(edges**3) * particles * (particles - 1) / np.prod(box)
    for low, high, count in zip(edges, edges[1:], shells / ideal / len(samples) / parameters["boxes"]):
        mean[f"g(r), r = {low:.2f} to {high:.2f}"] = count
    position = np.array([f["position"] for f in samples])
    path = np.cumsum(difference(parameters, "position", position[1:], position[:-1]), axis=0)
    velocity = np.array([f["velocity"] for f in samples])
    lag = max(1, len(samples) // 10)
    mean["mean squared displacement"] = np.mean(np.sum((path[lag:] - path[:-lag]) ** 2, axis=-1))
    mean["velocity autocorrelation"] = np.mean(np.sum(velocity[lag:] * velocity[:-lag], axis=-1))
    return {name: float(value) for name, value in mean.items()}


def terms(parameters, state, name, index):
    """The terms whose sum is one component of one force: [(what it is, value)]; None for other fields.

    In the type of the state's arrays, as all else.
    """
    if name != "force":
        return None
    one, i, axis = index
    x = state["position"][one]
    d = separation(parameters, x[i : i + 1].T, x.T)[:, 0]
    r2 = np.sum(d * d, axis=0)
    r2[i] = np.inf
    near = np.flatnonzero(r2 < x.dtype.type(parameters["cutoff"]) ** 2)
    return [
        (f"the pair of particles {i} and {j} at r = {float(r2[j]) ** 0.5:.16g}", pair_force(r2[j]) * d[axis, j])
        for j in near
    ]


def features(parameters, before, after):
    """What was special about which particles in a step: name -> mask (boxes, particles, 1)."""
    x, v, box = before["position"], before["velocity"], np.array(parameters["box"])
    went = x + parameters["dt"] * v
    cutoff = parameters["cutoff"]
    out = np.sum((went < 0) | (went > box), axis=-1, keepdims=True)
    faces = np.sum((x < cutoff) | (x > box - cutoff), axis=-1, keepdims=True)
    return {
        "crossed a face of the box in this step": out >= 1,
        "crossed an edge or corner of the box in this step": out >= 2,
        "was within the cutoff of a face of the box": faces >= 1,
        "was within the cutoff of an edge of the box": faces >= 2,
        "was within the cutoff of a corner of the box": faces == 3,
    }


def probes(dtype=float):
    """Small states at which ports go wrong: name -> (parameters, state). An ulp is one of the `dtype`."""
    made = {}

    def probe(name, points, box, boundary="periodic", cutoff=2.5, velocity=None, dt=0.005):
        position = np.array(points, dtype=float)[None]
        velocity = np.zeros_like(position) if velocity is None else np.array(velocity, dtype=float)[None]
        n = position.shape[1]
        made[name] = (
            {
                "boxes": 1,
                "particles": n,
                "box": tuple(float(s) for s in box),
                "boundary": boundary,
                "cutoff": float(cutoff),
                "dt": float(dt),
            },
            {"position": position, "velocity": velocity},
        )

    cube = (8.0, 8.0, 8.0)

    def up(x, towards):
        return float(np.nextafter(dtype(x), dtype(towards)))

    probe("one particle", [[1, 2, 3]], cube, velocity=[[0.5, -0.25, 1]])
    probe("one particle between walls", [[0.001, 7.999, 3]], cube, "walls", velocity=[[-1, 1, 0.5]])
    # Exactly representable and along an axis, so that rounding cannot decide which side of the cutoff.
    for name, x in (("at", 3.5), ("just inside", up(3.5, 0)), ("just outside", up(3.5, 9))):
        probe(f"two particles {name} the cutoff", [[1, 1, 1], [x, 1, 1]], cube)
    probe("two particles half a box apart", [[1, 1, 1], [5, 1, 1]], cube)
    probe("half a box apart at the largest cutoff", [[1, 1, 1], [5, 1, 1], [1, 4.75, 1]], cube, cutoff=4)
    faces = [[0.25, 4, 4], [7.5, 4, 4], [4, 0.5, 2], [4, 7.25, 2], [2, 2, 0.5], [2, 2, 7.5]]
    corners = [[0.5, 0.5, 0.5], [7.5, 7.5, 7.5], [0.5, 7.5, 4], [7.5, 0.5, 4], [7.5, 4, 0.5]]
    probe("pairs across each face", faces, cube)
    probe("pairs across edges and corners", corners, cube)
    probe("the same corners between walls", corners, cube, "walls")
    probe("on the faces of the box", [[0, 0, 0], [1.5, up(8, 0), 1], [up(8, 0), 4, 4], [0, 4, 2]], cube)
    touching = [[0, 0, 0], [1.25, 0, 0.5], [8, 4, 4], [4, 8, 1], [3, 8, 2]]
    probe("touching the walls", touching, cube, "walls", velocity=np.ones((5, 3)))
    # At speed 3300 and dt 0.005 a particle crosses twice its box, and bounces twice, in one step.
    probe("two bounces in one step", [[1, 1, 1], [6, 6, 6]], cube, "walls", velocity=[[3300, 0, -2100], [0, -20, 0]])
    probe("through the whole box in one step", [[1, 1, 1], [6, 6, 6]], cube, velocity=[[3300, 0, -2100], [0, -20, 0]])
    random = np.random.default_rng(5)
    grid = np.stack(np.meshgrid(*[np.arange(4.0)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    for count in (3, 17, 33, 63):
        spread = grid[:count] * 1.25 + random.uniform(0.25, 0.5, (count, 3))
        speed = random.standard_normal((count, 3))
        probe(f"{count} particles", spread, (5.0, 5.0, 5.0), velocity=speed)
        probe(f"{count} particles between walls", spread, (5.0, 5.0, 5.0), "walls", velocity=speed)
    spread = grid * (1.25, 1.75, 3) + random.uniform(0.25, 0.5, (64, 3))
    probe("the smallest legal box, not a cube", spread, (5.0, 7.0, 12.0), velocity=random.standard_normal((64, 3)))
    probe("a thin box between walls", spread * (0.6, 1, 1), (3.0, 7.0, 12.0), "walls")
    two = np.stack([spread, spread[::-1] + 0.03125])
    made["two boxes that must not meet"] = (
        {**made["the smallest legal box, not a cube"][0], "boxes": 2},
        {"position": two, "velocity": np.stack([np.ones((64, 3)), -np.ones((64, 3))])},
    )
    return made


def stress(random, size):
    """A legal case of about `size` particles, drawn by the NumPy generator `random`: (parameters, state).

    Dense, thin and clustered states, at rest, hot and flowing, with particles on faces, in cubes and in long and
    narrow boxes, of any count, of several boxes, with cutoffs and time steps that no named case has.
    """
    many = size >= 100  # of these most are dense and warm, with long lists of neighbours: in these, lists grow old
    while True:
        boxes = int(random.choice([1, 1, 1, 2, 3, 5]))
        particles = max(1, size // boxes - int(random.integers(3)))
        parameters = {
            "boxes": boxes,
            "particles": particles,
            "boundary": str(random.choice(["periodic", "walls"])),
            "cutoff": float(random.choice([2.0, 2.5, 3.3, 4.0, 4.0, 4.0] if many else [1.2, 2.0, 2.5, 3.3])),
            "dt": float(random.choice([0.005, 0.005, 0.002] if many else [0.005, 0.002, 5e-5])),
        }
        for name in ("cutoff", "dt"):
            parameters[name] *= 1 + 0.1 * random.random()
        crowded = size > 250 and random.random() < 0.8  # more neighbours, and more in a cell, than one makes room for
        if crowded:
            boxes, particles, spacing = 1, size, 0.95
            cutoff = 4.0 * (1 + 0.1 * random.random())
            parameters.update(boxes=boxes, particles=particles, cutoff=cutoff)
            box = random.choice([2.0, 3.5, 3.5]) * cutoff * (1 + 0.1 * random.random(3))
        elif many and random.random() < 0.5:
            return approaching(random, parameters, size)
        else:
            least = 2 * parameters["cutoff"] if parameters["boundary"] == "periodic" else 2.0
            spacing = random.choice([0.95, 0.95, 1.1, 1.3])
            box = least * (1 + random.random(3) * random.choice([0.1, 0.1, 2.0] if many else [0.1, 2.0, 8.0]))
        box *= max(1.0, 1.05 * (particles * spacing**3 / np.prod(box)) ** (1 / 3))
        while np.prod(box // spacing) < particles:
            box *= 1.05
        parameters["box"] = tuple(float(side) for side in box)
        position = np.array([scattered(random, particles, box, spacing, crowded) for _ in range(boxes)])
        if parameters["boundary"] == "periodic" and random.random() < 0.75:  # neighbours beyond faces
            position = (position - position[:, :1]) % box
        if random.random() < 0.3:  # all as fast, along diagonals: many meet head on
            velocity = random.choice([-1.0, 1.0], position.shape) * random.choice([1.0, 3.0])
        else:
            velocity = random.standard_normal(position.shape) * random.choice(
                [0.8, 1.2, 2.5, 5.0] if many else [0.0, 0.8, 1.2, 5.0]
            )
        velocity *= random.choice([0.2, 1.0, 1.0], (boxes, 1, 1))  # boxes that are colder than others
        velocity += random.choice([0.0, 0.0, 2.0]) * random.standard_normal(3)  # a flow
        for v in velocity:  # one that is faster than all others, which may rest
            v[random.integers(particles)] *= random.choice([1.0, 1.0, 1.0, 4.0])
            if many and random.random() < 0.35:
                v[:] = 0.0
                v[random.integers(particles)] = random.choice([-3.0, 3.0], 3)
        if parameters["boundary"] == "walls":  # a push against a wall and back, from rest, ends there but for rounding
            velocity += 0.3 * ((position == 0) * 1.0 - (position == box)) * (velocity == 0)
        state = {"position": position, "velocity": velocity}
        try:
            check_state(parameters, state)
            moved = advance(parameters, state, 2)
        except ValueError:
            continue
        # no explosions: in those a rounding grows beyond all bounds within a few steps
        kick = max(np.max(np.abs(forces(parameters, x))) for x in position) * parameters["dt"]
        if kick < 30 and np.all(np.abs(moved["velocity"]) < 60):
            return parameters, state


def approaching(random, parameters, size):
    """A thin gas of pairs that come nearer to each other, from a little beyond the cutoff: (parameters, state).

    All are as fast, or one alone moves and leaves its box through a face: a list of neighbours whose age is misjudged
    then lacks some pair or other.
    """
    boxes, cutoff = max(4, parameters["boxes"]), parameters["cutoff"]
    particles = max(2, size // boxes)
    periodic = random.random() < 0.75
    pairs = particles // 2
    cells = int(np.ceil((pairs + 1) ** (1 / 3)))
    side = 2 * cutoff + 1.3  # of a cell, in which one pair is
    places = np.array(np.unravel_index(random.permutation(cells**3)[: pairs + 1], (cells,) * 3)).T
    position = np.empty((boxes, particles, 3))
    velocity = np.zeros((boxes, particles, 3))
    for x, v in zip(position, velocity):
        along = random.standard_normal((pairs, 3))
        if random.random() < 0.7:  # along diagonals, on which a component is least of the whole
            along = np.sign(along)
        along /= np.linalg.norm(along, axis=1, keepdims=True)
        apart, speed = cutoff + random.uniform(0.1, 1.0, (pairs, 1)), random.choice([1.5, 3.0, 6.0])
        x[:] = np.repeat(side * (places + 0.5), 2, axis=0)[:particles]  # of an odd number the last one is alone
        for first, sign in (0, 1.0), (1, -1.0):
            x[first : 2 * pairs : 2] += sign * 0.5 * apart * along
            v[first : 2 * pairs : 2] = -sign * speed * along
        if periodic and random.random() < 0.5:
            x[:2] = x[:2].mean(axis=0) + 0.5 * apart[0] * np.array([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
            x[:, 0] = (x[:, 0] - x[0, 0] - 0.02) % (side * cells)
            v[:] = 0.0
            v[0, 0] = 2 * speed
        order = random.permutation(particles)
        x[:], v[:] = x[order], v[order]
    changed = {"boxes": boxes, "particles": particles, "boundary": "periodic" if periodic else "walls"}
    changed["box"] = (float(side * cells),) * 3
    changed["dt"] = 0.005 * (1 + 0.1 * random.random())  # so long that few steps carry them through a skin
    return {**parameters, **changed}, {"position": position, "velocity": velocity}


def scattered(random, particles, box, spacing, crowded=False):
    """Positions (particles, 3) on sites `spacing` apart: a lattice, a drop or a gas, on the sites or beside them.
    Where they are to be crowded, a drop in the middle.
    """
    side = (box // spacing).astype(int)
    sites = np.stack(np.unravel_index(np.arange(np.prod(side)), side), axis=-1)
    kind = "drop" if crowded else random.choice(["lattice", "drop", "gas"])
    if kind == "drop":
        away = np.sum((sites - side * (0.5 if crowded else random.choice([0.0, 0.5]))) ** 2, axis=1)
        sites = sites[np.argsort(away, kind="stable")]
    if kind == "gas":
        sites = random.permutation(sites)
    x = sites[:particles] * (box / side)
    x = x + random.choice([0.0, 0.05, 0.1]) * spacing * random.random(x.shape)
    if random.random() < 0.3:
        axis = random.integers(3)
        x[0, axis] = random.choice([0.0, box[axis]])  # on a face
    if particles > 1 and random.random() < 0.3:
        x[-1] = x[0] + (random.uniform(0.7, 0.9), 0, 0)  # a close pair
    return np.clip(x, 0, box)


def part(parameters, state, random):
    """Some particles about a random one, cut out with all that they depend on for one step.

    (parameters, state, {field: (places in the whole, places in the part)}): in that smaller case the fields at these
    places are, after no step and after one, what they are in the whole.
    """
    one = int(random.integers(parameters["boxes"]))
    x, v = state["position"][one], state["velocity"][one]
    centre = x[random.integers(len(x))]
    distance = np.sqrt(np.sum(separation(parameters, centre[:, None], x.T)[:, 0] ** 2, axis=0))
    inner = np.sort(np.argsort(distance)[:8])
    # after a step an inner particle feels others, whose way there their own neighbours decided
    moved = 2 * parameters["dt"] * np.max(np.abs(v)) * 3**0.5
    within = np.flatnonzero(distance <= np.max(distance[inner]) + 2 * (parameters["cutoff"] + moved) + 0.5)
    places = (one, inner), (0, np.searchsorted(within, inner))
    smaller = {**parameters, "boxes": 1, "particles": len(within)}
    return (
        smaller,
        {"position": x[within][None], "velocity": v[within][None]},
        dict.fromkeys(("position", "velocity", "force"), places),
    )


def copies(parameters, fields, times):
    """A periodic box so many `times` (3) along each axis, as one box: (parameters, fields), of the fields given.

    What is right for the one is right for the other. None between walls and of several boxes.
    """
    if parameters["boundary"] != "periodic" or parameters["boxes"] != 1:
        return None
    box, count, particles = np.array(parameters["box"]), int(np.prod(times)), parameters["particles"] * np.prod(times)
    corners = np.stack(np.meshgrid(*[np.arange(n) for n in times], indexing="ij"), axis=-1).reshape(-1, 1, 3) * box
    made = {}
    for name, a in fields.items():
        if name == "position":
            made[name] = (a + corners).reshape(1, -1, 3)
        elif name in ("velocity", "force"):
            made[name] = np.tile(a, (1, count, 1))
        elif name == "pressure":
            made[name] = a
        elif name == "temperature":
            made[name] = a * (max(parameters["particles"] - 1, 1) * count / max(particles - 1, 1))
        else:
            made[name] = a * count
    sides = tuple(float(side * n) for side, n in zip(box, times))
    return {**parameters, "particles": int(particles), "box": sides}, made

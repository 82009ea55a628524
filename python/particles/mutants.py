"""Wrong ports that real porters write, each with the level of the ladder that must kill it.

MUTANTS: name -> Mutant. port(name) is such a port (load, run, state), made of the specification or of the numpy
port by changing one thing. `portbench mutants` runs them all: a level counts because wrong ports die by it.
A mutant changes the modules of its process: one process, one mutant.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from particles import port_numpy, spec

RIGHT = SimpleNamespace(**vars(spec))  # as they were before any change
RIGHT_NUMPY = SimpleNamespace(**vars(port_numpy))


@dataclass(frozen=True)
class Mutant:
    """`level` is the one that must kill it, at the latest; empty for a right port, which must live. `precision`: the
    class as which it is judged.
    """

    level: str
    what: str
    change: Callable[["Port"], None]
    precision: str = "float64"


class Port:
    """The specification as a port; a mutant changes its methods, or the functions that they call."""

    def load(self, parameters, state):
        spec.check_state(parameters, state)
        return {"parameters": parameters, "state": {name: a.copy() for name, a in state.items()}}

    def run(self, simulation, steps):
        simulation["state"] = spec.advance(simulation["parameters"], simulation["state"], steps)

    def state(self, simulation):
        return simulation["state"] | spec.observe(simulation["parameters"], simulation["state"])


MUTANTS = {}


def port(name):
    """A fresh port with this mutation."""
    made = Port()
    MUTANTS[name].change(made)
    return made


def mutant(level, what, precision="float64"):
    """Enter a change under its function's name."""

    def enter(change):
        MUTANTS[change.__name__.strip("_").replace("_", "-")] = Mutant(level, what, change, precision)
        return change

    return enter


def of_numpy(made):
    """Turn the port into the numpy port."""
    made.load, made.run, made.state = port_numpy.load, port_numpy.run, port_numpy.state


# ---------------------------------------------------------------- right ports, which must live


@mutant("", "the specification itself")
def right_specification(made):
    pass


@mutant("", "the numpy port, with its lists")
def right_numpy(made):
    of_numpy(made)


@mutant("", "powers by pow(), another route of rounding")
def right_powers(made):
    def pair_force(r2):
        r = np.sqrt(r2)
        return 48 * (r**-14 - 0.5 * r**-8)

    spec.pair_force = pair_force


@mutant("", "particles in an order of its own")
def right_order(made):
    def forces(parameters, x, add=np.sum):
        order = np.random.default_rng(8).permutation(len(x))
        return RIGHT.forces(parameters, x[order], add)[np.argsort(order)]

    spec.forces = forces


@mutant("", "positions beyond the box within a run, wrapped when saved")
def right_images(made):
    def drift(parameters, x, v):
        if parameters["boundary"] == "walls":
            return RIGHT.drift(parameters, x, v)
        return x + parameters["dt"] * v, v

    def state(simulation):
        parameters, state = simulation["parameters"], simulation["state"]
        still = {**state, "velocity": np.zeros_like(state["velocity"])}
        wrapped = np.array([RIGHT.drift(parameters, x, v)[0] for x, v in zip(still["position"], still["velocity"])])
        return {**state, "position": wrapped} | spec.observe(parameters, state)

    spec.drift, made.state = drift, state


# ---------------------------------------------------------------- constants


def scaled(sigma=1.0, epsilon=1.0):
    spec.pair_force = lambda r2: epsilon * RIGHT.pair_force(r2 / sigma**2) / sigma**2
    spec.pair_potential = lambda r2: epsilon * RIGHT.pair_potential(r2 / sigma**2)


@mutant("A2", "sigma is 1 + 1e-10")
def sigma_1e_10(made):
    scaled(sigma=1 + 1e-10)


@mutant("A2", "sigma is 1.01")
def sigma_1e_2(made):
    scaled(sigma=1.01)


@mutant("A2", "epsilon is 1 + 1e-10")
def epsilon_1e_10(made):
    scaled(epsilon=1 + 1e-10)


@mutant("A2", "epsilon is 1 + 1e-4")
def epsilon_1e_4(made):
    scaled(epsilon=1 + 1e-4)


def cut_at(factor):
    spec.pairs = lambda parameters, x: RIGHT.pairs({**parameters, "cutoff": parameters["cutoff"] * factor}, x)


@mutant("A2", "the cutoff is 1e-9 too short")
def cutoff_1e_9(made):
    cut_at(1 - 1e-9)


@mutant("A2", "the cutoff is 1e-2 too long")
def cutoff_1e_2(made):
    cut_at(1.01)


@mutant("A2", "a pair exactly at the cutoff interacts")
def cutoff_inclusive(made):
    cut_at(1 + np.finfo(float).eps)


@mutant("A3", "dt is 1e-9 too long")
def dt_1e_9(made):
    longer_step(1 + 1e-9)


@mutant("A3", "dt is 1 % too short")
def dt_1e_2(made):
    longer_step(0.99)


def longer_step(factor):
    spec.advance = lambda parameters, state, steps: RIGHT.advance(
        {**parameters, "dt": parameters["dt"] * factor}, state, steps
    )


# ---------------------------------------------------------------- signs and factors


@mutant("A2", "forces pull where they should push")
def force_sign(made):
    spec.pair_force = lambda r2: -RIGHT.pair_force(r2)


@mutant("A2", "forces are half as large: each pair once, and for one particle")
def force_half(made):
    spec.pair_force = lambda r2: 0.5 * RIGHT.pair_force(r2)


@mutant("A2", "24 (s12 - s6) instead of 24 (2 s12 - s6)")
def force_without_the_2(made):
    def pair_force(r2):
        s6 = 1 / r2**3
        return 24 * (s6 * s6 - s6) / r2

    spec.pair_force = pair_force


def observed(change):
    """Change the derived fields, and nothing else."""

    def observe(parameters, state, add=np.sum):
        seen = RIGHT.observe(parameters, state, add)
        change(parameters, state, seen)
        return seen

    spec.observe = observe


@mutant("A2", "the energy of pairs is halved once too often")
def energy_half(made):
    observed(lambda p, s, seen: seen.update(potential_energy=seen["potential_energy"] / 2))


@mutant("A2", "the virial is halved once too often")
def virial_half(made):
    observed(lambda p, s, seen: seen.update(virial=seen["virial"] / 2))


@mutant("A2", "the virial has the other sign")
def virial_sign(made):
    observed(lambda p, s, seen: seen.update(virial=-seen["virial"]))


@mutant("A2", "the energy is not shifted at the cutoff")
def energy_not_shifted(made):
    def change(parameters, state, seen):
        shift = RIGHT.pair_potential(parameters["cutoff"] ** 2)
        for k, x in enumerate(state["position"]):
            seen["potential_energy"][k] += 0.5 * shift * sum(near.sum() for *_, near in RIGHT.pairs(parameters, x))

    observed(change)


@mutant("A2", "the temperature counts 3 N degrees of freedom in a periodic box")
def temperature_of_3n(made):
    def change(parameters, state, seen):
        seen["temperature"] = 2 * seen["kinetic_energy"] / (3 * parameters["particles"])

    observed(change)


@mutant("A2", "the pressure lacks its kinetic part")
def pressure_without_motion(made):
    def change(parameters, state, seen):
        seen["pressure"] = seen["virial"] / (3 * np.prod(parameters["box"]))

    observed(change)


@mutant("A2", "kinetic and potential energy change places")
def energies_swapped(made):
    def change(parameters, state, seen):
        seen["kinetic_energy"], seen["potential_energy"] = seen["potential_energy"], seen["kinetic_energy"]

    observed(change)


@mutant("A2", "the components of the force are in column order")
def force_transposed(made):
    def change(parameters, state, seen):
        force = seen["force"]
        seen["force"] = np.stack([f.ravel(order="F").reshape(f.shape) for f in force])

    observed(change)


@mutant("A3", "what is observed is that of one step ago")
def observables_stale(made):
    def load(parameters, state):
        simulation = Port.load(made, parameters, state)
        return {**simulation, "seen": spec.observe(parameters, state)}

    def run(simulation, steps):
        if steps > 1:
            Port.run(made, simulation, steps - 1)
        simulation["seen"] = spec.observe(simulation["parameters"], simulation["state"])
        if steps:
            Port.run(made, simulation, 1)

    made.load, made.run = load, run
    made.state = lambda simulation: simulation["state"] | simulation["seen"]


# ---------------------------------------------------------------- pairs that are missed


def no_images(count):
    """Pairs across `count` or more faces at once are not seen."""

    def separation(parameters, a, b):
        plain = a[:, :, None] - b[:, None, :]
        d = RIGHT.separation(parameters, a, b)
        across = np.sum(np.abs(d - plain) > 1e-9, axis=0) >= count
        return np.where(across, plain, d)

    spec.separation = separation


@mutant("A2", "no pair is seen across a face of the box")
def pairs_across_faces(made):
    no_images(1)


@mutant("A2", "no pair is seen across an edge of the box")
def pairs_across_edges(made):
    no_images(2)


@mutant("A2", "no pair is seen across a corner of the box")
def pairs_across_corners(made):
    no_images(3)


@mutant("A2", "walls are treated as periodic when pairs are sought")
def pairs_through_walls(made):
    spec.separation = lambda parameters, a, b: RIGHT.separation({**parameters, "boundary": "periodic"}, a, b)


@mutant("A2", "the minimum image is taken with the first side of the box for all three")
def box_is_a_cube(made):
    def separation(parameters, a, b):
        return RIGHT.separation({**parameters, "box": (parameters["box"][0],) * 3}, a, b)

    spec.separation = separation


def forces_changed(change):
    """Change the forces on the particles of one box."""

    def forces(parameters, x, add=np.sum):
        force = RIGHT.forces(parameters, x, add)
        change(force, parameters, x)
        return force

    spec.forces = forces


@mutant("A2", "the loop over particles ends one too early")
def last_particle(made):
    def change(force, parameters, x):
        force[-1] = 0

    forces_changed(change)


@mutant("A2", "the remainder of a SIMD loop of 4 is left out")
def simd_remainder(made):
    def change(force, parameters, x):
        force[len(x) - len(x) % 4 :] = 0

    forces_changed(change)


@mutant("A2", "particle 1 feels nothing from particle 0, but not the other way round")
def newton_for_one(made):
    def change(force, parameters, x):
        if len(x) < 2:
            return
        d = RIGHT.separation(parameters, x[1:2].T, x[:1].T)[:, 0, 0]
        if d @ d < parameters["cutoff"] ** 2:
            force[1] -= RIGHT.pair_force(d @ d) * d

    forces_changed(change)


@mutant("A2", "each cell knows 26 neighbours but not itself: no pairs closer than 0.9")
def close_pairs(made):
    spec.pair_force = lambda r2: np.where(r2 < 0.81, 0.0, RIGHT.pair_force(r2))


# ---------------------------------------------------------------- stale lists


@mutant("A4", "the skin of the neighbour list is 0.02 in the list and 0.4 in the test")
def skin_too_small(made):
    of_numpy(made)

    def list_neighbours(system):
        wide, system.skin = system.skin, 0.02
        RIGHT_NUMPY.list_neighbours(system)
        system.skin = wide

    port_numpy.list_neighbours = list_neighbours


@mutant("A4", "the displacement test allows a whole skin instead of half")
def displacement_test(made):
    of_numpy(made)

    def moved_too_far(system):
        moved = system.x - system.listed
        return np.max(np.sum(moved * moved, axis=0), initial=0.0) > (2 * system.skin) ** 2

    port_numpy.moved_too_far = moved_too_far


@mutant("A4", "the neighbour list is never renewed within a run")
def list_never_renewed(made):
    of_numpy(made)
    port_numpy.moved_too_far = lambda system: False


@mutant("A4", "the neighbour list is renewed every 50 steps, whatever moves")
def list_by_count(made):
    of_numpy(made)

    def moved_too_far(system):
        system.count = getattr(system, "count", 0) + 1
        return system.count % 50 == 0

    port_numpy.moved_too_far = moved_too_far


@mutant("A3", "positions are not wrapped")
def wrap_forgotten(made):
    def drift(parameters, x, v):
        if parameters["boundary"] == "walls":
            return RIGHT.drift(parameters, x, v)
        return x + parameters["dt"] * v, v

    spec.drift = drift


# ---------------------------------------------------------------- the integrator


def integrated(step):
    """Another way to take a step: step(parameters, x, v) -> x, v."""

    def advance(parameters, state, steps):
        boxes = []
        for x, v in zip(state["position"], state["velocity"]):
            for _ in range(steps):
                x, v = step(parameters, x, v)
            boxes.append((x, v))
        return {"position": np.array([x for x, _ in boxes]), "velocity": np.array([v for _, v in boxes])}

    spec.advance = advance


@mutant("A3", "the second half kick is missing")
def half_kick_missing(made):
    def step(parameters, x, v):
        v = v + 0.5 * parameters["dt"] * spec.forces(parameters, x)
        return spec.drift(parameters, x, v)

    integrated(step)


@mutant("A3", "symplectic Euler instead of velocity Verlet")
def symplectic_euler(made):
    def step(parameters, x, v):
        v = v + parameters["dt"] * spec.forces(parameters, x)
        return spec.drift(parameters, x, v)

    integrated(step)


@mutant("A3", "explicit Euler instead of velocity Verlet")
def explicit_euler(made):
    def step(parameters, x, v):
        f = spec.forces(parameters, x)
        x, v = spec.drift(parameters, x, v)
        return x, v + parameters["dt"] * f

    integrated(step)


@mutant("A3", "both half kicks use the force before the step")
def old_force(made):
    def step(parameters, x, v):
        f = spec.forces(parameters, x)
        x, v = spec.drift(parameters, x, v + 0.5 * parameters["dt"] * f)
        return x, v + 0.5 * parameters["dt"] * f

    integrated(step)


@mutant("A3", "run n takes n + 1 steps where n is above 1, and n otherwise")
def one_step_too_many(made):
    made.run = lambda simulation, steps: Port.run(made, simulation, steps + (steps > 1))


@mutant("A3", "walls turn the position and leave the velocity")
def walls_keep_velocity(made):
    spec.drift = lambda parameters, x, v: (RIGHT.drift(parameters, x, v)[0], v)


@mutant("A3", "walls turn the velocity of all three components")
def walls_turn_all(made):
    def drift(parameters, x, v):
        x, w = RIGHT.drift(parameters, x, v)
        return x, np.where(np.any(w != v, axis=1, keepdims=True), -v, v)

    spec.drift = drift


@mutant("A3", "walls reflect once in a step")
def walls_once(made):
    def drift(parameters, x, v):
        if parameters["boundary"] == "periodic":
            return RIGHT.drift(parameters, x, v)
        box = np.array(parameters["box"])
        x = x + parameters["dt"] * v
        low, high = x < 0, x > box
        return np.where(low, -x, np.where(high, 2 * box - x, x)), np.where(low | high, -v, v)

    spec.drift = drift


@mutant("A4", "velocities are scaled back to the temperature every 100 steps")
def thermostat(made):
    def run(simulation, steps):
        for _ in range(steps):
            Port.run(made, simulation, 1)
            simulation["steps"] = simulation.get("steps", 0) + 1
            if simulation["steps"] % 100 == 0:
                simulation["state"]["velocity"] *= 1 + 1e-9

    made.run = run


@mutant("A6", "after 1500 steps of a run it exchanges the x velocities of two particles now and then")
def late_collisions(made):
    """Energy and momentum are kept to the last bit; only averages over long runs, such as diffusion, change."""
    random = np.random.default_rng(3)

    def run(simulation, steps):
        for _ in range(steps):
            Port.run(made, simulation, 1)
            simulation["steps"] = simulation.get("steps", 0) + 1
            if simulation["steps"] > 1500 and simulation["steps"] % 4 == 0:
                velocity = simulation["state"]["velocity"][0]
                a, b = random.choice(len(velocity), 2, replace=False)
                velocity[[a, b], 0] = velocity[[b, a], 0]

    made.run = run


# ---------------------------------------------------------------- precision


@mutant("A2", "forces of pairs are computed in float32")
def float32_forces(made):
    spec.pair_force = lambda r2: RIGHT.pair_force(r2.astype(np.float32)).astype(float)


@mutant("A2", "forces are summed in float32")
def float32_sums(made):
    def forces(parameters, x, add=np.sum):
        return RIGHT.forces(parameters, x, lambda terms, axis: np.sum(terms.astype(np.float32), axis=axis))

    spec.forces = forces


@mutant("A0", "the input is stored in float32")
def float32_input(made):
    made.load = lambda parameters, state: Port.load(
        made, parameters, {name: a.astype(np.float32).astype(float) for name, a in state.items()}
    )


@mutant("A2", "the input is used in float32, and handed back as it was")
def float32_input_hidden(made):
    spec.forces = lambda parameters, x, add=np.sum: RIGHT.forces(parameters, x.astype(np.float32).astype(float), add)


@mutant("A3", "velocities are kept in float32 between steps")
def float32_velocity(made):
    def run(simulation, steps):
        for _ in range(steps):
            Port.run(made, simulation, 1)
            velocity = simulation["state"]["velocity"]
            simulation["state"]["velocity"] = velocity.astype(np.float32).astype(float)

    made.run = run


# ---------------------------------------------------------------- races and memory


@mutant("A4", "one update of a pair in ten thousand is lost")
def lost_update(made):
    count = [0]

    def pair_force(r2):
        f = RIGHT.pair_force(r2)
        numbers = count[0] + np.arange(f.size)
        count[0] += f.size
        return np.where(numbers % 10_000 == 9_999, 0.0, f)

    spec.pair_force = pair_force


@mutant("A4", "one update of a pair in ten thousand is lost, another one each time")
def race(made):
    random = np.random.default_rng(int.from_bytes(os.urandom(8), "little"))

    def pair_force(r2):
        return RIGHT.pair_force(r2) * (random.random(r2.shape) >= 1e-4)

    spec.pair_force = pair_force


@mutant("A4", "at step 137 of a run one particle loses a thousand-millionth of its velocity")
def lost_once(made):
    def run(simulation, steps):
        for _ in range(steps):
            Port.run(made, simulation, 1)
            simulation["steps"] = simulation.get("steps", 0) + 1
            if simulation["steps"] == 137:
                velocity = simulation["state"]["velocity"]
                velocity[0, velocity.shape[1] // 2] *= 1 - 1e-9

    made.run = run


@mutant("A2", "the force is added to memory that was not set to zero")
def uninitialised(made):
    rest = [0.0]

    def change(force, parameters, x):
        force += rest[0]
        rest[0] = 1e-9 * float(force[0, 0])

    forces_changed(change)


@mutant("A2", "NaN for one particle")
def nan_for_one(made):
    def change(force, parameters, x):
        force[len(x) // 2, 1] = np.nan

    forces_changed(change)


# ---------------------------------------------------------------- ports that do not listen


@mutant("A5", "the time step of the parameters is ignored, and 0.005 is used")
def dt_of_the_default(made):
    spec.advance = lambda parameters, state, steps: RIGHT.advance({**parameters, "dt": 0.005}, state, steps)


@mutant("A2", "the cutoff of the parameters is ignored, and 2.5 is used")
def cutoff_of_the_default(made):
    spec.pairs = lambda parameters, x: RIGHT.pairs({**parameters, "cutoff": 2.5}, x)


@mutant("A3", "the boundary of the parameters is ignored: always periodic")
def boundary_of_the_default(made):
    spec.drift = lambda parameters, x, v: RIGHT.drift({**parameters, "boundary": "periodic"}, x, v)


@mutant("A2", "the parameters of the first load are used for all")
def first_parameters(made):
    first = []

    def load(parameters, state):
        first.append(parameters)
        keep = {name: first[0][name] for name in ("cutoff", "dt")}
        simulation = Port.load(made, parameters, state)
        return {**simulation, "parameters": {**parameters, **keep}}

    made.load = load


@mutant("A2", "a second load of the same size keeps the first state")
def first_state(made):
    first = {}

    def load(parameters, state):
        simulation = Port.load(made, parameters, state)
        kept = first.setdefault(state["position"].shape, simulation["state"])
        return {**simulation, "state": {name: a.copy() for name, a in kept.items()}}

    made.load = load


@mutant("A2", "answers are replayed from a table that was made from the first case")
def replayed(made):
    table = {}

    def run(simulation, steps):
        simulation["steps"] = simulation.get("steps", 0) + steps
        key = simulation["state"]["position"].shape, simulation["steps"]
        if key not in table:
            Port.run(made, simulation, steps)
            table[key] = simulation["state"] | spec.observe(simulation["parameters"], simulation["state"])
        simulation["state"] = {name: table[key][name] for name in spec.STATE}
        simulation["seen"] = table[key]

    made.run = run
    made.state = lambda simulation: simulation.get("seen") or Port.state(made, simulation)


@mutant("A0", "it does nothing, and gives back what it was given")
def null(made):
    made.run = lambda simulation, steps: None


@mutant("A0", "its answers are those of one box, whatever it is given")
def canned(made):
    parameters = spec.parameters(**spec.CASES["tiny"])
    canned = spec.initial_state(parameters)
    made.load = lambda given, state: Port.load(made, parameters, canned)


from particles import mutants_late  # noqa: E402, F401 - enters its own into the catalogue

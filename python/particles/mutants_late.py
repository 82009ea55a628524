"""Wrong ports that answer rightly from a fresh load of a small state, and go wrong later, elsewhere or otherwise.

After some order of commands, after many steps, in boxes of another size or shape, with parameters that no named case
has, or in what they say of their time. Entered into the catalogue of particles.mutants, which explains the rest.
"""

import time

import numpy as np

from particles import port_numpy, spec
from particles.mutants import RIGHT, RIGHT_NUMPY, Port, mutant, of_numpy

# ---------------------------------------------------------------- right ports, which must live


@mutant("", "velocities are kept as v dt, and come back to the last bit but one")
def right_v_dt(made):
    def load(parameters, state):
        simulation = Port.load(made, parameters, state)
        return {**simulation, "step": simulation["state"].pop("velocity") * parameters["dt"]}

    def whole(simulation):
        return {**simulation["state"], "velocity": simulation["step"] / simulation["parameters"]["dt"]}

    def run(simulation, steps):
        parameters, dt = simulation["parameters"], simulation["parameters"]["dt"]
        for _ in range(steps):
            now = spec.advance(parameters, whole(simulation), 1)
            simulation["step"], simulation["state"] = now.pop("velocity") * dt, now

    made.load, made.run = load, run
    made.state = lambda simulation: whole(simulation) | spec.observe(simulation["parameters"], whole(simulation))


@mutant("", "leapfrog: velocities are kept half a step on")
def right_leapfrog(made):
    def load(parameters, state):
        simulation = Port.load(made, parameters, state)
        kick(simulation, 1)
        return simulation

    def kick(simulation, sign):
        p, state = simulation["parameters"], simulation["state"]
        force = np.array([spec.forces(p, x) for x in state["position"]])
        state["velocity"] = state["velocity"] + sign * 0.5 * p["dt"] * force

    def run(simulation, steps):
        p, state = simulation["parameters"], simulation["state"]
        for _ in range(steps):
            moved = [spec.drift(p, x, v) for x, v in zip(state["position"], state["velocity"])]
            state["position"], state["velocity"] = (np.array(a) for a in zip(*moved))
            force = np.array([spec.forces(p, x) for x in state["position"]])
            state["velocity"] = state["velocity"] + p["dt"] * force

    def state(simulation):
        now = {**simulation, "state": dict(simulation["state"])}
        kick(now, -1)
        return now["state"] | spec.observe(now["parameters"], now["state"])

    made.load, made.run, made.state = load, run, state


@mutant("", "Stoermer's form: the positions of two steps, and velocities from their difference", "epsilon 1e-10")
def right_stoermer(made):
    def load(parameters, state):
        simulation = Port.load(made, parameters, state)
        x, v = simulation["state"].values()
        dt, f = parameters["dt"], forces(parameters, x)
        return {"parameters": parameters, "now": x, "before": x - v * dt + 0.5 * dt**2 * f}

    def forces(parameters, every):
        return np.array([spec.forces(parameters, x) for x in every])

    def run(simulation, steps):
        p, box = simulation["parameters"], np.array(simulation["parameters"]["box"])
        for _ in range(steps):
            now, before = simulation["now"], simulation["before"]
            after = 2 * now - before + p["dt"] ** 2 * forces(p, now)
            if not np.all(np.abs(after) < 100 * box):
                raise ValueError("a particle crossed the box many times in one step: the time step is too long")
            if p["boundary"] == "periodic":
                boxes = box * np.floor(after / box)
                after, now = after - boxes, now - boxes
                after, now = np.where(after < 0, 0.0, after), np.where(after >= box, now - box, now)
                after = np.where(after >= box, 0.0, after)
            while np.any((after < 0) | (after > box)):
                for wall in (after < 0, 0.0), (after > box, box):
                    after, now = (np.where(wall[0], 2 * wall[1] - a, a) for a in (after, now))
            simulation |= {"now": after, "before": now}

    def state(simulation):
        p, x = simulation["parameters"], simulation["now"]
        v = (x - simulation["before"]) / p["dt"] + 0.5 * p["dt"] * forces(p, x)
        now = {"position": x, "velocity": v}
        return now | spec.observe(p, now)

    made.load, made.run, made.state = load, run, state


@mutant("", "sums in fixed point, of forty binary places", "epsilon 1e-12")
def right_fixed_point(made):
    def fixed(terms, axis):
        return np.sum(np.rint(terms * 2.0**40), axis=axis) / 2.0**40

    def run(simulation, steps):
        simulation["state"] = spec.advance(simulation["parameters"], simulation["state"], steps, fixed)

    made.run = run
    made.state = lambda simulation: (
        simulation["state"] | spec.observe(simulation["parameters"], simulation["state"], fixed)
    )


# ---------------------------------------------------------------- lists that grow old


def listed_anew(test):
    """The numpy port with another test of whether its list is too old."""

    def change(made):
        of_numpy(made)
        port_numpy.moved_too_far = test

    return change


@mutant("A3", "the neighbour list is renewed every ten steps, whatever moves")
def list_every_ten(made):
    def test(system):
        system.count = getattr(system, "count", 0) + 1
        return system.count % 10 == 0

    listed_anew(test)(made)


@mutant("A3", "the displacement test looks at the largest component instead of the length")
def largest_component(made):
    listed_anew(lambda s: np.max(np.abs(s.x - s.listed), initial=0.0) > 0.5 * s.skin)(made)


@mutant("A3", "the displacement test looks at every fourth particle")
def every_fourth(made):
    def test(system):
        moved = (system.x - system.listed)[:, ::4]
        return np.max(np.sum(moved * moved, axis=0), initial=0.0) > (0.5 * system.skin) ** 2

    listed_anew(test)(made)


@mutant("A3", "the displacement test leaves out particles that have left the box")
def blind_to_wrapped(made):
    def test(system):
        moved = system.x - system.listed
        inside = np.all((system.x >= 0) & (system.x < system.box), axis=0)
        return np.max(np.sum(moved * moved, axis=0)[inside], initial=0.0) > (0.5 * system.skin) ** 2

    listed_anew(test)(made)


@mutant("A3", "the displacement test allows three quarters of the skin")
def three_quarters(made):
    def test(system):
        moved = system.x - system.listed
        return np.max(np.sum(moved * moved, axis=0), initial=0.0) > (0.75 * system.skin) ** 2

    listed_anew(test)(made)


@mutant("A3", "a list is kept over a load of as many particles")
def list_kept_over_load(made):
    of_numpy(made)
    kept = {}

    def list_neighbours(system):
        key = system.x.shape[1]
        if key in kept and not hasattr(system, "pairs"):
            system.pairs, system.listed = kept[key], system.x.copy()
            return
        RIGHT_NUMPY.list_neighbours(system)
        kept[key] = system.pairs

    port_numpy.list_neighbours = list_neighbours


# ---------------------------------------------------------------- room that is not enough


def pairs_kept(keep):
    """The numpy port with some of the pairs of its list left out."""

    def change(made):
        of_numpy(made)

        def list_neighbours(system):
            RIGHT_NUMPY.list_neighbours(system)
            system.pairs = system.pairs[:, keep(system, *system.pairs)]

        port_numpy.list_neighbours = list_neighbours

    return change


def ordinal(of):
    """The how-manieth each is among those of its value before it."""
    order = np.argsort(of, kind="stable")
    first = np.searchsorted(of[order], of[order])
    rank = np.empty(len(of), int)
    rank[order] = np.arange(len(of)) - first
    return rank


@mutant("A3", "there is room for 128 neighbours of a particle, and the rest are dropped without a word")
def room_for_128(made):
    def keep(system, i, j):
        both = ordinal(np.concatenate([i, j]))
        return (both[: len(i)] < 128) & (both[len(i) :] < 128)

    pairs_kept(keep)(made)


@mutant("A3", "there is room for 64 particles in a cell as wide as the reach, and the rest are dropped")
def room_for_64_in_a_cell(made):
    def keep(system, i, j):
        reach = system.cutoff + system.skin
        cells = np.maximum(1, (system.box[:, 0] // reach)).astype(int)
        x = RIGHT_NUMPY.wrap(system, system.x)
        place = np.minimum((x / system.box * cells[:, None]).astype(int), cells[:, None] - 1)
        fits = ordinal(np.ravel_multi_index(place, cells)) < 64
        return fits[i] & fits[j]

    pairs_kept(keep)(made)


@mutant("A3", "17 cells along a side are too many: pairs across the last face of the box are lost")
def seventeen_cells(made):
    def keep(system, i, j):
        if not system.periodic or np.max(system.box[:, 0] / (system.cutoff + system.skin)) < 17:
            return np.ones(len(i), bool)
        axis = int(np.argmax(system.box[:, 0]))
        return np.abs(system.x[axis, i] - system.x[axis, j]) < 0.5 * system.box[axis, 0]

    pairs_kept(keep)(made)


@mutant("A3", "cells are numbered for a cube: in other boxes some pairs are lost")
def cells_of_a_cube(made):
    def keep(system, i, j):
        sides = system.box[:, 0]
        cells = np.maximum(1, (sides // (system.cutoff + system.skin))).astype(int)
        if np.prod(cells) < 27 or len(set(cells)) == 1:
            return np.ones(len(i), bool)
        lost = np.prod(cells) - cells.min() ** 3  # cells beyond those of the smaller cube
        x = RIGHT_NUMPY.wrap(system, system.x)
        place = np.minimum((x / system.box * cells[:, None]).astype(int), cells[:, None] - 1)
        cell = np.ravel_multi_index(place, cells)
        return (cell[i] < np.prod(cells) - lost) | (cell[j] < np.prod(cells) - lost) | (cell[i] == cell[j])

    pairs_kept(keep)(made)


# ---------------------------------------------------------------- other sizes


def forces_where(condition, change):
    """The specification with other forces where condition(parameters, x)."""

    def forces(parameters, x, add=np.sum):
        force = RIGHT.forces(parameters, x, add)
        return change(force) if condition(parameters, x) else force

    spec.forces = forces


@mutant("A3", "float32 from 2,000 particles on")
def float32_when_large(made):
    of_numpy(made)

    def forces(system):
        force = RIGHT_NUMPY.forces(system)
        return force.astype(np.float32).astype(float) if system.x.shape[1] >= 2000 else force

    port_numpy.forces = forces


@mutant("A3", "from 1,500 particles on another code, with a cutoff that is 1 % too short")
def another_code_when_large(made):
    of_numpy(made)

    def forces(system):
        if system.x.shape[1] < 1500:
            return RIGHT_NUMPY.forces(system)
        right, system.cutoff = system.cutoff, system.cutoff * (1 - 1e-2)
        force = RIGHT_NUMPY.forces(system)
        system.cutoff = right
        return force

    port_numpy.forces = forces


@mutant("A3", "the remainder of a loop in blocks of 8 is lost where it is 5")
def remainder_of_five(made):
    def change(force):
        force[-5:] = 0
        return force

    forces_where(lambda p, x: len(x) % 8 == 5, change)


@mutant("A3", "forces above 200 are cut off, so that nothing explodes")
def forces_capped(made):
    forces_where(lambda p, x: True, lambda force: np.clip(force, -200, 200))


@mutant("A3", "velocities above 12 are cut off, so that nothing explodes")
def velocities_capped(made):
    def drift(parameters, x, v):
        return RIGHT.drift(parameters, x, np.clip(v, -12, 12))

    spec.drift = drift


@mutant("A3", "on a perfect lattice the forces are taken for zero, as symmetry says, and those at the walls with them")
def lattice_is_at_rest(made):
    def evenly(p, x):
        r = np.sqrt(np.min(np.where(near := np.sum(RIGHT.separation(p, x.T, x.T) ** 2, axis=0), near, np.inf), axis=1))
        return len(x) > 1 and np.ptp(r) < 1e-9 * r[0]

    forces_where(evenly, lambda force: 0 * force)


# ---------------------------------------------------------------- several boxes


@mutant("A3", "boxes are advanced in pairs, and the last of an odd number is left behind")
def boxes_in_pairs(made):
    def run(simulation, steps):
        before = simulation["state"]
        Port.run(made, simulation, steps)
        boxes = simulation["parameters"]["boxes"]
        if boxes > 1 and boxes % 2:
            for name, a in simulation["state"].items():
                a[-1] = before[name][-1]

    made.run = run


@mutant("A3", "all boxes get new lists when the first one needs it")
def boxes_renewed_with_the_first(made):
    of_numpy(made)

    def run(systems, steps):
        first = systems[0]
        for _ in range(steps):
            anew = []

            def test(system, anew=anew):
                if system is first:
                    anew.append(RIGHT_NUMPY.moved_too_far(system))
                return anew[0]

            port_numpy.moved_too_far = test
            for system in systems:
                port_numpy.advance(system, 1)
                port_numpy.check_forces(system.force)

    made.run = run


@mutant("A3", "the fourth and later boxes are copies of the third from the first step on")
def three_boxes(made):
    def run(simulation, steps):
        if steps:
            for name, a in simulation["state"].items():
                simulation["state"][name] = np.concatenate([a[:3], np.repeat(a[2:3], max(0, len(a) - 3), axis=0)])
        Port.run(made, simulation, steps)

    made.run = run


# ---------------------------------------------------------------- many steps, and orders of commands


def counted(change):
    """The specification step by step: change(simulation, number of this step since the load)."""

    def put(made):
        def run(simulation, steps):
            for _ in range(steps):
                Port.run(made, simulation, 1)
                simulation["steps"] = simulation.get("steps", 0) + 1
                change(simulation, simulation["steps"])

        made.run = run

    return put


@mutant("A3", "the motion of the centre of mass is removed every 100 steps")
def centre_of_mass_removed(made):
    def change(simulation, number):
        if number % 100 == 0:
            velocity = simulation["state"]["velocity"]
            velocity -= velocity.mean(axis=1, keepdims=True)

    counted(change)(made)


@mutant("A3", "NaN after 1,000 steps")
def nan_after_1000(made):
    def change(simulation, number):
        if number == 1000:
            simulation["state"]["velocity"][0, 0, 0] = np.nan

    counted(change)(made)


@mutant("A3", "after 900 steps of a load the time step is 1e-6 longer")
def longer_after_900(made):
    def run(simulation, steps):
        for _ in range(steps):
            simulation["steps"] = simulation.get("steps", 0) + 1
            if simulation["steps"] == 900:
                p = simulation["parameters"]
                simulation["parameters"] = {**p, "dt": p["dt"] * (1 + 1e-6)}
            Port.run(made, simulation, 1)

    made.run = run


@mutant("A3", "the number of steps is kept in a byte")
def steps_in_a_byte(made):
    made.run = lambda simulation, steps: Port.run(made, simulation, steps % 256)


@mutant("A3", "a run is made in chunks of 128 steps, and the rest is lost where it is not the first")
def chunks_of_128(made):
    made.run = lambda simulation, steps: Port.run(made, simulation, steps if steps < 128 else steps // 128 * 128)


@mutant("A3", "`run 0` sets up anew, from what was loaded")
def run_0_sets_up(made):
    def load(parameters, state):
        simulation = Port.load(made, parameters, state)
        return simulation | {"given": {name: a.copy() for name, a in state.items()}}

    def run(simulation, steps):
        if steps == 0:
            simulation["state"] = {name: a.copy() for name, a in simulation["given"].items()}
        Port.run(made, simulation, steps)

    made.load, made.run = load, run


@mutant("A3", "a run is committed only when it is saved: of two runs without a save between, the first is lost")
def committed_at_save(made):
    def run(simulation, steps):
        simulation["pending"] = spec.advance(simulation["parameters"], simulation["state"], steps)

    def state(simulation):
        simulation["state"] = simulation.pop("pending", simulation["state"])
        return Port.state(made, simulation)

    made.run, made.state = run, state


@mutant("A3", "a second run without a save between begins with the forces of the load")
def forces_of_the_load(made):
    def load(parameters, state):
        simulation = Port.load(made, parameters, state)
        return simulation | {"force": np.array([spec.forces(parameters, x) for x in state["position"]])}

    def run(simulation, steps):
        p, state = simulation["parameters"], simulation["state"]
        if simulation.get("ran") and steps:
            off = simulation["force"] - np.array([spec.forces(p, x) for x in state["position"]])
            state["velocity"] = state["velocity"] + 0.5 * p["dt"] * off
        simulation["ran"] = True
        Port.run(made, simulation, steps)

    def state(simulation):
        simulation["ran"] = False
        return Port.state(made, simulation)

    made.load, made.run, made.state = load, run, state


@mutant("A3", "a refused load has already changed the cutoff and the time step")
def refused_load_changes_parameters(made):
    known = {}

    def load(parameters, state):
        known.update(cutoff=parameters["cutoff"], dt=parameters["dt"])
        return Port.load(made, parameters, state)

    def run(simulation, steps):
        simulation["parameters"] = {**simulation["parameters"], **known}
        Port.run(made, simulation, steps)

    made.load, made.run = load, run


@mutant("A3", "a refused load has already cleared the forces")
def refused_load_clears_forces(made):
    of_numpy(made)
    current = []

    def load(parameters, state):
        for system in current:
            system.force = 0 * system.force
        current[:] = RIGHT_NUMPY.load(parameters, state)
        return list(current)

    made.load = load


@mutant("A3", "the arrays that were lent are kept instead of copied")
def lent_arrays_kept(made):
    made.load = lambda parameters, state: {"parameters": parameters, "state": dict(state)}


# ---------------------------------------------------------------- parameters


@mutant("A3", "cutoffs and time steps are those of the nearest named case")
def known_parameters_only(made):
    def load(parameters, state):
        nearest = {
            "cutoff": min((1.0, 2.0, 2.5, 4.0), key=lambda c: abs(c - parameters["cutoff"])),
            "dt": min((0.00125, 0.0025, 0.005), key=lambda dt: abs(dt - parameters["dt"])),
        }
        simulation = Port.load(made, parameters, state)
        return {**simulation, "parameters": {**parameters, **nearest}}

    made.load = load


@mutant("A3", "velocities in observables are those beside the flow")
def thermal_only(made):
    def observe(parameters, state, add=np.sum):
        v = state["velocity"]
        flow = v.mean(axis=1, keepdims=True) if np.abs(v.mean(axis=1)).max() > 0.5 else 0.0
        return RIGHT.observe(parameters, {**state, "velocity": v - flow}, add) | {"momentum": v.sum(axis=1)}

    spec.observe = observe


# ---------------------------------------------------------------- time


@mutant("A0", "a run only counts its steps: they are made when it is saved")
def work_at_save(made):
    def run(simulation, steps):
        simulation["owed"] = simulation.get("owed", 0) + steps

    def state(simulation):
        Port.run(made, simulation, simulation.pop("owed", 0))
        return Port.state(made, simulation)

    made.run, made.state = run, state


@mutant("A0", "a load makes 300 steps beforehand, and a run looks them up")
def work_at_load(made):
    def load(parameters, state):
        simulation = Port.load(made, parameters, state)
        ahead = [simulation["state"]]
        try:
            for _ in range(300):
                ahead.append(spec.advance(parameters, ahead[-1], 1))
        except ValueError:
            pass
        return simulation | {"ahead": ahead}

    def run(simulation, steps):
        ahead = simulation["ahead"]
        if steps < len(ahead):
            del ahead[:steps]
        else:
            last = spec.advance(simulation["parameters"], ahead[-1], steps - len(ahead) + 1)
            ahead[:] = [last]
        simulation["state"] = ahead[0]

    made.load, made.run = load, run


@mutant("A0", "the clock stands still while forces are found")
def clock_stands_still(made):
    lost = [0]
    right = time.perf_counter_ns
    time.perf_counter_ns = lambda: right() - lost[0]

    def forces(parameters, x, add=np.sum):
        begin = right()
        force = RIGHT.forces(parameters, x, add)
        lost[0] += right() - begin
        return force

    spec.forces = forces

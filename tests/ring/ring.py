"""A ring of springs: a small specification with all that random questions need.

    u_tt = stiffness (left + right - 2 here) - bend u^3       displacement u of points on a ring

Time advances by velocity Verlet. The points of a longer ring that repeat those of a shorter one move as these do.
"""

import numpy as np

NAME = "a ring of springs"
STATE = {"u": {"shape": ("points",), "scale": 1.0}, "v": {"shape": ("points",), "scale": 1.0}}
DERIVED = {"force": {"shape": ("points",)}, "energy": {"shape": ()}}
WORK = ("points",)
CASES = {"short": {}, "long": {"points": 2000}}
FARTHEST = 1000.0


def parameters(*, points=24, stiffness=1.3, dt=0.05, bend=1):
    return {"points": points, "stiffness": stiffness, "dt": dt, "bend": bend}


def check_state(parameters, state):
    if not 0 < parameters["dt"] * parameters["stiffness"] ** 0.5 < 0.5:
        raise ValueError("the time step is too long")
    for name in STATE:
        if not np.all(np.abs(state[name]) < FARTHEST):
            raise ValueError(f"a point has {name} beyond {FARTHEST}")


def initial_state(parameters):
    random = np.random.default_rng(parameters["points"])
    return {name: random.uniform(-1, 1, parameters["points"]) for name in STATE}


def force(parameters, u, add=np.sum):
    k = parameters["stiffness"]
    return add(np.stack([k * np.roll(u, 1), k * np.roll(u, -1), -2 * k * u, -parameters["bend"] * u * u * u]), axis=0)


def advance(parameters, state, steps, add=np.sum):
    u, v, dt = state["u"], state["v"], parameters["dt"]
    f = force(parameters, u, add)
    for _ in range(steps):
        v = v + 0.5 * dt * f
        u = u + dt * v
        f = force(parameters, u, add)
        v = v + 0.5 * dt * f
    return {"u": u, "v": v}


def observe(parameters, state, add=np.sum):
    u, v, k = state["u"], state["v"], parameters["stiffness"]
    slope = np.roll(u, -1) - u
    twice = v * v + k * slope * slope + 0.5 * parameters["bend"] * u**4
    return {"force": force(parameters, u, add), "energy": 0.5 * add(twice, axis=0)}


def stress(random, size):
    made = parameters(
        points=max(3, size - int(random.integers(3))),
        stiffness=float(random.uniform(0.5, 2)),
        dt=float(random.uniform(0.02, 0.1)),
        bend=int(random.integers(3)),
    )
    return made, {name: random.uniform(-1, 1, made["points"]) for name in STATE}


def part(parameters, state, random):
    """Ten neighbours, and on either side as many as they depend on in a step."""
    if parameters["points"] < 18:
        return None
    there = (int(random.integers(parameters["points"])) + np.arange(18)) % parameters["points"]
    places = (there[4:-4], np.arange(4, 14))
    return (
        {**parameters, "points": 18},
        {name: a[there] for name, a in state.items()},
        dict.fromkeys(("u", "v", "force"), places),
    )


def copies(parameters, fields, times):
    count = int(np.prod(times))
    made = {name: a * count if name == "energy" else np.tile(a, count) for name, a in fields.items()}
    return {**parameters, "points": count * parameters["points"]}, made

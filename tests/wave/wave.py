"""A wave on a string: a specification that has nothing to do with particles.

    u_tt = speed^2 u_xx       displacement u of the points of a string

Points a `spacing` apart stand for the string; u_xx is (left + right - 2 here) / spacing^2.
Time advances by velocity Verlet, which for this equation is the leapfrog scheme. The ends
are "fixed" (the first and the last point never move) or joined to a "ring".
"""

import numpy as np

NAME = "a wave on a string"
STATE = {
    "displacement": {"shape": ("points",), "unit": "m", "scale": 1.0},
    "velocity": {"shape": ("points",), "unit": "m/s", "scale": 1.0},
}
DERIVED = {
    "acceleration": {"shape": ("points",), "unit": "m/s^2"},
    "energy": {"shape": (), "unit": "J m/kg"},
}
WORK = ("points",)
# The spacing of each takes all the digits of a double: a port that rounds its parameters is seen.
CASES = {
    "short": {"points": 100, "length": 1.0, "speed": 1.0, "dt": 0.008, "ends": "fixed"},
    "long": {"points": 20_001, "length": 3.0, "speed": 0.7, "dt": 0.0001, "ends": "ring"},
}


def parameters(*, points, length, speed, dt, ends):
    """All the numbers that define a case. Raises ValueError if they do not describe a string."""
    if int(points) != points or points < 3:
        raise ValueError(f"points = {points} must be a whole number of at least 3")
    spacing = length / (points - 1 if ends == "fixed" else points)
    made = {
        "points": int(points), "spacing": float(spacing), "speed": float(speed), "dt": float(dt), "ends": ends
    }  # fmt: skip
    check_parameters(made)
    return made


def check_parameters(parameters):
    """Raise ValueError unless the string is one and the time step is short enough."""
    spacing, speed, dt = (parameters[name] for name in ("spacing", "speed", "dt"))
    if parameters["ends"] not in ("fixed", "ring"):
        raise ValueError(f'ends = "{parameters["ends"]}" must be "fixed" or "ring"')
    if not (0 < spacing < np.inf and 0 < speed < np.inf and 0 < dt < np.inf):
        raise ValueError("length, speed and dt must be finite and above 0")
    if not speed * dt <= spacing:
        raise ValueError(f"dt = {dt} must be at most {spacing / speed:.6g}, in which a wave moves by one point")


def check_state(parameters, state):
    """Raise ValueError unless all is finite, and fixed ends are at rest."""
    check_parameters(parameters)
    for name in STATE:
        if not np.all(np.isfinite(state[name])):
            raise ValueError(f"{name} of point {np.argmin(np.isfinite(state[name]))} is not a finite number")
        if parameters["ends"] == "fixed" and np.any(state[name][[0, -1]] != 0):
            raise ValueError(f"{name} of a fixed end is not 0")


def initial_state(parameters):
    """A string plucked at three tenths of its length, and let go."""
    points = parameters["points"]
    x = np.arange(points) / (points - 1 if parameters["ends"] == "fixed" else points)
    return {"displacement": np.minimum(x / 0.3, (1 - x) / 0.7), "velocity": np.zeros(points)}


def disordered_state(parameters):
    """Noise: no point moves like another."""
    random = np.random.default_rng(parameters["points"])
    state = {name: random.uniform(-1, 1, parameters["points"]) for name in STATE}
    if parameters["ends"] == "fixed":
        for values in state.values():
            values[[0, -1]] = 0
    return state


def advance(parameters, state, steps, add=np.sum):
    """The state `steps` time steps later: half kick, drift, acceleration, half kick."""
    dt = parameters["dt"]
    u, v = state["displacement"].copy(), state["velocity"].copy()
    a = acceleration(parameters, u, add)
    for _ in range(steps):
        v = v + 0.5 * dt * a
        u = u + dt * v
        a = acceleration(parameters, u, add)
        v = v + 0.5 * dt * a
    return {"displacement": u, "velocity": v}


def acceleration(parameters, u, add=np.sum):
    """speed^2 u_xx. The neighbours are added first: then the mirror image gives the same bits."""
    rate = parameters["speed"] / parameters["spacing"]
    a = rate * rate * add(np.stack([np.roll(u, 1), np.roll(u, -1), -2 * u]), axis=0)
    if parameters["ends"] == "fixed":
        a[[0, -1]] = 0
    return a


def observe(parameters, state, add=np.sum):
    """The DERIVED fields: the acceleration, and the energy for a string of mass 1 per length."""
    spacing, speed = parameters["spacing"], parameters["speed"]
    u, v = state["displacement"], state["velocity"]
    slope = np.diff(u, append=u[:1]) / spacing  # the last is that of the joint of a ring; between fixed ends it is 0
    energy = 0.5 * spacing * (add(v * v, axis=0) + speed * speed * add(slope * slope, axis=0))
    return {"acceleration": acceleration(parameters, u, add), "energy": np.array(energy)}


def difference(parameters, name, a, b):
    """a - b: nothing wraps."""
    return a - b


def symmetries(parameters, random):
    """Changes of a state that change no physics and no bit: name -> (do, undo), on dictionaries of fields."""

    def along(change):
        return lambda fields: {name: change(a) if np.ndim(a) else a for name, a in fields.items()}

    mirror, upside_down = along(lambda a: a[::-1].copy()), along(lambda a: -a)
    made = {"mirror image": (mirror, mirror), "upside down": (upside_down, upside_down)}
    if parameters["ends"] == "ring":
        turn = int(random.integers(1, parameters["points"]))
        made["turned ring"] = (along(lambda a: np.roll(a, turn)), along(lambda a: np.roll(a, -turn)))
    return made


def relations(parameters, random):
    """Changes after which the same must come out but for rounding: name -> (parameters, do, undo)."""

    def times(factor):
        return lambda fields: {name: a * factor**2 if name == "energy" else a * factor for name, a in fields.items()}

    def lifted(by):
        return lambda fields: {**fields, "displacement": fields["displacement"] + by}

    made = {"three times as large": (parameters, times(3.0), times(1 / 3))}
    if parameters["ends"] == "ring":
        made["lifted"] = (parameters, lifted(0.7), lifted(-0.7))
    return made


def reverse(parameters, state):
    """The state from which the motion runs backwards."""
    return {**state, "velocity": -state["velocity"]}


def conserved(parameters, fields):
    """What the exact motion keeps."""
    return {"energy": fields["energy"]}


def refine(parameters, times):
    """The same with a time step so many times shorter."""
    return {**parameters, "dt": parameters["dt"] / times}


def probes(dtype=float):
    """Small states at which ports go wrong: name -> (parameters, state)."""
    made = {}

    def probe(name, displacement, ends, velocity=None, dt=0.5):
        u = np.array(displacement, dtype=float)
        v = np.zeros_like(u) if velocity is None else np.array(velocity, dtype=float)
        made[name] = (
            {"points": len(u), "spacing": 1.0, "speed": 1.0, "dt": dt, "ends": ends},
            {"displacement": u, "velocity": v},
        )

    probe("one point that can move", [0, 1, 0], "fixed", [0, -0.25, 0])
    probe("three points on a ring", [1, 0, -0.3], "ring", [0.1, 0, 0])
    probe("a straight string", np.zeros(8), "fixed")
    probe("a spike beside a fixed end", [0, 1, 0, 0, 0, 0], "fixed")
    probe("a spike at the joint of a ring", [1, 0, 0, 0, 0, 0], "ring")
    probe("every other point up", (-1.0) ** np.arange(16), "ring")
    probe("a ring that moves as a whole", np.full(9, 0.1), "ring", np.full(9, 0.3))
    probe("the longest time step", [0, 0.2, 0.7, 0.1, -0.4, 0.3, 0], "fixed", dt=1.0)
    return made

"""The wave on a string with NumPy in place: no array is made while it steps.

1. slopes      between neighbours, with one more at either end: the joint of a ring, or 0
2. a           the slopes' differences, times (speed / spacing)^2
3. v, u, v     half kick, drift, half kick
"""

import numpy as np


def about():
    return {"version": np.__version__, "threads": 1, "precision": "float64", "device": "cpu"}


class Wave:
    def __init__(self, parameters, state):
        missing = [name for name in ("points", "spacing", "speed", "dt", "ends") if name not in parameters]
        if missing:
            raise ValueError(f"the parameter {missing[0]} is missing")
        self.spacing, self.speed, self.dt = (parameters[name] for name in ("spacing", "speed", "dt"))
        if not (self.spacing > 0 and self.dt > 0 and 0 < self.speed * self.dt <= self.spacing):
            raise ValueError("spacing, speed and dt must be above 0, and speed times dt at most the spacing")
        if parameters["ends"] not in ("fixed", "ring"):
            raise ValueError("ends must be fixed or ring")
        self.ring = parameters["ends"] == "ring"
        self.u, self.v = (np.array(state[name], dtype=float) for name in ("displacement", "velocity"))
        if not self.ring and any(a[end] != 0 for a in (self.u, self.v) for end in (0, -1)):
            raise ValueError("a fixed end is not at rest")
        self.a, self.change = np.empty_like(self.u), np.empty_like(self.u)
        self.slopes = np.zeros(len(self.u) + 1)
        self.evaluate()

    def evaluate(self):
        u, slopes, a = self.u, self.slopes, self.a
        np.subtract(u[1:], u[:-1], out=slopes[1:-1])
        slopes[0] = slopes[-1] = u[0] - u[-1] if self.ring else 0.0
        np.subtract(slopes[1:], slopes[:-1], out=a)
        a *= (self.speed / self.spacing) ** 2
        if not self.ring:
            a[0] = a[-1] = 0.0

    def step(self):
        half = 0.5 * self.dt
        self.v += np.multiply(self.a, half, out=self.change)
        self.u += np.multiply(self.v, self.dt, out=self.change)
        self.evaluate()
        self.v += np.multiply(self.a, half, out=self.change)


def load(parameters, state):
    return Wave(parameters, state)


def run(wave, steps):
    before = wave.u.copy(), wave.v.copy()
    wave.evaluate()
    for _ in range(steps):
        wave.step()
    if not (np.all(np.isfinite(wave.u)) and np.all(np.isfinite(wave.v))):
        wave.u[:], wave.v[:] = before
        wave.evaluate()
        raise ValueError("the string is no longer finite: what was loaded is kept")


def state(wave):
    slopes = wave.slopes[1:] / wave.spacing
    energy = 0.5 * wave.spacing * (wave.v @ wave.v + wave.speed**2 * (slopes @ slopes))
    return {"displacement": wave.u, "velocity": wave.v, "acceleration": wave.a, "energy": np.array(energy)}

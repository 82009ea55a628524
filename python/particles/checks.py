"""What the Python-hosted ports refuse to load. Each complaint is one sentence."""

import numpy as np


def check(parameters, state):
    """Raise ValueError unless parameters and state, arrays (boxes, particles, 3), make a simulation."""
    for name in ("boxes", "particles", "box", "boundary", "cutoff", "dt"):
        if name not in parameters:
            raise ValueError(f"the parameter {name} is missing")
    box, cutoff, dt = np.asarray(parameters["box"], dtype=float), parameters["cutoff"], parameters["dt"]
    if box.shape != (3,) or not np.all(np.isfinite(box)) or not np.all(box > 0):
        raise ValueError(f"box = {parameters['box']} must be three finite sides above 0")
    if parameters["boundary"] not in ("periodic", "walls"):
        raise ValueError(f"boundary = {parameters['boundary']} must be periodic or walls")
    if not (0 < cutoff < np.inf and 0 < dt < np.inf):
        raise ValueError(f"cutoff = {cutoff} and dt = {dt} must be finite and above 0")
    if parameters["boundary"] == "periodic" and cutoff > box.min() / 2:
        raise ValueError(f"cutoff = {cutoff} is over half the shortest side of the periodic box, {box.min() / 2}")
    shape = (parameters["boxes"], parameters["particles"], 3)
    for name in ("position", "velocity"):
        if state[name].shape != shape:
            raise ValueError(f"{name} has shape {state[name].shape} and should have {shape}")
        if not np.all(np.isfinite(state[name])):
            raise ValueError(f"{name} holds a number that is not finite")


def check_forces(force):
    """Raise ValueError if a force, any array, is not finite."""
    if not np.all(np.isfinite(force)):
        raise ValueError("a force is not finite: two particles are at one point, or the time step is too long")

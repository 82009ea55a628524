"""What the Python-hosted ports refuse to load, each in one sentence; and what they are asked for beside."""

import os

import numpy as np


def threads():
    """How many the harness asks for."""
    return int(os.environ.get("PORTBENCH_THREADS", "1"))


def check(parameters, state):
    """Raise ValueError unless parameters and state, arrays (boxes, particles, 3), make a simulation."""
    for name in ("boxes", "particles", "box", "boundary", "cutoff", "dt"):
        if name not in parameters:
            raise ValueError(f"the parameter {name} is missing")
    for name in ("boxes", "particles"):
        if not isinstance(parameters[name], (int, np.integer)) or parameters[name] < 1:
            raise ValueError(f"{name} = {parameters[name]} must be a whole number of at least 1")
    number = np.asarray(state.get("position", 0.0)).dtype  # float64 or float32, in which the port computes
    largest = np.finfo(number).max
    for name, shape in (("box", (3,)), ("cutoff", ()), ("dt", ())):
        value = np.asarray(parameters[name])
        if value.shape != shape or value.dtype.kind not in "fiu" or not np.all((value > 0) & (value <= largest)):
            much = "three finite numbers" if shape else "a finite number"
            raise ValueError(f"{name} = {parameters[name]} must be {much} above 0")
    box, periodic = np.array(parameters["box"], dtype=float), parameters["boundary"] == "periodic"
    if not periodic and parameters["boundary"] != "walls":
        raise ValueError(f"boundary = {parameters['boundary']} must be periodic or walls")
    if periodic and not parameters["cutoff"] <= box.min() / 2:
        raise ValueError(
            f"cutoff = {parameters['cutoff']} is over half the shortest side of the periodic box, {box.min() / 2:.6g}"
        )
    shape = (parameters["boxes"], parameters["particles"], 3)
    for name in ("position", "velocity"):
        if name not in state:
            raise ValueError(f"the state has no {name}")
        if np.shape(state[name]) != shape:
            raise ValueError(f"{name} has shape {np.shape(state[name])} and should have {shape}")
        if not np.all(np.isfinite(state[name])):
            raise ValueError(f"{name} holds a number that is not finite")
    box = box.astype(number)  # as the particles were rounded, also one on its wall
    if np.any(state["position"] < 0) or np.any(state["position"] > box):
        raise ValueError("a particle lies outside the box: positions must be within 0 and the box sides")
    for position in state["position"]:
        # what rounding cannot tell apart beside a box side is one point; and so are opposite faces
        place = (position + box) - box
        place = np.where(periodic & (place >= box), 0.0, place)
        place = place[np.lexsort(place.T)]
        if np.any(np.all(place[1:] == place[:-1], axis=1)):
            raise ValueError("two particles are at the same point, where the force is infinite")


def check_forces(force):
    """Raise ValueError if a force, any array, is not finite."""
    if not np.all(np.isfinite(force)):
        raise ValueError("a force is not finite: two particles are at one point, or the time step is too long")

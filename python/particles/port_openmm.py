"""Particles in a box, by OpenMM on its CPU platform: a yardstick, in single precision as that platform is.

P. Eastman et al., "OpenMM 8", J. Phys. Chem. B 128, 109 (2024). With lengths in nm, masses in u, energies in kJ/mol and
times in ps, its units are consistent, so that all numbers here are as in the specification. Forces are those of its
`NonbondedForce`. What is observed, energies shifted to 0 at the cutoff and the virial, is no part of a step.
"""

import numpy as np
import openmm

from particles.checks import check, check_forces, threads
from particles.observe import observed, stacked

STEPS, ENERGY, VIRIAL = 0, 1, 2  # groups of forces: what a step needs, and what is asked for when looking


def about():
    return {"version": openmm.__version__, "threads": threads()}


def load(parameters, state):
    """One Context for each box."""
    check(parameters, state)
    return [Box(parameters, x, v) for x, v in zip(state["position"], state["velocity"])]


def run(boxes, steps):
    for box in boxes:
        box.integrator.step(steps)
        now = box.context.getState(velocities=True, forces=True, groups={STEPS})
        check_forces(now.getForces(asNumpy=True)._value)
        if not np.all(np.abs(now.getVelocities(asNumpy=True)._value) * box.dt < 100 * box.sides):
            raise ValueError("a particle crossed the box many times in one step: the time step is too long")


def state(boxes):
    """Every field of the specification, boxes first."""
    return stacked([box.observe() for box in boxes], np.float32)


class Box:
    """One box, and the Context that has it."""

    def __init__(self, parameters, position, velocity):
        self.sides, self.dt = np.array(parameters["box"]), parameters["dt"]
        periodic = self.periodic = parameters["boundary"] == "periodic"
        system = openmm.System()
        for _ in position:
            system.addParticle(1.0)
        if periodic:
            system.setDefaultPeriodicBoxVectors(*np.diag(parameters["box"]).tolist())
        for force in forces(parameters, len(position), periodic):
            system.addForce(force)
        self.integrator = velocity_verlet(parameters, periodic)
        platform = openmm.Platform.getPlatformByName("CPU")
        self.context = openmm.Context(system, self.integrator, platform, {"Threads": str(threads())})
        self.context.setPositions(position)
        self.context.setVelocities(velocity)
        self.context.getState(forces=True, groups={STEPS})

    def observe(self):
        """Its fields."""
        seen = self.context.getState(positions=True, velocities=True, forces=True, groups={STEPS})
        x, v, force = (get(asNumpy=True)._value for get in (seen.getPositions, seen.getVelocities, seen.getForces))
        potential, virial = (
            self.context.getState(energy=True, groups={group}).getPotentialEnergy()._value for group in (ENERGY, VIRIAL)
        )
        return observed(self.sides, self.periodic, x, v, force, potential, virial)


def forces(parameters, count, periodic):
    """Lennard-Jones as OpenMM has it, and its sums over pairs: of the energy, shifted, and of r . f."""
    cutoff = parameters["cutoff"]
    pairs = openmm.NonbondedForce()
    pairs.setNonbondedMethod(pairs.CutoffPeriodic if periodic else pairs.CutoffNonPeriodic)
    pairs.setUseDispersionCorrection(False)
    energy = openmm.CustomNonbondedForce(f"4*(s^2-s)-{4 * (cutoff**-12 - cutoff**-6)!r}; s=r^-6")
    virial = openmm.CustomNonbondedForce("24*(2*s^2-s); s=r^-6")
    for _ in range(count):
        pairs.addParticle(0.0, 1.0, 1.0)
        energy.addParticle([])
        virial.addParticle([])
    for custom in (energy, virial):
        custom.setNonbondedMethod(custom.CutoffPeriodic if periodic else custom.CutoffNonPeriodic)
    for group, force in ((STEPS, pairs), (ENERGY, energy), (VIRIAL, virial)):
        force.setCutoffDistance(cutoff)
        force.setForceGroup(group)
    return pairs, energy, virial


def velocity_verlet(parameters, periodic):
    """Half kick, drift, forces, half kick; between walls, bounces after the drift."""
    step = openmm.CustomIntegrator(parameters["dt"])
    step.setIntegrationForceGroups({STEPS})
    step.addUpdateContextState()
    step.addComputePerDof("v", "v+0.5*dt*f/m")
    step.addComputePerDof("x", "x+dt*v")
    if not periodic:
        step.addPerDofVariable("side", 0)
        step.setPerDofVariableByName("side", [openmm.Vec3(*parameters["box"])] * parameters["particles"])
        # However often it bounced: the way between the walls and back is a period.
        unfolded = "; y=x-2*side*floor(x/(2*side))"
        step.addComputePerDof("v", "select(step(side-y), v, -v)" + unfolded)
        step.addComputePerDof("x", "select(step(side-y), y, 2*side-y)" + unfolded)
    step.addComputePerDof("v", "v+0.5*dt*f/m")
    return step

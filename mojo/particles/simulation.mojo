"""All the boxes of a case: loaded from a folder, advanced, and saved."""

from std.os.path import isdir
from std.time import perf_counter_ns

from .arrays import Vec, read_rows, write_numbers, write_rows
from .forces import forces
from .images import wrapped
from .motion import advance
from .neighbours import rebuild
from .observe import observe
from .parameters import Parameters
from .system import System, check_distinct, check_state
from .threads import Team


struct Simulation(Movable):
    """A case. The threads share each box, or if there are many, the boxes."""

    var parameters: Parameters
    """What defines the case."""
    var systems: List[System]
    """The boxes."""
    var threads: Int
    """Threads among which things are shared."""
    var many: Bool
    """Whether each of them has boxes of its own."""
    var steps: Int
    """How far the present run goes."""

    def __init__(out self, folder: String, mut team: Team) raises:
        """Load and check the case in the folder."""
        if not isdir(folder):
            raise Error(t"there is no folder {folder}")
        self.parameters = Parameters(folder + "/parameters.txt")
        var boxes = self.parameters.boxes
        var particles = self.parameters.particles
        var position = read_rows(folder + "/position.f64", boxes, particles)
        var velocity = read_rows(folder + "/velocity.f64", boxes, particles)
        self.threads = team.size
        self.many = boxes >= team.size
        self.systems = List[System](capacity=boxes)
        self.steps = 0
        for x, v in zip(position, velocity):
            check_state(self.parameters, x, v)
            var threads = 1 if self.many else team.size
            self.systems.append(System(self.parameters, x, v, threads))
        self.each[rebuild](team)
        for ref system in self.systems:
            check_distinct(system)

    def run(mut self, steps: Int, mut team: Team) raises -> Int:
        """Advance all boxes, and say how many nanoseconds it took.

        If one fails, all are as they were.
        """
        for ref system in self.systems:
            system.remember()
        self.steps = steps
        var start = perf_counter_ns()
        if self.many:
            team.share[advance_boxes](self)
        else:
            for ref system in self.systems:
                advance_or_say_why(system, steps, team)
        var end = perf_counter_ns()
        var trouble = String()
        for ref system in self.systems:
            trouble = trouble or system.trouble
        if trouble:
            for ref system in self.systems:
                system.go_back()
            self.each[rebuild](team)
            raise Error(trouble)
        return Int(end - start)

    def save(mut self, folder: String, mut team: Team) raises:
        """Write the state and all that is derived from it to the folder."""
        if not isdir(folder):
            raise Error(t"there is no folder {folder}")
        var position = List[Vec]()
        var velocity = List[Vec]()
        var force = List[Vec]()
        var kinetic_energy = List[Float64]()
        var potential_energy = List[Float64]()
        var virial = List[Float64]()
        var pressure = List[Float64]()
        var temperature = List[Float64]()
        var momentum = List[Vec]()
        self.each[compute_forces](team)
        for ref system in self.systems:
            for i in range(system.particles):
                var x = system.position[i]
                position.append(wrapped(system.box, x) if system.periodic else x)
            velocity.extend(Span(system.velocity))
            force.extend(Span(system.force))
            var seen = observe(system)
            kinetic_energy.append(seen.kinetic_energy)
            potential_energy.append(seen.potential_energy)
            virial.append(seen.virial)
            pressure.append(seen.pressure)
            temperature.append(seen.temperature)
            momentum.append(seen.momentum)
        self.parameters.write(folder + "/parameters.txt")
        write_rows(folder + "/position.f64", position)
        write_rows(folder + "/velocity.f64", velocity)
        write_rows(folder + "/force.f64", force)
        write_numbers(folder + "/kinetic_energy.f64", kinetic_energy)
        write_numbers(folder + "/potential_energy.f64", potential_energy)
        write_numbers(folder + "/virial.f64", virial)
        write_numbers(folder + "/pressure.f64", pressure)
        write_numbers(folder + "/temperature.f64", temperature)
        write_rows(folder + "/momentum.f64", momentum)

    def each[
        work: def(mut System, mut Team) thin -> None
    ](mut self, mut team: Team):
        """Do the work on one box after another, with the threads that share it.
        """
        if self.many:
            var alone = Team()
            for ref system in self.systems:
                work(system, alone)
        else:
            for ref system in self.systems:
                work(system, team)


def advance_boxes(mut simulation: Simulation, thread: Int):
    """Advance the boxes of one thread."""
    var boxes = len(simulation.systems)
    var first = boxes * thread // simulation.threads
    var last = boxes * (thread + 1) // simulation.threads
    var alone = Team()
    for ref system in simulation.systems[first:last]:
        advance_or_say_why(system, simulation.steps, alone)


def advance_or_say_why(mut system: System, steps: Int, mut team: Team):
    """Advance a box; if that fails, leave the reason in `trouble`."""
    system.trouble = String()
    try:
        advance(system, steps, team)
    except e:
        system.trouble = String(e)


def compute_forces(mut system: System, mut team: Team):
    """Compute the forces in a box."""
    team.share[forces](system)

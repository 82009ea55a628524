"""All the boxes of a case: loaded from a folder, advanced, and saved."""

from std.os.path import isdir
from std.time import perf_counter_ns

from .arrays import Real, Vec, read_rows, read_text, write_numbers, write_rows
from .forces import forces
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
    """Threads that share the work."""
    var many: Bool
    """Whether there are boxes enough for each thread to have its own."""
    var steps: Int
    """How far the present run goes."""

    def __init__(out self, folder: String, mut team: Team) raises:
        """Load and check the case in the folder."""
        if not isdir(folder):
            raise Error(t"there is no folder {folder}")
        self.parameters = Parameters(read_text(folder + "/parameters.txt"))
        var boxes = self.parameters.boxes
        var particles = self.parameters.particles
        var position = read_rows(folder, "position", boxes, particles)
        var velocity = read_rows(folder, "velocity", boxes, particles)
        self.threads = team.size
        self.many = boxes >= team.size
        self.systems = List[System](capacity=boxes)
        self.steps = 0
        for x, v in zip(position, velocity):
            check_state(self.parameters, x, v)
            var parts = 1 if self.many else team.size
            self.systems.append(System(self.parameters, x, v, parts))
        self.list_all_neighbours(team)
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
            self.list_all_neighbours(team)
            raise Error(trouble)
        return Int(end - start)

    def save(mut self, folder: String, mut team: Team) raises:
        """Write the state and all that is derived from it to the folder."""
        if not isdir(folder):
            raise Error(t"there is no folder {folder}")
        var position = List[Vec]()
        var velocity = List[Vec]()
        var force = List[Vec]()
        var kinetic_energy = List[Real]()
        var potential_energy = List[Real]()
        var virial = List[Real]()
        var pressure = List[Real]()
        var temperature = List[Real]()
        var momentum = List[Vec]()
        var alone = Team()
        for ref system in self.systems:
            var now = system.copy()
            if self.many:
                settle(now, alone)
            else:
                settle(now, team)
            var seen = observe(now)
            position.extend(Span(now.position)[: now.particles])
            velocity.extend(Span(now.velocity))
            force.extend(Span(now.force))
            kinetic_energy.append(seen.kinetic_energy)
            potential_energy.append(seen.potential_energy)
            virial.append(seen.virial)
            pressure.append(seen.pressure)
            temperature.append(seen.temperature)
            momentum.append(seen.momentum)
        with open(folder + "/parameters.txt", "w") as file:
            file.write(self.parameters.text())
        write_rows(folder, "position", position)
        write_rows(folder, "velocity", velocity)
        write_rows(folder, "force", force)
        write_numbers(folder, "kinetic_energy", kinetic_energy)
        write_numbers(folder, "potential_energy", potential_energy)
        write_numbers(folder, "virial", virial)
        write_numbers(folder, "pressure", pressure)
        write_numbers(folder, "temperature", temperature)
        write_rows(folder, "momentum", momentum)

    def list_all_neighbours(mut self, mut team: Team):
        """List the neighbours anew in all boxes."""
        var alone = Team()
        for ref system in self.systems:
            if self.many:
                rebuild(system, alone)
            else:
                rebuild(system, team)


def advance_boxes(mut simulation: Simulation, number: Int):
    """Advance a part of the boxes."""
    var boxes = len(simulation.systems)
    var first = boxes * number // simulation.threads
    var last = boxes * (number + 1) // simulation.threads
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


def settle(mut system: System, mut team: Team):
    """Wrap all positions, and compute the forces at just these.

    To a copy, so that the box itself goes on as if nobody had looked.
    """
    rebuild(system, team)
    team.share[forces](system)

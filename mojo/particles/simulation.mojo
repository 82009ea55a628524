"""All the boxes of a case: loaded from a folder, advanced, and saved."""

from std.math import isfinite
from std.os.path import isdir
from std.time import perf_counter_ns

from .arrays import Real, Vec, read_rows, read_text, write_numbers, write_rows
from .box import Box
from .parameters import Parameters
from .threads import Team


struct Simulation[OneBox: Box](Movable):
    """A case. The threads share each box, or if there are many, the boxes."""

    var parameters: Parameters
    """What defines the case."""
    var boxes: List[Self.OneBox]
    """The boxes."""
    var trouble: List[String]
    """Of each box why its last run failed; empty if it did not."""
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
        self.boxes = List[Self.OneBox](capacity=boxes)
        self.trouble = List[String](length=boxes, fill="")
        self.steps = 0
        var alone = Team()
        for x, v in zip(position, velocity):
            check_state(self.parameters, x, v)
            var parts = 1 if self.many else team.size
            self.boxes.append(Self.OneBox(self.parameters, x, v, parts))
        for ref box in self.boxes:
            if self.many:
                box.begin(alone)
            else:
                box.begin(team)

    def run(mut self, steps: Int, mut team: Team) raises -> Int:
        """Advance all boxes, and say how many nanoseconds it took.

        If one fails, all are as they were.
        """
        for ref box in self.boxes:
            box.remember()
        self.steps = steps
        var start = perf_counter_ns()
        if self.many:
            team.share[advance_boxes[Self.OneBox]](self)
        else:
            for b in range(len(self.boxes)):
                advance_or_say_why(self, b, team)
        var end = perf_counter_ns()
        var trouble = String()
        for why in self.trouble:
            trouble = trouble or why
        if trouble:
            var alone = Team()
            for ref box in self.boxes:
                if self.many:
                    box.go_back(alone)
                else:
                    box.go_back(team)
            raise Error(trouble)
        return Int(end - start)

    def save(self, folder: String, mut team: Team) raises:
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
        for ref box in self.boxes:
            var now = box.shown(alone) if self.many else box.shown(team)
            position.extend(Span(now.position))
            velocity.extend(Span(now.velocity))
            force.extend(Span(now.force))
            kinetic_energy.append(now.observation.kinetic_energy)
            potential_energy.append(now.observation.potential_energy)
            virial.append(now.observation.virial)
            pressure.append(now.observation.pressure)
            temperature.append(now.observation.temperature)
            momentum.append(now.observation.momentum)
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


def advance_boxes[OneBox: Box](mut simulation: Simulation[OneBox], number: Int):
    """Advance a part of the boxes."""
    var boxes = len(simulation.boxes)
    var first = boxes * number // simulation.threads
    var last = boxes * (number + 1) // simulation.threads
    var alone = Team()
    for b in range(first, last):
        advance_or_say_why(simulation, b, alone)


def advance_or_say_why[
    OneBox: Box
](mut simulation: Simulation[OneBox], b: Int, mut team: Team):
    """Advance a box; if that fails, leave the reason in its `trouble`."""
    simulation.trouble[b] = String()
    try:
        simulation.boxes[b].advance(simulation.steps, team)
    except e:
        simulation.trouble[b] = String(e)


def check_state(
    parameters: Parameters, position: List[Vec], velocity: List[Vec]
) raises:
    """Raise an Error unless the particles are finite and inside the box."""
    for i in range(len(position)):
        if not isfinite(position[i] + velocity[i]).reduce_and():
            raise Error(
                t"the position or velocity of particle {i} is not a finite",
                " number",
            )
        var x = position[i]
        if x.lt(0).reduce_or() or x.gt(parameters.box).reduce_or():
            raise Error(t"particle {i} lies outside the box")

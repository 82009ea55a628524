"""The line protocol of docs/protocol.md."""

from std.ffi import external_call
from std.os import getenv
from std.sys.defines import MOJO_VERSION

from .arrays import PRECISION
from .box import Box
from .simulation import Simulation
from .threads import Team

comptime CLASS = String(PRECISION, "-fast" if PRECISION == .float64 else "")
"""What a port declares: products and sums of doubles may be fused."""


def serve[OneBox: Box](port: String) raises:
    """Obey the commands on the standard input, with boxes of this kind."""
    var team = Team(threads_wanted())
    var simulation = Optional[Simulation[OneBox]]()
    while True:
        var line = read_line()
        if not line:
            break
        if line.value() == "quit":
            reply("ok")
            break
        try:
            reply("ok" + answer(line.value(), port, simulation, team))
        except e:
            reply("error " + String(e).replace("\n", " "))


def answer[
    OneBox: Box
](
    line: String,
    port: String,
    mut simulation: Optional[Simulation[OneBox]],
    mut team: Team,
) raises -> String:
    """Obey the command in the `line`; what the reply says after `ok`."""
    var words = line.split(" ", 1)
    var command = words[0]
    var argument = String(words[1]) if len(words) == 2 else String()
    if command == "hello":
        return String(
            " protocol=1 port=",
            port,
            " language=Mojo version=",
            MOJO_VERSION.major,
            ".",
            MOJO_VERSION.minor,
            ".",
            MOJO_VERSION.patch,
            " threads=",
            team.size,
            " precision=",
            CLASS,
            " device=cpu",
        )
    elif command == "load":
        simulation = Simulation[OneBox](argument, team)
        return ""
    elif command == "run":
        var steps = whole(argument)
        if not simulation:
            raise Error("there is nothing to run: load a case first")
        return String(" nanoseconds=", simulation.value().run(steps, team))
    elif command == "save":
        if not simulation:
            raise Error("there is nothing to save: load a case first")
        simulation.value().save(argument, team)
        return ""
    raise Error(t'there is no command "{command}"')


def whole(text: String) raises -> Int:
    """The number of steps that the `text` says."""
    var steps = -1
    try:
        steps = Int(text)
    except:
        pass
    if steps < 0:
        raise Error(t'"{text}" is not a number of steps')
    return steps


def threads_wanted() -> Int:
    """What the environment says, or one."""
    try:
        return max(1, Int(getenv("PORTBENCH_THREADS", "1")))
    except:
        return 1


def read_line() -> Optional[String]:
    """The next line of the standard input, or nothing after the last.

    Not by input(): that of Mojo 1.2 loses what follows the line in the pipe.
    """
    var bytes = List[UInt8]()
    while True:
        var byte = external_call["getchar", Int32]()
        if byte < 0 and len(bytes) == 0:
            return None
        if byte < 0 or byte == Int32(ord("\n")):
            return String(unsafe_from_utf8=Span(bytes))
        bytes.append(UInt8(byte))


def reply(line: String):
    """Write one line, at once."""
    print(line, flush=True)

"""The parameters of a case: read from text, checked, and written again."""

from std.ffi import external_call
from std.math import isfinite
from std.utils import Variant

from .arrays import PRECISION, Real, Vec

comptime Value = Variant[Int, Float64, String]
"""A whole number, a floating-point number or a word."""


@fieldwise_init
struct Parameter(Copyable, Movable):
    """One line of the file, `name = value value ...`."""

    var name: String
    var values: List[Value]


struct Parameters(Copyable, Movable):
    """What defines a case: the numbers used here, and all that was read."""

    var boxes: Int
    """Independent copies of the system."""
    var particles: Int
    """Particles in each box."""
    var box: Vec
    """Sides of the box; the fourth is 1, so that one may divide by it."""
    var periodic: Bool
    """Whether the boundary is periodic; otherwise there are walls."""
    var cutoff: Real
    """Distance beyond which particles do not interact."""
    var dt: Real
    """Time step."""
    var lines: List[Parameter]
    """Everything that the file said, in its order."""

    def __init__(out self, text: String) raises:
        """Read and check the `text` of a parameter file."""
        self.lines = parse(text)
        self.boxes = whole(self.lines, "boxes")
        self.particles = whole(self.lines, "particles")
        var sides = find(self.lines, "box", 3)
        self.box = Vec(1)
        for axis in range(3):
            self.box[axis] = number("box", sides[axis])
        self.cutoff = number("cutoff", find(self.lines, "cutoff")[0])
        self.dt = number("dt", find(self.lines, "dt")[0])
        var boundary = show(find(self.lines, "boundary")[0])
        self.periodic = boundary == "periodic"
        if not self.periodic and boundary != "walls":
            raise Error(
                t'boundary = "{boundary}" must be "periodic" or "walls"'
            )
        self.check()

    def check(self) raises:
        """Raise an Error unless these numbers describe a simulation."""
        # Particles and images, up to 27 times as many, are counted in Int32.
        if not 1 <= self.particles <= Int(Int32.MAX) // 27:
            raise Error(
                t"particles = {self.particles} must be at least 1, and so few",
                t" that they and their images can be counted in 32 bits",
            )
        if self.boxes < 1:
            raise Error(t"boxes = {self.boxes} must be at least 1")
        # A number of the text may be too large or too small for a Real.
        for x in [self.box[0], self.box[1], self.box[2], self.cutoff, self.dt]:
            if not (x > 0 and isfinite(x)):
                raise Error(
                    t"the sides of the box, cutoff and dt must be above 0 and",
                    t" finite, in {PRECISION}",
                )
        var half = min(self.box[0], self.box[1], self.box[2]) / 2
        if self.periodic and not self.cutoff <= half:
            raise Error(
                t"cutoff = {self.cutoff} is over half the shortest side of the",
                t" periodic box ({half})",
            )

    def text(self) -> String:
        """The text of a parameter file that says the same."""
        var text = String()
        for line in self.lines:
            text += line.name + " ="
            for value in line.values:
                text += " " + show(value)
            text += "\n"
        return text


def parse(text: String) raises -> List[Parameter]:
    """The lines of a parameter file."""
    var lines = List[Parameter]()
    for line in text.splitlines():
        if line.strip() == "":
            continue
        var parts = line.split("=", 1)
        var name = String(parts[0].strip())
        if len(parts) != 2 or name == "":
            raise Error(
                t"a line of the parameters is not `name = value`: {line}"
            )
        for earlier in lines:
            if earlier.name == name:
                raise Error(t"the parameters give {name} twice")
        var values = List[Value]()
        for word in parts[1].split():
            var value = value_of(String(word))
            if value.isa[Float64]() and not isfinite(value[Float64]):
                raise Error(t"{name} = {word} is not a finite number")
            values.append(value^)
        if len(values) == 0:
            raise Error(t"the parameters give no value of {name}")
        lines.append(Parameter(name^, values^))
    return lines^


def value_of(word: String) -> Value:
    """A whole number if the `word` is one that fits, a number, or the word."""
    var digits = word.removeprefix("-").removeprefix("+")
    try:
        if digits.is_ascii_digit():
            return Value(Int(word))
        return Value(Float64(word))
    except:
        return Value(word)


def show(value: Value) -> String:
    """The `value` in text, with digits enough to bring back the same bits."""
    if value.isa[Int]():
        return String(value[Int])
    if value.isa[String]():
        return value[String]
    var text = String()
    # Not String(x): that of Mojo 1.2 loses a digit of some numbers near 1e17.
    for digits in range(15, 18):
        text = in_digits(value[Float64], digits)
        try:
            if Float64(text) == value[Float64]:
                break
        except:
            pass
    # Whoever reads it must not take it for a whole number.
    return text if "." in text or "e" in text else text + ".0"


def in_digits(x: Float64, digits: Int) -> String:
    """The number `x` rounded to so many digits, by the C library."""
    var text = List[UInt8](length=32, fill=0)
    _ = external_call["gcvt", Optional[Pointer[UInt8, MutUntrackedOrigin]]](
        x, Int32(digits), text.unsafe_ptr()
    )
    return String(unsafe_from_utf8_ptr=text.unsafe_ptr())


def find(
    lines: List[Parameter], name: String, count: Int = 1
) raises -> List[Value]:
    """The `count` values of the parameter `name`."""
    for ref line in lines:
        if line.name == name:
            if len(line.values) != count:
                raise Error(
                    t"{name} must have {count} value(s), not {len(line.values)}"
                )
            return line.values.copy()
    raise Error(t"the parameters lack {name}")


def whole(lines: List[Parameter], name: String) raises -> Int:
    """The parameter `name`, a whole number."""
    var value = find(lines, name)[0].copy()
    if not value.isa[Int]():
        raise Error(t"{name} = {show(value)} must be a whole number")
    return value[Int]


def number(name: String, value: Value) raises -> Real:
    """The `value` of the parameter `name`, a number."""
    if value.isa[Int]():
        return Real(value[Int])
    if not value.isa[Float64]():
        raise Error(t"{name} = {show(value)} must be a number")
    return Real(value[Float64])

"""The type of all numbers, rows of three, sums over them, and their files."""

from std.os.path import getsize, isfile
from std.sys import size_of
from std.sys.defines import get_defined_dtype
from std.utils.numerics import nextafter

comptime PRECISION = get_defined_dtype["precision", DType.float64]()
"""What the program computes in: `mojo build -D precision=float32` changes it."""
comptime Real = Scalar[PRECISION]
"""A number of this precision."""
comptime EPSILON = nextafter(Real(1), Real(2)) - 1
"""From 1 to the next number: what rounding may change, relatively."""
comptime EXTENSION = String(".f", 8 * size_of[Real]())
"""Of the files that hold such numbers."""
comptime Vec = SIMD[PRECISION, 4]
"""A point, velocity or force as x, y, z and 0: four numbers fill a register."""


def square(d: Vec) -> Real:
    """The squared length of the vector d."""
    return d[0] * d[0] + d[1] * d[1] + d[2] * d[2]


def total(rows: Span[Vec, _]) -> Vec:
    """The sum of the rows, by halves, so that rounding does not pile up."""
    if len(rows) <= 8:
        var sum = Vec(0)
        for row in rows:
            sum += row
        return sum
    var half = len(rows) // 2
    return total(rows[:half]) + total(rows[half:])


def read_text(path: String) raises -> String:
    """The text in the file `path`."""
    if not isfile(path):
        raise Error(t"there is no file {path}")
    with open(path, "r") as file:
        return file.read()


def read_rows(
    folder: String, name: String, boxes: Int, rows: Int
) raises -> List[List[Vec]]:
    """The field of that name in the folder: `rows` rows of three for each box."""
    var path = path_of(folder, name)
    if not isfile(path):
        raise Error(t"there is no file {path}")
    var size = getsize(path)
    comptime each = 3 * size_of[Real]()
    # Divided, not multiplied: boxes * rows could be too large for an Int.
    if size % (each * rows) != 0 or size // (each * rows) != boxes:
        raise Error(
            t"{path} has {size} bytes, not {each} for each of {rows} rows",
            t" in each of {boxes} boxes",
        )
    var numbers = List[Real](length=size // size_of[Real](), fill=0)
    with open(path, "r") as file:
        if file.read(Span(numbers)) != size:
            raise Error(path, " could not be read to its end")
    var field = List[List[Vec]](capacity=boxes)
    for b in range(boxes):
        var box = List[Vec](capacity=rows)
        for i in range(b * rows, (b + 1) * rows):
            var x, y, z = numbers[3 * i], numbers[3 * i + 1], numbers[3 * i + 2]
            box.append(Vec(x, y, z, 0))
        field.append(box^)
    return field^


def write_rows(folder: String, name: String, rows: List[Vec]) raises:
    """Write the three coordinates of each of the `rows` as that field."""
    var numbers = List[Real](capacity=3 * len(rows))
    for row in rows:
        for axis in range(3):
            numbers.append(row[axis])
    write_numbers(folder, name, numbers)


def write_numbers(folder: String, name: String, numbers: List[Real]) raises:
    """Write the bytes of the `numbers` as that field."""
    var bytes = numbers.unsafe_ptr().unsafe_bitcast[UInt8]()
    var size = size_of[Real]() * len(numbers)
    with open(path_of(folder, name), "w") as file:
        file.write_bytes(Span(unsafe_ptr=bytes, length=size))


def path_of(folder: String, name: String) -> String:
    """The file of the field of that name in the folder."""
    return String(folder, "/", name, EXTENSION)

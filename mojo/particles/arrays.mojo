"""Rows of three coordinates, sums over them, and the files they travel in."""

from std.os.path import getsize, isfile

comptime Vec = SIMD[DType.float64, 4]
"""A point, velocity or force as x, y, z and 0: four numbers fill a register."""


def square(d: Vec) -> Float64:
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


def read_rows(path: String, boxes: Int, rows: Int) raises -> List[List[Vec]]:
    """The field in the file `path`: `rows` rows of three for each box."""
    if not isfile(path):
        raise Error(t"there is no file {path}")
    var size = getsize(path)
    # Divided, not multiplied: boxes * rows could be too large for an Int.
    if size % (24 * rows) != 0 or size // (24 * rows) != boxes:
        raise Error(
            t"{path} has {size} bytes, not 24 for each of {rows} rows",
            t" in each of {boxes} boxes",
        )
    var numbers = List[Float64](length=size // 8, fill=0.0)
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


def write_rows(path: String, rows: List[Vec]) raises:
    """Write the three coordinates of each of the `rows` to the file `path`."""
    var numbers = List[Float64](capacity=3 * len(rows))
    for row in rows:
        for axis in range(3):
            numbers.append(row[axis])
    write_numbers(path, numbers)


def write_numbers(path: String, numbers: List[Float64]) raises:
    """Write the bytes of the `numbers` to the file `path`."""
    var bytes = numbers.unsafe_ptr().unsafe_bitcast[UInt8]()
    with open(path, "w") as file:
        file.write_bytes(Span(unsafe_ptr=bytes, length=8 * len(numbers)))

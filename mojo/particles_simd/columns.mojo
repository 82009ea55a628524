"""Rows of as many particles as a vector has lanes, transposed in registers."""

from std.sys.defines import get_defined_bool

from particles.arrays import Real, Vec

from .vectors import LANES, Lanes, Reals, Starts

comptime GATHERED = get_defined_bool["gathered", False]()
"""Whether coordinates are gathered, not transposed: `mojo build -D gathered=True`."""


@always_inline
def columns(x: Reals, j: Starts) -> Tuple[Lanes, Lanes, Lanes]:
    """The x, y and z of the particles whose rows begin at these places of x."""
    comptime if GATHERED:
        var rows = j.unsafe_load[width=LANES](0)
        return (
            x.unsafe_gather(rows),
            x.unsafe_offset(1).unsafe_gather(rows),
            x.unsafe_offset(2).unsafe_gather(rows),
        )
    elif LANES == 8:
        var a = row(x, j, 0).join(row(x, j, 2))
        var b = row(x, j, 1).join(row(x, j, 3))
        var c = row(x, j, 4).join(row(x, j, 6))
        var d = row(x, j, 5).join(row(x, j, 7))
        var xz0123 = a.shuffle[0, 8, 2, 10, 4, 12, 6, 14](b)
        var xz4567 = c.shuffle[0, 8, 2, 10, 4, 12, 6, 14](d)
        var y0123 = a.shuffle[1, 9, 3, 11, 5, 13, 7, 15](b)
        var y4567 = c.shuffle[1, 9, 3, 11, 5, 13, 7, 15](d)
        return (
            rebind[Lanes](xz0123.shuffle[0, 1, 4, 5, 8, 9, 12, 13](xz4567)),
            rebind[Lanes](y0123.shuffle[0, 1, 4, 5, 8, 9, 12, 13](y4567)),
            rebind[Lanes](xz0123.shuffle[2, 3, 6, 7, 10, 11, 14, 15](xz4567)),
        )
    else:
        var a, b = row(x, j, 0), row(x, j, 1)
        var c, d = row(x, j, 2), row(x, j, 3)
        var xz01, xz23 = a.shuffle[0, 4, 2, 6](b), c.shuffle[0, 4, 2, 6](d)
        var y01, y23 = a.shuffle[1, 5, 3, 7](b), c.shuffle[1, 5, 3, 7](d)
        return (
            rebind[Lanes](xz01.shuffle[0, 1, 4, 5](xz23)),
            rebind[Lanes](y01.shuffle[0, 1, 4, 5](y23)),
            rebind[Lanes](xz01.shuffle[2, 3, 6, 7](xz23)),
        )


@always_inline
def row(x: Reals, j: Starts, k: Int) -> Vec:
    """The row that begins where the k-th of j says."""
    return x.unsafe_load[width=4, alignment=32](Int(j[unsafe_offset=k]))


@always_inline
def sums(x: Lanes, y: Lanes, z: Lanes) -> Vec:
    """The sum over the lanes of each, and 0: without leaving the registers."""
    var x4, y4, z4 = halves_added(x), halves_added(y), halves_added(z)
    var xy = x4.shuffle[0, 4, 2, 6](y4) + x4.shuffle[1, 5, 3, 7](y4)
    var z0 = z4.shuffle[0, 4, 2, 6](Vec(0)) + z4.shuffle[1, 5, 3, 7](Vec(0))
    return xy.shuffle[0, 1, 4, 5](z0) + xy.shuffle[2, 3, 6, 7](z0)


@always_inline
def halves_added(a: Lanes) -> Vec:
    """Four numbers that have the same sum."""
    comptime if LANES == 8:
        return a.slice[4, offset=0]() + a.slice[4, offset=LANES - 4]()
    else:
        return rebind[Vec](a)

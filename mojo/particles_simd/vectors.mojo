"""Vectors of as many lanes as the processor has for one number of each particle."""

from std.bit import pop_count
from std.memory import pack_bits
from std.sys import CompilationTarget, llvm_intrinsic, simd_width_of
from std.sys.defines import get_defined_bool

from particles.arrays import PRECISION, Real, Vec

comptime LANES = 8 if simd_width_of[PRECISION]() >= 8 else 4
"""Eight with AVX-512; else four, of which the compiler makes what there is."""
comptime Lanes = SIMD[PRECISION, LANES]
"""One number of each of so many particles."""
comptime GATHERED = get_defined_bool["gathered", False]()
"""Whether coordinates are gathered, not transposed: `mojo build -D gathered=True`."""
comptime Rows = SIMD[DType.int32, LANES]
"""Where the rows of so many particles begin."""
comptime Reals = Pointer[Real, _]
"""Numbers, or rows of four, in memory."""
comptime Starts = Pointer[Int32, _]
"""Where rows begin, in memory."""


def whole_vectors(count: Int) -> Int:
    """The least multiple of the lanes that is not below the `count`."""
    return (count + LANES - 1) // LANES * LANES


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
        var a = row(x, j, 0).join(row(x, j, 4))
        var b = row(x, j, 1).join(row(x, j, 5))
        var c = row(x, j, 2).join(row(x, j, 6))
        var d = row(x, j, 3).join(row(x, j, 7))
        var xz01 = a.shuffle[0, 8, 2, 10, 4, 12, 6, 14](b)
        var xz23 = c.shuffle[0, 8, 2, 10, 4, 12, 6, 14](d)
        var y01 = a.shuffle[1, 9, 3, 11, 5, 13, 7, 15](b)
        var y23 = c.shuffle[1, 9, 3, 11, 5, 13, 7, 15](d)
        return (
            rebind[Lanes](xz01.shuffle[0, 1, 8, 9, 4, 5, 12, 13](xz23)),
            rebind[Lanes](y01.shuffle[0, 1, 8, 9, 4, 5, 12, 13](y23)),
            rebind[Lanes](xz01.shuffle[2, 3, 10, 11, 6, 7, 14, 15](xz23)),
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


@always_inline
def pack(
    out_: Starts[mut=True, ...], rows: Rows, wanted: SIMD[DType.bool, LANES]
) -> Int:
    """Write those wanted one after the other, and say how many they are.

    What lies behind them may be written over, as far as a vector reaches.
    """
    comptime if LANES == 8 and CompilationTarget.is_x86():
        # By way of a register: some processors take a hundred cycles to
        # compress into memory.
        out_.unsafe_store(
            0,
            llvm_intrinsic["llvm.experimental.vector.compress", Rows](
                rows, wanted, Rows(0)
            ),
        )
        return Int(pop_count(pack_bits[.uint8](wanted)))
    else:
        var found = 0
        comptime for lane in range(LANES):
            # No branch: what is not wanted is overwritten by the next.
            out_[unsafe_offset=found] = rows[lane]
            found += Int(wanted[lane])
        return found

"""Vectors of as many lanes as the processor has for one number of each particle."""

from std.bit import pop_count
from std.memory import pack_bits
from std.sys import CompilationTarget, llvm_intrinsic, simd_width_of, size_of

from particles.arrays import PRECISION, Real

comptime WIDE = simd_width_of[DType.float64]() >= 8
"""Whether there is AVX-512, or what is like it."""
comptime LANES = (64 if WIDE else 32) // size_of[Real]()
"""As many as fill a register; what there is not, the compiler makes of what there is."""
comptime Lanes = SIMD[PRECISION, LANES]
"""One number of each of so many particles."""
comptime MEMBERS = 8 if PRECISION == .float32 else 1
"""Particles that share a list."""
comptime AT_A_TIME = 16
"""So many candidates for a list are tested together, in single precision."""
comptime Rough = SIMD[DType.float32, AT_A_TIME]
"""One number of each of these."""
comptime Some = SIMD[DType.int32, AT_A_TIME]
"""Where their rows begin."""
comptime Rows = SIMD[DType.int32, LANES]
"""Where the rows of so many particles begin."""
comptime Reals = Pointer[Real, _]
"""Numbers, or rows of four, in memory."""
comptime Starts = Pointer[Int32, _]
"""Where rows begin, in memory."""


def whole(count: Int, of: Int) -> Int:
    """The least multiple of `of` that is not below the `count`."""
    return (count + of - 1) // of * of


@always_inline
def pair_forces(r2: Lanes) -> Lanes:
    """f(r)/r, rearranged to save two multiplications of the textbook's form.

    The plain port has that. With s = 1/r2 and u = k/r2, 24 (2 s^6 - s^3) s = u^4 (u^3 - b), if k^7 = 48 and
    b = k^3 / 2.
    """
    var u = 1.7385105064447572 / r2
    var u2 = u * u
    return (u2 * u - 2.6272534028385754) * (u2 * u2)


@always_inline
def pull(
    mut fx: Lanes,
    mut fy: Lanes,
    mut fz: Lanes,
    dx: Lanes,
    dy: Lanes,
    dz: Lanes,
    f_over_r: Lanes,
    near: SIMD[DType.bool, LANES],
):
    """Add to the forces f those of the pairs that are near, d apart."""
    var f = near.select(f_over_r, Lanes(0))
    fx += f * dx
    fy += f * dy
    fz += f * dz


@always_inline
def pack(
    out_: Starts[mut=True, ...],
    rows: Some,
    wanted: SIMD[DType.bool, AT_A_TIME],
) -> Int:
    """Write those wanted one after the other, and say how many they are.

    What lies behind them may be written over, as far as a vector reaches.
    """
    comptime if WIDE and CompilationTarget.is_x86():
        # By way of a register: some processors take a hundred cycles to
        # compress into memory.
        out_.unsafe_store(
            0,
            llvm_intrinsic["llvm.experimental.vector.compress", Some](
                rows, wanted, Some(0)
            ),
        )
        return Int(pop_count(pack_bits(wanted)))
    else:
        var found = 0
        comptime for lane in range(AT_A_TIME):
            # No branch: what is not wanted is overwritten by the next.
            out_[unsafe_offset=found] = rows[lane]
            found += Int(wanted[lane])
        return found

"""Who of a run of cells comes into a list.

In single precision, which has twice the lanes, and a little further than asked.
"""

from particles.arrays import Vec
from std.math import iota

from .system import System
from .vectors import AT_A_TIME, MEMBERS, Rough, pack


@always_inline
def list_run(
    mut system: System,
    number: Int,
    low: Vec,
    high: Vec,
    run: Tuple[Int, Int],
    own: Int32,
    listed: Int,
) -> Int:
    """Add those of a run that may be within reach of this box to the list of a part.

    Where lists are of one particle, that is where it is. The rows of those listed, but for those who share
    the list, whose rows begin at `own` and behind it, are written after those that are `listed`; how many they are.
    """
    var first, end = run
    ref part = system.parts.unsafe_get(number)
    part.make_room(listed, end - first)
    var neighbour = part.neighbour.unsafe_ptr()
    var reach2 = system.rough_reach2
    var least = low.cast[DType.float32]()
    var most = high.cast[DType.float32]()
    var x, y = system.x.unsafe_ptr(), system.y.unsafe_ptr()
    var z = system.z.unsafe_ptr()
    var member = system.member.unsafe_ptr()
    var found = 0
    for k in range(first, end, AT_A_TIME):
        var dx = apart(x.unsafe_load[width=AT_A_TIME](k), least[0], most[0])
        var dy = apart(y.unsafe_load[width=AT_A_TIME](k), least[1], most[1])
        var dz = apart(z.unsafe_load[width=AT_A_TIME](k), least[2], most[2])
        var some = member.unsafe_load[width=AT_A_TIME](k)
        # What is not a number may be near.
        var near = ~(dx * dx + dy * dy + dz * dz).ge(reach2)
        near &= (some - own).cast[DType.uint32]().ge(UInt32(4 * MEMBERS))
        near &= iota[DType.int32, AT_A_TIME]().lt(Int32(end - k))
        found += pack(neighbour.unsafe_offset(listed + found), some, near)
    return found


@always_inline
def apart(x: Rough, low: Float32, high: Float32) -> Rough:
    """How far each is outside of these bounds; which of a single particle are one."""
    comptime if MEMBERS > 1:
        return max(max(low - x, x - high), 0)
    else:
        return low - x

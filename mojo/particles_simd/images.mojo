"""Images of the particles near the faces of a periodic box."""

from particles.arrays import Vec
from particles.periodic import wrapped

from .system import System
from .vectors import MEMBERS, whole


def wrap(mut system: System):
    """Bring all particles back into the periodic box."""
    for i in range(system.particles):
        system.position[i] = wrapped(system.box, system.position[i])


def make_images(mut system: System):
    """Give each particle near a face an image beyond the opposite face.

    Axis by axis, and of images too: thus along edges and at corners.
    """
    var n = system.particles
    system.position.shrink(n)
    system.shift.clear()
    system.source.clear()
    for axis in range(3 if system.periodic else 0):
        for i in range(len(system.position)):
            for side in range(2):
                var x = system.position[i]
                var length = system.box[axis]
                if side == 0 and x[axis] < length - system.reach():
                    continue
                if side == 1 and x[axis] >= system.reach():
                    continue
                var source = Int32(i)
                var shift = Vec(0)
                if i >= n:
                    source = system.source[i - n]
                    shift = system.shift[i - n]
                shift[axis] = -length if side == 0 else length
                var from_source = system.position[Int(source)] + shift
                system.source.append(source)
                system.shift.append(shift)
                system.position.append(from_source)
    # Nobody, and as many more as the last list has no members.
    var rows = max(len(system.position) + 1, whole(n, MEMBERS))
    # He is out of reach, but no farther: so small a force that it underflows
    # would take all lanes a hundred cycles.
    var out = -2 * system.reach()
    system.position.resize(rows, Vec(out, out, out, 0))


def move_images(mut system: System, number: Int):
    """Let a part of the images follow their particles."""
    var images = len(system.source)
    var parts = len(system.parts)
    var first = images * number // parts
    for k in range(first, images * (number + 1) // parts):
        var i = Int(system.source.unsafe_get(k))
        system.position.unsafe_get(
            system.particles + k
        ) = system.position.unsafe_get(i) + system.shift.unsafe_get(k)

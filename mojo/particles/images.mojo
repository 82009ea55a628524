"""The particles of a periodic box wrapped, and their images around it."""

from .arrays import Real, Vec
from .periodic import wrapped
from .system import System


def wrap(mut system: System):
    """Bring all particles back into the periodic box."""
    for i in range(system.particles):
        system.position[i] = wrapped(system.box, system.position[i])


def make_images(mut system: System):
    """Give each particle near a face an image beyond the opposite face.

    Near edges and corners there are images beyond several faces, and in a small
    box a particle may be near two opposite faces. An image has the position of
    its particle and a shift beside it, so that the vector to it is rounded like
    the specification's, which subtracts the side of the box last.
    """
    system.position.shrink(system.particles)
    system.shift.shrink(system.particles)
    system.source.clear()
    for i in range(system.particles):
        var x = system.position[i]
        var up = x.le(system.reach())
        var down = x.ge(system.box - system.reach())
        for a in range(-Int(down[0]), Int(up[0]) + 1):
            for b in range(-Int(down[1]), Int(up[1]) + 1):
                for c in range(-Int(down[2]), Int(up[2]) + 1):
                    if a != 0 or b != 0 or c != 0:
                        var sides = Vec(Real(a), Real(b), Real(c), 0)
                        system.source.append(Int32(i))
                        system.position.append(x)
                        system.shift.append(sides * system.box)


def move_images(mut system: System, number: Int):
    """Let a part of the images follow their particles."""
    var images = len(system.source)
    var parts = len(system.parts)
    var first = images * number // parts
    for k in range(first, images * (number + 1) // parts):
        var i = Int(system.source[k])
        system.position[system.particles + k] = system.position[i]

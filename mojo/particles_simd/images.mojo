"""Images of the particles near the faces of a periodic box."""

from particles.arrays import Real, Vec
from particles.cells import Cell
from particles.periodic import wrapped
from particles.threads import Team

from .system import System
from .vectors import MEMBERS, whole


def wrap(mut system: System, number: Int):
    """Bring a part of the particles back into the periodic box."""
    ref part = system.parts[number]
    for i in range(part.first, part.last):
        ref x = system.position.unsafe_get(i)
        x = wrapped(system.box, x)


def make_images(mut system: System, mut team: Team) raises:
    """Give each particle near a face an image beyond the opposite face.

    Others beyond edges and corners to those that are near to them.
    """
    var images = 0
    if system.periodic:
        team.share[count_images](system)
        for ref part in system.parts:
            part.first_image = images
            images += part.last_image
            part.last_image = images
    var total = system.particles + images
    if total > Int(Int32.MAX) // 4 - MEMBERS:
        raise Error("particles and images cannot be listed in 32 bits")
    system.source.resize(images, 0)
    system.shift.resize(images, Vec(0))
    # Nobody, and as many more as the last list has no members. He is out of
    # reach, but no farther: so small a force that it underflows would take all
    # lanes a hundred cycles.
    var out = -2 * system.reach()
    var nobody = Vec(out, out, out, 0)
    system.position.resize(
        max(total + 1, whole(system.particles, MEMBERS)), nobody
    )
    for i in range(total, len(system.position)):
        system.position[i] = nobody
    if system.periodic:
        team.share[place_images](system)


def sides_moved(system: System, x: Vec) -> Tuple[Cell, Cell]:
    """By how many sides of the box the first and the last within reach of it are moved.

    Along each axis, of the particle at x and its images.
    """
    var none = Cell(0)
    return (
        x.ge(system.box - system.reach()).select(Cell(-1), none),
        x.lt(system.reach()).select(Cell(1), none),
    )


def count_images(mut system: System, number: Int):
    """Those of a part of the particles."""
    ref part = system.parts[number]
    var images = 0
    for i in range(part.first, part.last):
        var first, last = sides_moved(system, system.position.unsafe_get(i))
        var copies = last - first + 1  # with the particle itself
        images += copies[0] * copies[1] * copies[2] - 1
    part.last_image = images


def place_images(mut system: System, number: Int):
    """Those of a part of the particles: of whom they are, and where."""
    ref part = system.parts[number]
    var image = part.first_image
    for i in range(part.first, part.last):
        var x = system.position.unsafe_get(i)
        var first, last = sides_moved(system, x)
        for a in range(first[0], last[0] + 1):
            for b in range(first[1], last[1] + 1):
                for c in range(first[2], last[2] + 1):
                    if a == 0 and b == 0 and c == 0:
                        continue
                    var shift = Vec(Real(a), Real(b), Real(c), 0) * system.box
                    system.source.unsafe_get(image) = Int32(i)
                    system.shift.unsafe_get(image) = shift
                    system.position.unsafe_get(system.particles + image) = (
                        x + shift
                    )
                    image += 1


def move_images(mut system: System, number: Int):
    """Let the images of a part of the particles follow these."""
    ref part = system.parts[number]
    for k in range(part.first_image, part.last_image):
        var i = Int(system.source.unsafe_get(k))
        system.position.unsafe_get(
            system.particles + k
        ) = system.position.unsafe_get(i) + system.shift.unsafe_get(k)

"""In which order particles are kept."""

from particles.arrays import Vec

from .system import System


trait Order(Deinitable):
    """Places one behind the other, so that neighbours are near in memory."""

    def __init__(out self, system: System):
        """That of the particles of this box."""
        ...

    def slabs(self, system: System) -> Int:
        """How many there are along x."""
        ...

    def columns(self, system: System) -> Int:
        """How many there are in a slab."""
        ...

    def per_length(self, system: System) -> Vec:
        """How many there are in a unit of length along each axis."""
        ...

    def places(self, system: System) -> Int:
        """How many places there are."""
        ...

    def place(self, system: System, x: Vec) -> Int:
        """That of the point x."""
        ...

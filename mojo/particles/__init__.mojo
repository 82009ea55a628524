"""Particles in a box: the specification, python/particles/spec.py, in Mojo.

1. `load` a case and check it (simulation, parameters, arrays)
2. `rebuild` the list of neighbours (neighbours):
   `wrap` the particles into the periodic box and `make_images` of those near a
   face (images), `sort_into_cells` particles and images (cells), and for each
   particle `list_neighbours`, which are all within cutoff + skin
3. `advance` by velocity Verlet (motion): `kick`, `drift`, `move_images` or, if
   a particle `moved_too_far`, `rebuild`; `forces` (forces, pairs), `kick`
4. `observe` (observe) and `save`

A case has one or more boxes, a `System` each. A `Team` of threads works on one
box in parts, or on as many boxes at a time. What a particle's neighbours are,
and in which order their forces are added, does not depend on their number.

A `Simulation` takes any kind of `Box`, and `protocol` any `Simulation`: this
package's is the `PlainBox`.
"""

from .plain import PlainBox
from .protocol import serve

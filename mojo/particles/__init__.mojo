"""Particles in a box: the specification in Mojo, with lists of neighbours.

"""

from .simulation import Simulation
from .threads import Team

"""portbench: which language do I take this simulation to?

It takes one canonical Python specification of a simulation and its ports to other languages, proves
each port's numerical agreement with the specification, and compares their speed side by side.
"""

__version__ = "0.1.0"

from portbench.session import load_results

__all__ = ["__version__", "load_results"]

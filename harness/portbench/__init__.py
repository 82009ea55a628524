"""portbench: which language do I take this simulation to?

It takes one canonical Python specification of a simulation and its ports to other languages, proves
each port's numerical agreement with the specification, and compares their speed side by side.
"""

__version__ = "0.1.0"

__all__ = ["__version__", "load_results"]


def __getattr__(name: str) -> object:
    """Import pandas and the rest only for those who ask: every hosted port imports this package as it starts."""
    if name == "load_results":
        from portbench.session import load_results

        return load_results
    raise AttributeError(f"module 'portbench' has no attribute '{name}'")

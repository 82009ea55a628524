"""The NumPy port on several processors: its boxes are divided among them, as the Python ways of scaling out do it.

`port(name)` is one of these ways:

multiprocessing  a Pool of the standard library: each run sends every box to a process, and gets it back
loky             joblib's processes, to which boxes are sent too
threading        joblib's threads, which share the boxes, and the interpreter's lock

`parts` says what a run took: `stepping`, the time of the slowest share, and `handing_over`, all the rest. With one
thread, or one box, there is nothing to divide.
"""

import multiprocessing
import time
from itertools import pairwise

import numpy as np

from particles import port_numpy
from particles.checks import threads


def port(name):
    if name not in MAPS:
        raise ValueError(f"there is no way {name} to divide the boxes: there are {', '.join(MAPS)}")
    return Divided(MAPS[name])


class Divided:
    """The functions of a port; `map_shares` calls a function for each share of the boxes, all at once."""

    def __init__(self, map_shares):
        self.map_shares, self.last = map_shares, {}

    def about(self):
        return {"version": np.__version__, "threads": threads()}

    def load(self, parameters, state):
        self.last = {}
        return port_numpy.load(parameters, state)

    def run(self, systems, steps):
        start = time.perf_counter_ns()
        ends = [len(systems) * k // threads() for k in range(threads() + 1)]
        shares = [(systems[a:b], steps) for a, b in pairwise(ends) if b > a]
        done = self.map_shares(advance_share, shares) if len(shares) > 1 else [advance_share(*shares[0])]
        systems[:] = [system for share, _ in done for system in share]
        stepping = max(spent for _, spent in done)
        self.last = {"stepping": stepping, "handing_over": time.perf_counter_ns() - start - stepping}

    def parts(self, systems):
        return self.last

    def state(self, systems):
        self.last = {}
        return port_numpy.state(systems)


def advance_share(systems, steps):
    """The systems after so many steps, and the nanoseconds that these took."""
    start = time.perf_counter_ns()
    port_numpy.run(systems, steps)
    return systems, time.perf_counter_ns() - start


class Processes:
    """The standard library's, started when first needed."""

    def __init__(self):
        self.pool = None

    def __call__(self, function, shares):
        if self.pool is None:
            self.pool = multiprocessing.Pool(threads())
        return self.pool.starmap(function, shares, chunksize=1)


def with_joblib(backend):
    def map_shares(function, shares):
        import joblib  # not by who does without it

        # Not by files in shared memory, which joblib would make read-only: the boxes are changed in place.
        parallel = joblib.Parallel(n_jobs=threads(), backend=backend, max_nbytes=None)
        return parallel(joblib.delayed(function)(*share) for share in shares)

    return map_shares


MAPS = {"multiprocessing": Processes(), "loky": with_joblib("loky"), "threading": with_joblib("threading")}

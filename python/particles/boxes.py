"""The boxes of an ensemble, for Numba."""

from concurrent.futures import ThreadPoolExecutor

import numba
from numba.typed import List

from particles import checks

compiled = numba.njit(cache=True, error_model="numpy", nogil=True)


class Boxes:
    """One System for each box, in a list that compiled code goes through: a call from Python takes as long as a step.

    It is reached into through functions whose machine code is kept: that of the list's own methods Numba makes anew in
    each process.
    """

    def __init__(self, systems):
        self.count, self.systems = len(systems), only(systems[0])
        for system in systems[1:]:
            append(self.systems, system)

    def __getitem__(self, box):
        return nth(self.systems, box)

    def advance(self, some, steps):
        """some(systems, first, end, steps): many boxes are divided over the threads, or else the particles of the only
        one."""
        threads = min(numba.get_num_threads(), self.count)
        if threads == 1 or numba.threading_layer() == "workqueue":  # which only one thread may use
            return some(self.systems, 0, self.count, steps)
        ends = [self.count * part // (8 * threads) for part in range(8 * threads + 1)]  # a late thread takes fewer
        with ThreadPoolExecutor(threads, initializer=numba.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(lambda first, end: some(self.systems, first, end, steps), ends, ends[1:]))


@compiled
def only(system):
    systems = List()
    systems.append(system)
    return systems


@compiled
def append(systems, system):
    systems.append(system)


@compiled
def nth(systems, box):
    return systems[box]


check_forces = compiled(checks.check_forces)

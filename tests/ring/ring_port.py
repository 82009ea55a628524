"""Ports of the ring: port("") is right, and port(fault) is right from a fresh load but for this one fault."""

import threading
import time

import numpy as np
import ring

STEP = 5e-5  # seconds that a step lasts in ports whose clock is looked at
AHEAD = 1024  # steps that one of them makes at load: longer than a tick of any clock
LATE = 2100  # steps after which one goes wrong
ROOM = 512  # points
PLACES = 2.0**40  # numbers are whole multiples of one over this, where they are rounded


class Ring:
    def __init__(self, fault):
        self.fault, self.constants, self.now, self.waiting, self.done, self.loads = fault, {}, None, 0, None, 0
        self.wrong = False  # already

    def load(self, parameters, state):
        fault, same = self.fault, self.now and self.constants["points"] == parameters["points"]
        if fault == "changes before it refuses":
            self.constants = dict(parameters)
        ring.check_state(parameters, state)
        alike = self.now and all(np.array_equal(self.loaded[n], a) for n, a in state.items())
        self.loaded = {n: a.copy() for n, a in state.items()}
        kept = fault == "keeps constants of the same shape" and same
        if not (kept or (fault == "keeps constants of the same state" and alike)):
            self.constants = dict(parameters) | self.own_constants(parameters)
        before = self.now
        self.now = dict(state) if fault == "keeps what it was lent" else {n: a.copy() for n, a in state.items()}
        if fault == "keeps a point of the state before" and same:
            self.now["u"][-1] = before["u"][-1]
        self.runs = self.steps = self.waiting = self.ahead = 0
        self.loads += 1
        if fault == "works at load":
            self.last(AHEAD)
            self.ahead = AHEAD
        return self

    def own_constants(self, parameters):
        """Of "has its NAME typed in", the number of the named cases; of "NAME off by X", one that is so much larger."""
        if self.fault.startswith("has its "):
            name = self.fault.split()[2]
            return {name: ring.parameters()[name]}
        if " off by " in self.fault:
            name, by = self.fault.split(" off by ")
            return {name: parameters[name] * (1 + float(by))}
        return {}

    def run(self, _, steps):
        self.finish()
        if self.fault == "goes wrong once" and self.loads >= 12 and steps and not self.wrong:
            self.wrong = True
            self.now["u"] += 1e-6
        if self.fault == "kicks in no step" and not steps:
            self.kick(0.5)
        if self.fault == "forgets the force between runs" and self.runs and steps:
            self.kick(-0.5)
        if self.fault == "counts in a byte" and steps > 255:
            steps &= 255
        if self.fault == "saves a force of long ago" and self.steps <= LATE:
            self.earlier = ring.force(self.constants, self.now["u"])
        self.runs += 1
        self.steps += steps
        if self.fault == "works at save":
            self.waiting = steps
        elif self.fault == "does not wait for its work":
            self.done = threading.Thread(target=self.last, args=(steps,))
            self.done.start()
        elif self.fault == "stops its clock":
            stands = time.perf_counter_ns()
            self.last(steps)
            time.perf_counter_ns = lambda: stands
        elif self.fault == "works at load":
            self.last(max(0, steps - self.ahead))
            self.ahead = max(0, self.ahead - steps)
        elif self.fault == "lasts":
            self.last(steps)
        else:
            self.now = self.advance(steps)
        if self.fault == "loses speed once" and self.steps > LATE and not self.wrong:
            self.wrong = True
            self.now["v"] = 0.01 * self.now["v"]
        if self.fault == "goes wrong late" and self.steps > LATE:
            self.now["v"] = self.now["v"] * (1 - 1e-9)

    def kick(self, times):
        self.now["v"] = self.now["v"] + times * self.constants["dt"] * ring.force(self.constants, self.now["u"])

    def advance(self, steps):
        constants = self.constants
        if self.fault == "has a spring that is a little off":
            constants = {**constants, "stiffness": constants["stiffness"] * (1 + 1e-6)}
        if self.fault == "rounds to forty binary places":
            return ring.advance(constants, self.now, steps, rounded_sum)
        after = ring.advance(constants, self.now, steps)
        if self.fault == "has room for few" and steps:
            after = {n: np.append(a[:ROOM], self.now[n][ROOM:]) for n, a in after.items()}
        return after

    def last(self, steps):
        """Work for as long as so many steps last; what comes of it is not looked at."""
        until = time.perf_counter() + steps * STEP
        while time.perf_counter() < until:
            pass

    def finish(self):
        self.last(self.waiting)
        self.waiting = 0
        if self.done:
            self.done.join()
        self.done = None

    def state(self, _):
        self.finish()
        seen = ring.observe(self.constants, self.now)
        if self.fault == "saves a force of long ago" and self.steps > LATE:
            seen["force"] = self.earlier
        if self.fault == "saves a wrong energy late" and self.steps > LATE:
            seen["energy"] = seen["energy"] * (1 + 1e-9)
        return self.now | seen


def rounded_sum(terms, axis):
    return np.sum(np.rint(terms * PLACES), axis=axis) / PLACES


def port(fault=""):
    return Ring(fault)

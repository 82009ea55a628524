"""python tests/benchmarks/sizes.py [--ports mojo-simd,cpp-simd] [--threads 1,2]: a liquid of 108 to a million.

The liquid of melt-4k in larger and smaller boxes: time for a particle and step, and memory at the most, of each port,
in fresh processes in turns; written to results/sizes.json. All boxes are timed over the same steps after they melted,
for a list of neighbours lives longer in some states than in others. The specification, which looks at all pairs, is
left behind beyond some ten thousand particles: there each port's forces are compared with the terms that the
specification says they have, on a sample of the particles and in disorder, where they do not cancel.
"""

import argparse
import json
import random
import sys
from pathlib import Path

import numpy as np

from portbench import contract, hosts, manifest, session
from portbench.agreement.reference import rounded, rounded_parameters
from portbench.agreement.twins import CLASSES
from portbench.contract import Case, Fields, Specification
from portbench.errors import PortFailure
from portbench.protocol import Exchange
from portbench.timing import conditions
from portbench.timing.scheduler import memory

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "results" / "sizes.json"
CELLS = [(3, 3, 3), (5, 5, 5), (10, 10, 10), (20, 20, 20), (40, 40, 40), (50, 50, 100)]  # of four particles each
STEPS = 100  # to melt, and again to be timed
SECONDS = 0.3  # at least, of timed steps
SAMPLE = 16  # particles whose forces are checked
ROUNDINGS = 64  # of the sides of the box, relative to the terms of a force: so far may a force be off


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--ports", default="cpp-simd,mojo-simd,julia-simd,numba-simd,cpp,mojo,julia,numba")
    parse.add_argument("--threads", default="1")
    parse.add_argument("--rounds", type=int, default=3)
    parse.add_argument("--most", type=int, default=1_000_000, help="particles")
    given = parse.parse_args()
    found = manifest.read(ROOT / "portbench.toml")
    specification = contract.load(found)
    ready = [hosts.prepare(found, found.ports[name]) for name in given.ports.split(",")]
    some = {f"{4 * np.prod(c):,}": {"base": "melt-4k", "cells": c} for c in CELLS if 4 * np.prod(c) <= given.most}
    rows = []
    for case in specification.cases(list(some), some):
        start, disorder = specification.initial_state(case.parameters), specification.disordered_state(case.parameters)
        contenders = [(r, int(t)) for r in ready for t in given.threads.split(",")] * given.rounds
        random.Random(case.name).shuffle(contenders)
        unchecked = {r.port.name for r in ready}
        for one, threads in contenders:
            row = {"port": one.port.name, "threads": threads, "particles": case.parameters["particles"]}
            processors = conditions.processors(threads)
            process = hosts.start(one, threads, 1200, None, processors)
            with Exchange(process, specification, one.port.precision) as x:
                try:
                    row |= timed(x, case, start)
                    if one.port.name in unchecked:
                        unchecked.remove(one.port.name)
                        row["worst"] = worst(x, specification, case, disorder)
                except PortFailure as failure:
                    row["failure"] = str(failure)
            rows.append(row)
            print(json.dumps(row), file=sys.stderr)
    RESULT.write_text(json.dumps({"steps": STEPS, "machine": session.machine(), "rows": rows}, indent=1) + "\n")


def timed(x: Exchange, case: Case, state: Fields) -> dict[str, float]:
    """Nanoseconds for a particle and step, and bytes at the most for a particle."""
    x.port.hello()
    nanoseconds = runs = 0
    while nanoseconds < SECONDS * 1e9:
        x.load(case.parameters, state)
        x.port.run(STEPS)
        nanoseconds += x.port.run(STEPS)
        runs += 1
    each = case.parameters["particles"]
    return {"nanoseconds": nanoseconds / runs / STEPS / each, "bytes": memory(x.port) / each}


def worst(x: Exchange, specification: Specification, case: Case, state: Fields) -> float:
    """How far a force of the sample is off at most, over what rounding may do; more than 1 ends all."""
    precision = CLASSES[x.precision]
    parameters = rounded_parameters(case.parameters, precision.dtype)
    state = rounded(state, precision.dtype)
    x.load(parameters, state)
    x.port.run(0)
    force = x.save(parameters)[1]["force"]
    limit, ratio = ROUNDINGS * precision.eps * max(parameters["box"]), 0.0
    for i in np.random.default_rng(1).choice(parameters["particles"], SAMPLE, replace=False):
        for axis in range(3):
            terms = np.array([t for _, t in specification.terms(parameters, state, "force", (0, int(i), axis))])
            ratio = max(ratio, abs(force[0, i, axis] - terms.sum()) / (limit * np.abs(terms).sum()))
    if not ratio <= 1:
        sys.exit(
            f"{x.port.name} is wrong at {parameters['particles']} particles: {ratio:.3g} times what rounding may do"
        )
    return float(ratio)


if __name__ == "__main__":
    main()

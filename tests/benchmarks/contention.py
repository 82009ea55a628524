"""python tests/benchmarks/contention.py [--ports mojo-simd,cpp-simd] [--case melt-4k]: threads beside a busy program.

Each port's time for a step on one thread and on two, with two processors to itself, and with a program on one of them
that never rests; in turns, as ratios within rounds; written to results/contention.json. A port whose threads wait for
each other in vain is slower on two than on one, by far.
"""

import argparse
import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from portbench import contract, hosts, manifest, session
from portbench.protocol import Exchange
from portbench.timing import conditions
from portbench.timing.statistics import estimate

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "results" / "contention.json"
CONFIDENCE = 0.95
SECONDS = 0.3  # of a run
NEVER_RESTS = "import os, sys; os.sched_setaffinity(0, [int(sys.argv[1])])\nwhile True: pass"


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--ports", default="cpp-simd,mojo-simd,julia-simd,numba-simd,cpp,mojo,julia,numba")
    parse.add_argument("--case", default="melt-4k")
    parse.add_argument("--rounds", type=int, default=9)
    given = parse.parse_args()
    found = manifest.read(ROOT / "portbench.toml")
    specification = contract.load(found)
    (case,) = specification.cases([given.case], {})
    state = specification.initial_state(case.parameters)
    both = conditions.processors(2)
    if len(both) < 2:
        parse.error("this needs two processors")
    rows = []
    for name in given.ports.split(","):
        ready = hosts.prepare(found, found.ports[name])
        times: dict[tuple[int, bool], list[float]] = {}
        with ExitStack() as last:
            running, steps = {}, {}
            for threads in (1, 2):
                process = hosts.start(ready, threads, 600, None, both[:threads])
                x = last.enter_context(Exchange(process, specification, ready.port.precision))
                x.port.hello()
                x.load(case.parameters, state)
                x.port.run(50)
                steps[threads] = max(1, round(50 * SECONDS * 1e9 / x.port.run(50)))
                running[threads] = x
            for _ in range(given.rounds):
                for busy in (False, True):
                    with ExitStack() as beside:
                        if busy:
                            program = subprocess.Popen([sys.executable, "-c", NEVER_RESTS, str(both[-1])])
                            beside.callback(program.wait)
                            beside.callback(program.kill)
                        for threads, x in running.items():
                            took = x.port.run(steps[threads]) / steps[threads]
                            times.setdefault((threads, busy), []).append(took)
            for x in running.values():
                x.port.quit()
        ratios = {
            "two_over_one": ((1, False), (2, False)),
            "two_over_one_while_busy": ((1, True), (2, True)),
            "two_while_busy_over_one_alone": ((1, False), (2, True)),
        }
        row = {"port": name}
        for ratio, (slow, fast) in ratios.items():
            e = estimate(np.array(times[slow]) / np.array(times[fast]), CONFIDENCE)
            row[ratio] = {"value": e.value, "low": e.low, "high": e.high}
        rows.append(row)
        print(json.dumps(row), file=sys.stderr)
    document = {"case": given.case, "rounds": given.rounds, "machine": session.machine(), "rows": rows}
    RESULT.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()

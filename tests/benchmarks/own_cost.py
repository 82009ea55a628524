"""python tests/benchmarks/own_cost.py [--ports mojo,numba]: what portbench itself adds to what it measures.

For each port, a Python module or an executable in double precision, on liquid-500, all ratios taken side by side;
written to results/own-cost.json:

* round trip: the harness's wait for `run 0`, less the time that the port says it took;
* reported over alone: the time per step that `portbench bench` reports over the one that the port's program
  reports where a person runs it by hand, unpinned, in turns;
* watched over unwatched: the port's time where memory and conditions are sampled, as in a session, over where not;
* predicted over real: a whole run's time by `portbench cost` over its wall time, from exec to exit.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from portbench import contract, exchange, hosts, manifest, session
from portbench.protocol import Exchange
from portbench.report import summary
from portbench.timing import conditions
from portbench.timing.conditions import Watch
from portbench.timing.cost import costs
from portbench.timing.scheduler import memory
from portbench.timing.statistics import estimate

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "results" / "own-cost.json"
CASE = "liquid-500"
CONFIDENCE = 0.95
WARM, STEPS = 1500, 4000  # by hand: before, and in, the run that counts
LONG = 50_000  # steps of the run that is predicted
BY_HAND = """
import sys, time
sys.path.insert(0, "python")
from particles import spec
import {module} as port
parameters = spec.parameters(**spec.CASES["{case}"])
system = port.load(parameters, spec.initial_state(parameters))
for steps in {runs}:
    start = time.perf_counter_ns()
    port.run(system, steps)
    print(f"nanoseconds={{time.perf_counter_ns() - start}}")
"""


def by_hand(ready, folder: Path, runs: list[int]) -> list[int]:
    """Nanoseconds of each run as the port's own program says them, without portbench's worker, clock or processors."""
    if ready.port.host == "executable":
        command = ready.command
        told = "".join(f"{line}\n" for line in ("hello", f"load {folder}", *(f"run {n}" for n in runs), "quit"))
    else:
        command, told = [sys.executable, "-c", BY_HAND.format(module=ready.port.module, case=CASE, runs=runs)], ""
    one_thread = {**os.environ, "PORTBENCH_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    done = subprocess.run(command, input=told, capture_output=True, text=True, cwd=ROOT, check=True, env=one_thread)
    return [int(word.split("=")[1]) for word in done.stdout.split() if word.startswith("nanoseconds=")]


def reported(ports: list[str]) -> dict:
    """The document of a session of the shortest kind."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "portbench", "bench", "--quiet", "--json", "--budget", "0"]
        command += ["--ports", ",".join(ports), "--cases", CASE, "--results", folder]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        return session.read(json.loads(done.stdout)["session"])


def round_trips(x: Exchange, count: int) -> np.ndarray:
    """Nanoseconds that the harness waits for `run 0` beside what the port says it took."""
    found = []
    for _ in range(count):
        begin = time.perf_counter_ns()
        took = x.port.run(0)
        found.append(time.perf_counter_ns() - begin - took)
    return np.array(found)


def watched(x: Exchange, steps: int, pairs: int) -> np.ndarray:
    """The port's time where it is sampled as in a session, over where it is not, in turns; both orders alike."""
    family, ratios = conditions.family(x.port), []
    for k in range(pairs):
        times = {}
        for watch in (True, False) if k % 2 else (False, True):
            before = Watch.now(family) if watch else None
            times[watch] = x.port.run(steps)
            if before:
                before.until(Watch.now(family), 1.0)
                memory(x.port)
        ratios.append(times[True] / times[False])
    return np.array(ratios)


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--ports", default="mojo,numba")
    parse.add_argument("--sessions", type=int, default=6)
    parse.add_argument("--pairs", type=int, default=200)
    given = parse.parse_args()
    ports = given.ports.split(",")
    found = manifest.read(ROOT / "portbench.toml")
    specification = contract.load(found)
    (case,) = specification.cases([CASE], {})
    ready = {name: hosts.prepare(found, found.ports[name]) for name in ports}
    if any(r.port.host == "julia" or r.port.precision == "float32" for r in ready.values()):
        parse.error("by hand only Python modules and executables in double precision are run")
    state = specification.initial_state(case.parameters)
    alone: dict[str, list] = {name: [] for name in ports}
    real: dict[str, list] = {name: [] for name in ports}
    predicted: dict[str, list] = {name: [] for name in ports}
    rows = []
    with tempfile.TemporaryDirectory() as one:
        exchange.write_parameters(Path(one), case.parameters)
        exchange.write_fields(Path(one), state, "float64")
        for k in range(given.sessions):
            document = reported(ports)
            told = {
                r.port: r.time.value * specification.work(case.parameters) for r in summary.rows(document) if r.time
            }
            for name in ports:
                alone[name].append(told[name] / (by_hand(ready[name], Path(one), [WARM, STEPS])[1] / STEPS))
                begin = time.perf_counter()
                by_hand(ready[name], Path(one), [LONG])
                real[name].append(time.perf_counter() - begin)
                predicted[name].append(costs(document, name, 1)[CASE].total(LONG, CONFIDENCE).value)
            print(f"session {k + 1} of {given.sessions}", file=sys.stderr)
    for name in ports:
        given_to = conditions.processors(1)
        with Exchange(hosts.start(ready[name], 1, 600, None, given_to), specification, ready[name].port.precision) as x:
            x.port.hello()
            x.load(case.parameters, state)
            x.port.run(WARM)
            trips = round_trips(x, 2000)
            ratios = watched(x, max(1, round(WARM * 0.15e9 / x.port.run(WARM))), given.pairs)
        row = {
            "port": name,
            "round_trip_microseconds": {q: float(np.percentile(trips, q)) / 1e3 for q in (50, 95, 99)},
            "reported_over_alone": vars(estimate(np.array(alone[name]), CONFIDENCE)),
            "watched_over_unwatched": vars(estimate(ratios, CONFIDENCE)),
            "predicted_over_real": vars(estimate(np.array(predicted[name]) / real[name], CONFIDENCE)),
        }
        rows.append(row)
        print(json.dumps(row))
    about = {"case": CASE, "sessions": given.sessions, "pairs": given.pairs, "machine": session.machine()}
    RESULT.write_text(json.dumps(session.plain({**about, "rows": rows}), indent=1) + "\n")


if __name__ == "__main__":
    main()

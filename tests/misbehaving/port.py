"""port.py MODE: a port of the wave that is right in all but one way, which MODE names.

It speaks the protocol itself, on raw standard input and output, so that it can break every rule.
"""

import os
import sys
import time
import wave  # the specification in tests/wave, on PYTHONPATH
from pathlib import Path

import numpy as np

from portbench import exchange
from portbench.contract import Specification

MODE = sys.argv[1]
STARTED = time.perf_counter()
SPEC = Specification(wave)
parameters, state = None, None


def say(text: str) -> None:
    os.write(1, text.encode() + b"\n")


def hello() -> str:
    threads = 7 if MODE == "lies about its threads" else 1
    protocol = 2 if MODE == "speaks another protocol" else 1
    device = os.environ.get("SLOWLY", "cpu")
    return (
        f"ok protocol={protocol} port=bad language=Python version=3 threads={threads} precision=float64 device={device}"
    )


def load(folder: str) -> str:
    global parameters, state
    if MODE == "ignores what it cannot read" and not Path(folder).is_dir():
        return "ok"
    given = exchange.read_parameters(Path(folder))
    fields = exchange.read_fields(Path(folder), SPEC.state, given)
    if MODE == "refuses long steps" and given["dt"] == 1.0:
        return "error the time step is too long for me"
    if MODE != "loads NaN" and not all(np.all(np.isfinite(a)) for a in fields.values()):
        return "error not finite"
    parameters, state = given, fields
    return "ok"


def run(steps: str) -> str:
    global state
    if MODE == "leaves its processors":
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    if MODE == "crashes":
        os.abort()
    if MODE == "exits":
        print("cannot go on: disk of cheese is full", file=sys.stderr)
        sys.exit(3)
    if MODE == "hangs":
        time.sleep(3600)
    if MODE == "refuses to run":
        return "error the stars are wrong"
    if MODE == "forgets the time":
        return "ok"
    if MODE == "floods":
        os.write(1, b"x" * 1_000_000)
    if MODE == "prints":
        say("step 1 of 100")
    if MODE == "answers twice":
        say("ok nanoseconds=1")
    if MODE == "answers too soon":
        say("ok nanoseconds=1")
        time.sleep(0.3)
    begin = time.perf_counter_ns()
    if MODE != "does nothing":
        state = wave.advance(parameters, state, int(steps))
    if MODE == "lies about the time":
        return "ok nanoseconds=999999999999999"
    if MODE == "lies about the time later" and time.perf_counter() - STARTED > 1 and int(steps) > 100:
        return f"ok nanoseconds={(time.perf_counter_ns() - begin) // 4}"
    if MODE == "turns NaN":
        next(iter(state.values())).flat[-1] = np.nan
    return f"ok nanoseconds={time.perf_counter_ns() - begin}"


def save(folder: str) -> str:
    fields = state | SPEC.observe(parameters, state)
    last = list(fields)[-1]
    if MODE == "writes nothing":
        return "ok"
    if MODE == "forgets a field":
        fields.pop(last)
    if MODE == "saves a wrong shape":
        fields[last] = np.append(fields[last], 1.0)
    echoed = dict(parameters)
    if MODE == "rounds the parameters":
        echoed = {name: float(f"{v:.10g}") if isinstance(v, float) else v for name, v in parameters.items()}
    exchange.write_parameters(Path(folder), echoed)
    exchange.write_fields(Path(folder), fields)
    return "ok"


if MODE == "prints a banner":
    say("Welcome to my port!")
for line in sys.stdin:
    verb, _, rest = line.strip().partition(" ")
    known = {"hello": lambda _: hello(), "load": load, "run": run, "save": save, "quit": lambda _: "ok"}
    try:
        if verb in known:
            say(known[verb](rest))
        else:
            say("ok" if MODE == "knows every command" else f"error unknown command {verb}")
    except (ValueError, KeyError, OSError) as error:
        say(f"error {error}")
    if verb == "quit":
        break

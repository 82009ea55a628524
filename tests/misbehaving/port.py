"""port.py MODE: a port of the wave that is right in all but one way, which MODE names.

It speaks the protocol itself, on raw standard input and output, so that it can break every rule.
"""

import os
import signal
import sys
import time
import wave  # the specification in tests/wave, on PYTHONPATH
from pathlib import Path

import numpy as np

from portbench import exchange
from portbench.contract import Specification

MODE = sys.argv[1]
SPEC = Specification(wave)
parameters, state = None, None
seen, long_runs = {1}, 0  # numbers of steps that it has compiled for
late: list[str] = []  # replies of a port that is one behind
checked, left = False, 0  # whether an unknown command was ever sent to this process, and steps that `save` makes


def say(text: str) -> None:
    if MODE == "forgets to flush":
        return  # it stays in a buffer
    if MODE == "keeps refusals to itself" and text.startswith("error"):
        return
    if MODE == "replies one behind":
        late.append(text)
        text = late[-2] if len(late) > 1 else text
    os.write(1, text.encode() + b"\n")


def clock() -> int:
    """Nanoseconds, by a clock of 10 ms ticks where the port has no better one."""
    now = time.perf_counter_ns()
    return now - now % 10_000_000 if MODE in ("has a coarse clock", "has a coarse clock of half speed") else now


def hello() -> str:
    threads = 7 if MODE == "lies about its threads" else 1
    protocol = 2 if MODE == "speaks another protocol" else 1
    device = os.environ.get("SLOWLY", "cpu")
    return (
        f"ok protocol={protocol} port=bad language=Python version=3 threads={threads} precision=float64 device={device}"
    )


def load(folder: str) -> str:
    global parameters, state, left
    left = 0
    if MODE == "ignores what it cannot read" and not Path(folder).is_dir():
        return "ok"
    given = exchange.read_parameters(Path(folder))
    fields = exchange.read_fields(Path(folder), SPEC.state, given)
    if MODE == "refuses long steps" and given["dt"] == 1.0:
        return "error the time step is too long for me"
    if MODE != "loads NaN" and not all(np.all(np.isfinite(a)) for a in fields.values()):
        return "error not finite"
    if MODE == "maps the files it was lent":
        fields = {name: np.memmap(Path(folder) / f"{name}.f64", "<f8", "r") for name in fields}
    parameters, state = given, fields
    return "ok"


def run(steps: str) -> str:
    global state, long_runs, left
    if MODE == "leaves its processors":
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    if MODE == "crashes":
        os.abort()
    if MODE == "ends by a real-time signal":
        os.kill(os.getpid(), signal.SIGRTMIN + 1)
    if MODE == "dies and leaves a child":
        if os.fork() == 0:
            time.sleep(60)
        os.kill(os.getpid(), signal.SIGKILL)
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
    if MODE == "compiles for each number of steps" and int(steps) not in seen:
        seen.add(int(steps))
        until = time.perf_counter() + 0.1
        while time.perf_counter() < until:
            pass
    if MODE == "acknowledges a run and makes it afterwards":
        say("ok nanoseconds=1000")
    if MODE == "acknowledges every command":
        say("ok")
    begin = clock()
    if MODE == "makes half of its steps at save when it is timed" and not checked:
        left += int(steps) // 2
        steps = str(int(steps) - int(steps) // 2)
    if MODE == "makes 1500 steps at most":
        steps = str(min(int(steps), 1500))
    if MODE == "counts steps in eleven bits":
        steps = str(int(steps) & 2047)
    if MODE == "makes no long run" and int(steps) > 1500:
        steps = "0"
    if MODE != "does nothing":
        state = wave.advance(parameters, state, int(steps))
    if MODE == "acknowledges a run and makes it afterwards":
        return ""
    if MODE == "lies about the time":
        return "ok nanoseconds=999999999999999"
    if MODE == "lies about the time when it is timed" and not checked and int(steps) > 100:
        return f"ok nanoseconds={(time.perf_counter_ns() - begin) // 4}"
    if MODE == "lies in every third long run" and time.perf_counter_ns() - begin > 40_000_000:
        long_runs += 1
        if long_runs % 3 == 0:
            return f"ok nanoseconds={(time.perf_counter_ns() - begin) // 4}"
    if MODE == "turns NaN":
        next(iter(state.values())).flat[-1] = np.nan
    nanoseconds = clock() - begin
    if MODE == "has a clock that rounds down":
        nanoseconds -= nanoseconds % 10_000_000
    if MODE == "has a coarse clock of half speed":
        nanoseconds -= nanoseconds // 10_000_000 % 2 * 10_000_000
        nanoseconds //= 2
    if MODE == "has a clock that stands still":
        nanoseconds = 0
    return f"ok nanoseconds={nanoseconds}"


def save(folder: str) -> str:
    global state, left
    state, left = wave.advance(parameters, state, left), 0
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
            if reply := known[verb](rest):
                say(reply)
        else:
            checked = True
            say("ok" if MODE == "knows every command" else f"error unknown command {verb}")
    except (ValueError, KeyError, OSError) as error:
        say(f"error {error}")
    if verb == "quit":
        break

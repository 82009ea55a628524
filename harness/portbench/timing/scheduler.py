"""Takes the samples: rounds of fresh processes, in which the ports' turns come in random order.

A block is one case at one thread count. In each round every port gets one fresh process per thread
count, which serves the blocks one after the other; another block comes first in each round, so that
each is at times the first that a process sees. Within a block the ports take turns, shuffled anew
each time, so that whatever the machine does hits all alike. Each finished sample is on disk before
the next begins. Rounds are repeated until the time budget is used; at least LEAST_ROUNDS are made.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from portbench import hosts
from portbench.contract import Case, Specification
from portbench.errors import PortFailure
from portbench.hosts import Ready
from portbench.protocol import Exchange, RunningPort
from portbench.session import Session

LEAST_ROUNDS = 3
SAMPLES = 4  # in one round, per port and block
SAMPLE_SECONDS = 0.15  # long against the clock and the round trip
WARM_UP_SECONDS = 0.2
SLOW_STEP = 1.0  # a port whose step takes longer than this gets one sample a round
# Of the time that the harness waits, a port's clock must see this part at least. The specification's
# own leaves out its start, two of three evaluations in a run of one step.
LEAST_SEEN, LEAST_SEEN_BY_SPEC = 0.8, 0.1
PATIENCE = 600  # seconds for one command


@dataclass(frozen=True)
class Block:
    case: Case
    threads: int
    ports: list[Ready]


def measure(
    blocks: list[Block],
    specification: Specification,
    session: Session,
    budget: float,
    seed: int,
    progress: Callable[[float, str], None] = lambda *_: None,
) -> None:
    """Record samples and phases in the session until the budget (seconds) is used."""
    shuffle = random.Random(seed)
    order = shuffle.sample(blocks, len(blocks))
    past = _Past()
    begin = time.monotonic()
    longest = 0.0
    for number in range(10_000):
        round_began = time.monotonic()
        if number >= LEAST_ROUNDS and round_began - begin + longest > budget:
            break
        turned = order[number % len(order) :] + order[: number % len(order)]
        thread_counts = list(dict.fromkeys(block.threads for block in turned))
        done = 0
        for threads in thread_counts:
            with _Round(number, threads, specification, session, shuffle, past) as round_:
                for block in turned:
                    if block.threads != threads:
                        continue
                    share = (number + done / len(blocks)) / LEAST_ROUNDS
                    if budget:
                        share = min(share, (time.monotonic() - begin) / budget)
                    plural = f"{threads} thread{'s' * (threads > 1)}"
                    progress(min(share, 1.0), f"round {number + 1}: {block.case.name}, {plural}")
                    round_.measure(block)
                    done += 1
        longest = max(longest, time.monotonic() - round_began)
    session.record("measured", rounds=number, seconds=time.monotonic() - begin, seed=seed)


@dataclass
class _Past:
    """What earlier rounds saw."""

    started: set[str] = field(default_factory=set)  # ports that have had their first process
    failed: set[tuple[str, str, int]] = field(default_factory=set)  # port, case and threads at which one failed


class _Round:
    """The ports' processes in one round on one thread count; leaving it ends them all."""

    def __init__(
        self,
        number: int,
        threads: int,
        specification: Specification,
        session: Session,
        shuffle: random.Random,
        past: _Past,
    ):
        self.number, self.threads = number, threads
        self.specification, self.session, self.shuffle, self.past = specification, session, shuffle, past
        self.runners: dict[str, _Runner] = {}

    def __enter__(self) -> _Round:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        for runner in self.runners.values():
            if kind is None:
                runner.port.quit()
            runner.close()

    def measure(self, block: Block) -> None:
        """One block: every port is loaded and warmed up, then they take turns."""
        where = {"case": block.case.name, "threads": block.threads, "round": self.number}
        here = [r for r in block.ports if (r.port.name, block.case.name, block.threads) not in self.past.failed]
        begun = [r.port.name for r in self._mixed(here) if self._attempt(r.port.name, where, self._begin, r, block)]
        alive = [self.runners[name] for name in begun]
        for turn in range(SAMPLES):
            for runner in self._mixed(alive):
                if turn < runner.samples and not self._attempt(runner.name, where, self._sample, runner, turn):
                    alive.remove(runner)
        for runner in alive:
            self._attempt(runner.name, where, self._finish, runner, block)

    def _mixed(self, some: list) -> list:
        return self.shuffle.sample(some, len(some))

    def _attempt(self, name: str, where: dict[str, Any], act: Callable, *what: Any) -> bool:
        """Whether it went well. A port that fails is recorded, ended, and not asked this again."""
        try:
            act(*what, where)
        except PortFailure as failure:
            self.past.failed.add((name, where["case"], where["threads"]))
            if name in self.runners:
                self.runners.pop(name).close()
            self.session.record(
                "failure", port=name, how=failure.kind, sentence=failure.sentence, log=failure.log, **where
            )
            return False
        return True

    def _begin(self, ready: Ready, block: Block, where: dict[str, Any]) -> None:
        """Start the port if it does not run; load, first call, warm-up."""
        name, phases = ready.port.name, {}
        if name not in self.runners:
            self.runners[name] = _Runner(ready, self.threads, self.specification, cold=name not in self.past.started)
            self.past.started.add(name)
            phases = self.runners[name].hello()
        runner = self.runners[name]
        phases |= runner.begin(block.case, self.specification)
        kind = {"cold": bool(runner.cold) and runner.fresh, "fresh": runner.fresh}
        for phase, nanoseconds in phases.items():
            self.session.record("phase", port=name, phase=phase, nanoseconds=nanoseconds, **kind, **where)

    def _sample(self, runner: _Runner, turn: int, where: dict[str, Any]) -> None:
        nanoseconds, round_trip = runner.sample()
        times = {"nanoseconds": nanoseconds, "round_trip": round_trip}
        self.session.record("sample", port=runner.name, turn=turn, steps=runner.steps, **times, **where)

    def _finish(self, runner: _Runner, block: Block, where: dict[str, Any]) -> None:
        """The peak of memory; read the final state, so that the work was needed."""
        peak = memory(runner.port)
        runner.exchange.save(block.case.parameters)
        self.session.record("memory", port=runner.name, rest=runner.rest, peak=peak, fresh=runner.fresh, **where)
        runner.fresh = False


class _Runner:
    """One port's process."""

    def __init__(self, ready: Ready, threads: int, specification: Specification, cold: bool):
        self.name = ready.port.name
        self.least = LEAST_SEEN_BY_SPEC if ready.port.host == "spec" else LEAST_SEEN
        # A port's first process pays for compilation: it finds no kernels left over from earlier runs.
        self.cold = tempfile.mkdtemp(prefix="portbench-cold-") if cold else ""
        environment = {"NUMBA_CACHE_DIR": self.cold} if cold else {}
        started = hosts.start(ready, threads, PATIENCE, environment)
        self.exchange = Exchange(started, specification, ready.port.precision)
        self.port = self.exchange.port
        self.fresh = True  # no block is behind it yet
        self.rest = 0  # bytes before the first load
        self.steps = 1  # in a sample
        self.samples = SAMPLES  # in this block

    def close(self) -> None:
        self.exchange.close()
        if self.cold:
            shutil.rmtree(self.cold, ignore_errors=True)

    def hello(self) -> dict[str, int]:
        """Nanoseconds until it answered, and of its imports by its own account."""
        said = self.port.hello()
        start = time.perf_counter_ns() - self.port.started
        self.rest = memory(self.port)
        return {"start": start, "import": int(said.get("import_nanoseconds", 0))}

    def begin(self, case: Case, specification: Specification) -> dict[str, int]:
        """Load, first call and warm-up, each in nanoseconds."""
        state = specification.initial_state(case.parameters)
        begin = time.perf_counter_ns()
        self.exchange.load(case.parameters, state)
        loaded = time.perf_counter_ns()
        self.port.run(1)
        called = time.perf_counter_ns()
        self._warm_up()
        return {
            "load": loaded - begin,
            "first_call": called - loaded,
            "warm_up": time.perf_counter_ns() - called,
        }

    def _warm_up(self) -> None:
        """Run until WARM_UP_SECONDS are spent, doubling the steps; decides how many steps make a sample.

        It goes by the longest run, and believes the port's clock only where the harness's own allows it: a
        port may say that one step took no time at all, and a sample of as many steps would not end.
        """
        begin, steps, most, per_step = time.perf_counter(), 1, 0, 0.0
        while (left := WARM_UP_SECONDS - (time.perf_counter() - begin)) > 0:
            if most:
                steps = max(1, min(2 * most, round(left / per_step)))
            start = time.perf_counter()
            claimed = self.port.run(steps) / 1e9
            waited = time.perf_counter() - start
            if steps >= most:
                most, per_step = steps, max(claimed, self.least * waited) / steps
        self.steps = max(1, round(SAMPLE_SECONDS / per_step))
        self.samples = SAMPLES if per_step < SAMPLE_SECONDS else 1 if per_step > SLOW_STEP else 2

    def sample(self) -> tuple[int, int]:
        """Nanoseconds by the port's clock and by the harness's."""
        begin = time.perf_counter_ns()
        nanoseconds = self.port.run(self.steps)
        round_trip = time.perf_counter_ns() - begin
        if not self.least * round_trip <= nanoseconds <= round_trip:
            raise PortFailure(
                "protocol",
                f"{self.name} says that {self.steps} steps took {nanoseconds} ns, "
                f"and the harness waited {round_trip} ns: its clock is wrong",
            )
        return nanoseconds, round_trip


def memory(port: RunningPort) -> int:
    """Peak resident bytes of a port's process so far, children included; 0 where the system does not tell."""
    try:
        process = psutil.Process(port.process.pid)
        return sum(_peak(p) for p in [process, *process.children(recursive=True)])
    except psutil.Error:
        return 0


def _peak(process: psutil.Process) -> int:
    status = Path(f"/proc/{process.pid}/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return int(process.memory_info().rss)

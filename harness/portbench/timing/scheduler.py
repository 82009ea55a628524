"""Takes the samples: rounds of fresh processes, in which the ports' turns come in random order.

A block is one case at one thread count. In each round of a block every port gets a fresh process;
then the ports take turns, shuffled anew each time, so that whatever the machine does hits all alike.
Each finished sample is on disk before the next begins. Rounds are repeated over all blocks until
the time budget is used; at least LEAST_ROUNDS are made.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from portbench.agreement.certificate import start
from portbench.agreement.levels import Exchange
from portbench.contract import Case, Specification
from portbench.errors import PortFailure
from portbench.hosts import Ready
from portbench.protocol import RunningPort
from portbench.session import Session

LEAST_ROUNDS = 3
SAMPLES = 5  # in one round, per port
SAMPLE_SECONDS = 0.15  # long against the clock and the round trip
WARM_UP_SECONDS = 0.3
SLOW_STEP = 1.0  # a port whose step takes longer than this gets one sample a round
PATIENCE = 600  # seconds for one command


@dataclass(frozen=True)
class Block:
    case: Case
    threads: int
    ports: list[Ready]


@dataclass
class _Runner:
    """One port's process in one round."""

    ready: Ready
    port: RunningPort
    exchange: Exchange
    cold: str  # a folder for compiled kernels that is thrown away, in the port's first process
    steps: int = 1
    samples: int = SAMPLES
    rest: int = 0
    gone: bool = False

    def close(self) -> None:
        self.port.close()
        self.exchange.close()
        if self.cold:
            shutil.rmtree(self.cold, ignore_errors=True)


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
    begin = time.monotonic()
    failed: set[tuple[str, str, int]] = set()
    started: set[str] = set()
    longest = 0.0
    for round_ in range(10_000):
        spent = time.monotonic() - begin
        if round_ >= LEAST_ROUNDS and spent + longest > budget:
            break
        round_began = time.monotonic()
        for k, block in enumerate(shuffle.sample(blocks, len(blocks))):
            spent = time.monotonic() - begin
            share = min(spent / budget if budget else 1.0, (round_ + k / len(blocks)) / LEAST_ROUNDS)
            threads = f"{block.threads} thread{'s' * (block.threads > 1)}"
            progress(min(share, 1.0), f"round {round_ + 1}: {block.case.name}, {threads}")
            _round(round_, block, specification, session, shuffle, failed, started)
        longest = max(longest, time.monotonic() - round_began)
    session.record("measured", rounds=round_, seconds=time.monotonic() - begin, seed=seed)


def _round(
    round_: int,
    block: Block,
    specification: Specification,
    session: Session,
    shuffle: random.Random,
    failed: set[tuple[str, str, int]],
    started: set[str],
) -> None:
    runners: list[_Runner] = []
    where = {"case": block.case.name, "threads": block.threads, "round": round_}

    def attempt(ready: Ready, act: Callable[[], None]) -> bool:
        try:
            act()
        except PortFailure as failure:
            failed.add((ready.port.name, block.case.name, block.threads))
            session.record(
                "failure", port=ready.port.name, how=failure.kind, sentence=failure.sentence, log=failure.log, **where
            )
            return False
        return True

    try:
        for ready in shuffle.sample(block.ports, len(block.ports)):
            if (ready.port.name, block.case.name, block.threads) not in failed:
                attempt(ready, partial(_begin, ready, block, specification, session, where, runners, started))
        for turn in range(SAMPLES):
            for runner in shuffle.sample(runners, len(runners)):
                if not runner.gone and turn < runner.samples:
                    runner.gone = not attempt(runner.ready, partial(_sample, runner, turn, session, where))
        for runner in runners:
            if not runner.gone:
                attempt(runner.ready, partial(_finish, runner, block, session, where))
    finally:
        for runner in runners:
            runner.close()


def _begin(
    ready: Ready,
    block: Block,
    specification: Specification,
    session: Session,
    where: dict,
    runners: list[_Runner],
    started: set[str],
) -> None:
    """Start, load, first call, warm-up; choose how many steps make a sample; join the runners."""
    name = ready.port.name
    # A port's first process pays for compilation: it finds no kernels left over from earlier runs.
    first = name not in started
    started.add(name)
    cold = tempfile.mkdtemp(prefix="portbench-cold-") if first else ""
    port = start(ready, block.threads, {"NUMBA_CACHE_DIR": cold} if cold else {})
    runner = _Runner(ready, port, Exchange(port, specification), cold)
    try:
        said = port.hello(PATIENCE)
        phases = {"start": time.perf_counter_ns() - port.started, "import": int(said.get("import_nanoseconds", 0))}
        runner.rest = memory(port)
        state = specification.initial_state(block.case.parameters)
        begin = time.perf_counter_ns()
        runner.exchange.load(block.case.parameters, state)
        phases["load"] = time.perf_counter_ns() - begin
        begin = time.perf_counter_ns()
        port.run(1, PATIENCE)
        phases["first_call"] = time.perf_counter_ns() - begin
        phases["warm_up"] = _warm_up(runner)
        for phase, nanoseconds in phases.items():
            session.record("phase", port=name, phase=phase, nanoseconds=nanoseconds, cold=bool(cold), **where)
    except BaseException:
        runner.close()
        raise
    runners.append(runner)


def _warm_up(runner: _Runner) -> int:
    """Run until WARM_UP_SECONDS are spent, doubling the steps; leaves the steps for a sample in the runner."""
    begin, steps = time.perf_counter(), 1
    while True:
        seconds = runner.port.run(steps, PATIENCE) / 1e9
        per_step = max(seconds / steps, 1e-9)
        spent = time.perf_counter() - begin
        if spent >= WARM_UP_SECONDS:
            break
        steps = max(1, min(2 * steps, int((WARM_UP_SECONDS - spent) / per_step) or 1))
    runner.steps = max(1, round(SAMPLE_SECONDS / per_step))
    runner.samples = SAMPLES if per_step < SAMPLE_SECONDS else 1 if per_step > SLOW_STEP else 2
    return int(spent * 1e9)


def _sample(runner: _Runner, turn: int, session: Session, where: dict) -> None:
    begin = time.perf_counter_ns()
    nanoseconds = runner.port.run(runner.steps, PATIENCE)
    round_trip = time.perf_counter_ns() - begin
    if nanoseconds > round_trip:
        raise PortFailure(
            "protocol",
            f"{runner.ready.port.name} says that {runner.steps} steps took {nanoseconds} ns, "
            f"and the harness waited only {round_trip} ns: its clock is wrong",
        )
    session.record(
        "sample",
        port=runner.ready.port.name,
        turn=turn,
        steps=runner.steps,
        nanoseconds=nanoseconds,
        round_trip=round_trip,
        **where,
    )


def _finish(runner: _Runner, block: Block, session: Session, where: dict) -> None:
    """Read the final state, so that the work was needed; the peak of memory; end in good order."""
    peak = memory(runner.port)
    runner.exchange.save(block.case.parameters)
    session.record("memory", port=runner.ready.port.name, rest=runner.rest, peak=peak, **where)
    runner.port.quit()


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

"""Takes the samples: rounds of fresh processes, in which the ports' turns come in random order.

A block is one case at one thread count. In each round every port gets one fresh process per thread
count, which serves the blocks one after the other; another block comes first in each round, so that
each is at times the first that a process sees. Within a block the ports take turns, shuffled anew
each time, so that whatever the machine does hits all alike. All of a block are kept on the same
processors, and start from the same state, which is another in each round. Each finished sample is on
disk before the next begins.

LEAST_ROUNDS are made of everything. More follow while there is time, and only of what is undecided: ports
of which a ratio's interval is wider than was asked for, beside those against which they are compared.
In the first block the baseline runs twice, under two names: what differs between the two is chance.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil

from portbench import hosts
from portbench.contract import Case, Fields, Specification
from portbench.errors import PortFailure, Refusal
from portbench.hosts import Ready
from portbench.manifest import SAMPLE_SECONDS, SPEC_PORT
from portbench.protocol import Exchange, RunningPort
from portbench.session import Session
from portbench.timing import conditions
from portbench.timing.conditions import Watch
from portbench.timing.statistics import CONFIDENCE_IF_STOPPED, LEAST_ROUNDS, ratio

SAMPLES = 4  # in one round, per port and block
WARM_UP_SECONDS = 0.2
WARM_UP_RUN = 0.004  # seconds; so many of these that their times tell whether the process became steady
SLOW_STEP = 1.0  # a port whose step takes longer than this gets one sample a round
# Of the time that the harness waits, a port's clock must see this part at least. The specification's
# own leaves out its start, two of three evaluations in a run of one step.
LEAST_SEEN, LEAST_SEEN_BY_SPEC = 0.8, 0.1
PATIENCE = 600  # seconds for one command
APART = 1e-6  # relative, between the starts of two rounds
AGAIN = " again"  # after the name of a port that runs beside itself

Phase = dict[str, Any]  # a record of docs/session.md, without where it was


@dataclass(frozen=True)
class Block:
    case: Case
    threads: int
    ports: list[Ready]

    @property
    def key(self) -> dict[str, Any]:
        return {"case": self.case.name, "threads": self.threads}


@dataclass(frozen=True)
class Plan:
    """How long to measure, and how well."""

    budget: float  # seconds
    precision: float  # half the interval of a ratio, relative, that is narrow enough
    seed: int  # of the order in which ports take turns
    baseline: str = ""  # ratios are wanted against the specification and this port
    sample: float = SAMPLE_SECONDS  # that a sample lasts


def measure(
    blocks: list[Block],
    specification: Specification,
    session: Session,
    plan: Plan,
    progress: Callable[[float, str], None] = lambda *_: None,
) -> None:
    """Record samples and phases until all ratios are narrow enough or the budget is used. A session that holds rounds
    already goes on after them.
    """
    past = _Past(session)
    every = [_beside_itself(block, plan.baseline) if k == 0 else block for k, block in enumerate(blocks)]
    while True:
        number, todo = past.rounds, every
        if past.finished >= LEAST_ROUNDS:
            wide = past.wide(every, plan)
            todo = [replace(block, ports=kept) for block in every if (kept := _undecided(block, wide, plan))]
            if not todo or past.seconds + past.last_round > plan.budget:
                break
        session.record("conditions", round=number, **conditions.of_the_machine())
        began = time.monotonic()
        _one_round(number, todo, specification, session, past, plan, _teller(progress, past, plan))
        past.finish(time.monotonic() - began)
        session.record("round", round=number, seconds=past.last_round)
    session.record(
        "measured",
        rounds=past.finished,
        seconds=past.seconds,
        seed=plan.seed,
        budget=plan.budget,
        precision=plan.precision,
        undecided=wide,
        stopped_early=past.finished > LEAST_ROUNDS or not wide,
    )


def _teller(progress: Callable[[float, str], None], past: _Past, plan: Plan) -> Callable[[float, str], None]:
    """Of the part of a round that is done, and of what is going on."""
    began = time.monotonic()

    def tell(done: float, text: str) -> None:
        share = (past.finished + done) / LEAST_ROUNDS
        if plan.budget:
            share = min(share, (past.seconds + time.monotonic() - began) / plan.budget)
        progress(min(share, 1.0), f"round {past.rounds + 1}: {text}")

    return tell


def _one_round(
    number: int,
    blocks: list[Block],
    specification: Specification,
    session: Session,
    past: _Past,
    plan: Plan,
    tell: Callable[[float, str], None],
) -> None:
    shuffle = random.Random(f"{plan.seed} {number}")
    order = random.Random(plan.seed).sample(blocks, len(blocks))
    turned = order[number % len(order) :] + order[: number % len(order)]
    done = 0
    for threads in dict.fromkeys(block.threads for block in turned):
        with _Round(number, threads, specification, session, shuffle, past, plan.sample) as round_:
            for block in turned:
                if block.threads == threads:
                    tell(done / len(blocks), f"{block.case.name}, {threads} thread{'s' * (threads > 1)}")
                    round_.measure(block)
                    done += 1


def _beside_itself(block: Block, baseline: str) -> Block:
    """The block with its baseline, or else the first port that is no specification, a second time."""
    ports = [r for r in block.ports if r.port.name != SPEC_PORT]
    one = next((r for r in ports if r.port.name == baseline), ports[0])
    again = replace(one, port=one.port.model_copy(update={"name": one.port.name + AGAIN}))
    return replace(block, ports=[*block.ports, again])


def _undecided(block: Block, wide: list[dict[str, Any]], plan: Plan) -> list[Ready]:
    """The ports of this block that need another round, and those against which they are compared."""
    here = {w["port"] for w in wide if block.key.items() <= w.items()}
    return (
        [r for r in block.ports if r.port.name.removesuffix(AGAIN) in here | {SPEC_PORT, plan.baseline}] if here else []
    )


def start_of_round(specification: Specification, case: Case, seed: str) -> Fields:
    """The case's initial state, each number nearer to zero by up to a millionth: nothing can be kept from before."""
    state = specification.initial_state(case.parameters)
    draw = np.random.default_rng(list(seed.encode()))
    other = {name: a * (1 - APART * draw.random(a.shape)) for name, a in state.items()}
    try:
        specification.check_state(case.parameters, other)
    except Refusal:  # a state with rules of its own: better the same each time than an illegal one
        return state
    return other


class _Past:
    """What earlier rounds saw, those of an interrupted session too."""

    def __init__(self, session: Session):
        document = session.so_far()
        self.samples: list[dict[str, Any]] = document["samples"]
        self.started = {s["port"] for s in document["phases"]}  # ports that have had their first process
        self.failed = {(f["port"], f["case"], f["threads"]) for f in document["failures"]}
        self.rounds = 1 + max((c["round"] for c in document["conditions"]), default=-1)  # begun
        lengths = [r["seconds"] for r in document["rounds"]]
        self.finished, self.seconds, self.last_round = len(lengths), sum(lengths), lengths[-1] if lengths else 0.0

    def finish(self, seconds: float) -> None:
        self.rounds += 1
        self.finished += 1
        self.seconds += seconds
        self.last_round = seconds

    def wide(self, blocks: list[Block], plan: Plan) -> list[dict[str, Any]]:
        """The ratios that are not known as well as was asked for, and how well each is known."""
        frame = pd.DataFrame(self.samples, columns=["port", "case", "threads", "round", "steps", "nanoseconds"])
        frame["ns_per_unit"] = frame["nanoseconds"] / frame["steps"]
        of_port = dict(list(frame.groupby(["port", "case", "threads"])))
        found = []
        for block in blocks:
            names = [r.port.name for r in block.ports if (r.port.name, *block.key.values()) not in self.failed]
            bases = [base for base in dict.fromkeys([SPEC_PORT, plan.baseline]) if base in names] or names[:1]
            for name, base in itertools.product(names, bases):
                if name in (base, SPEC_PORT) or name.endswith(AGAIN):
                    continue
                slow, fast = (of_port[one, *block.key.values()] for one in (base, name))
                known = ratio(slow, fast, CONFIDENCE_IF_STOPPED)
                if known and not known.uncertainty <= plan.precision:
                    found.append({"port": name, "base": base, **block.key, "known": known.uncertainty})
        return found


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
        sample_seconds: float,
    ):
        self.number, self.threads, self.sample_seconds = number, threads, sample_seconds
        self.specification, self.session, self.shuffle, self.past = specification, session, shuffle, past
        self.runners: dict[str, _Runner] = {}
        self.processors = conditions.processors(threads)

    def __enter__(self) -> _Round:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        with ExitStack() as last:  # all are closed, whatever happens meanwhile
            for runner in self.runners.values():
                last.callback(runner.close)
            for runner in self.runners.values() if kind is None else ():
                self.session.record("phase", port=runner.name, **runner.quit(), **runner.where)

    def measure(self, block: Block) -> None:
        """One block: every port is loaded and warmed up, then they take turns."""
        where = {**block.key, "round": self.number}
        start = start_of_round(self.specification, block.case, f"{block.case.name} {self.number}")
        here = [r for r in block.ports if (r.port.name, block.case.name, block.threads) not in self.past.failed]
        begun = [
            r.port.name for r in self._mixed(here) if self._attempt(r.port.name, where, self._begin, r, block, start)
        ]
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

    def _begin(self, ready: Ready, block: Block, start: Fields, where: dict[str, Any]) -> None:
        """Start the port if it does not run; load, first call, warm-up."""
        name, phases = ready.port.name, list[Phase]()
        if name not in self.runners:
            cold = name not in self.past.started
            self.runners[name] = _Runner(
                ready, self.threads, self.specification, self.processors, cold, self.sample_seconds
            )
            self.past.started.add(name)
            phases = self.runners[name].hello()
        runner = self.runners[name]
        phases += runner.begin(block.case, start)
        runner.where = {"cold": bool(runner.cold) and runner.fresh, "fresh": runner.fresh, **where}
        for phase in phases:
            self.session.record("phase", port=name, **phase, **runner.where)
        series = {"steps": runner.warm_up_steps, "nanoseconds": runner.warm_up_series}
        self.session.record("series", port=name, **series, **where)

    def _sample(self, runner: _Runner, turn: int, where: dict[str, Any]) -> None:
        sample = {"port": runner.name, "turn": turn, "steps": runner.steps, **runner.sample(), **where}
        self.session.record("sample", **sample)
        self.past.samples.append(sample)

    def _finish(self, runner: _Runner, block: Block, where: dict[str, Any]) -> None:
        """The peak of memory; read the final state, so that the work was needed, and keep its hash."""
        peak = memory(runner.port)
        strayed = conditions.strayed(conditions.family(runner.port), self.processors)
        if strayed:
            raise PortFailure(
                "protocol",
                f"{runner.name} was given the processors {_listed(self.processors)} and may run on "
                f"{_listed(strayed)} too: it must leave its affinity as it is",
            )
        fields, phase = runner.save(block.case)
        self.session.record("phase", port=runner.name, **phase, **runner.where)
        end = hashlib.sha256(b"".join(fields[name].tobytes() for name in sorted(fields))).hexdigest()
        seen = {"rest": runner.rest, "peak": peak, "fresh": runner.fresh, "final_state": end[:16]}
        self.session.record("memory", port=runner.name, **seen, **where)
        runner.fresh = False


class _Runner:
    """One port's process."""

    def __init__(
        self,
        ready: Ready,
        threads: int,
        specification: Specification,
        processors: list[int],
        cold: bool,
        sample_seconds: float,
    ):
        self.name, self.beside, self.sample_seconds = ready.port.name, ready.beside, sample_seconds
        self.least = LEAST_SEEN_BY_SPEC if ready.port.host == "spec" else LEAST_SEEN
        # A port's first process pays for compilation: it finds no kernels left over from earlier runs.
        self.cold = tempfile.mkdtemp(prefix="portbench-cold-") if cold else ""
        environment = {"NUMBA_CACHE_DIR": self.cold} if cold else {}
        try:
            started = hosts.start(ready, threads, PATIENCE, environment, processors)
        except PortFailure:
            shutil.rmtree(self.cold, ignore_errors=True)
            raise
        self.exchange = Exchange(started, specification, ready.port.precision)
        self.port = self.exchange.port
        self.fresh = True  # no block is behind it yet
        self.rest = 0  # bytes before the first load
        self.steps = 1  # in a sample
        self.samples = SAMPLES  # in this block
        self.family: list[psutil.Process] = []
        self.warm_up_steps, self.warm_up_series = 1, list[int]()
        self.where: dict[str, Any] = {}  # of the block that it serves, for its records

    def close(self) -> None:
        self.exchange.close()
        if self.cold:
            shutil.rmtree(self.cold, ignore_errors=True)

    def hello(self) -> list[Phase]:
        """Until it answered, and its imports by its own account."""
        self.port.hello()
        start = time.perf_counter_ns() - self.port.started
        self.rest = memory(self.port)
        spent = conditions.spent(conditions.family(self.port))
        imports = self.port.parts.pop("import", 0)
        return [
            {"phase": "start", "nanoseconds": start, "cpu_nanoseconds": round(1e9 * spent), **self._parts()},
            {"phase": "import", "nanoseconds": imports},
        ]

    def begin(self, case: Case, state: Fields) -> list[Phase]:
        """Load, first call and warm-up."""
        phases = [
            self._phase("load", self.exchange.load, case.parameters, state)[1] | self._parts(),
            self._phase("first_call", self.port.run, 1)[1] | self._parts(),
            self._phase("warm_up", self._warm_up)[1],
        ]
        self.family = conditions.family(self.port)
        return phases

    def save(self, case: Case) -> tuple[Fields, Phase]:
        (_, fields), phase = self._phase("save", self.exchange.save, case.parameters)
        return fields, phase | self._parts()

    def quit(self) -> Phase:
        """Its end in good order."""
        begin = time.perf_counter_ns()
        self.port.quit()
        return {"phase": "teardown", "nanoseconds": time.perf_counter_ns() - begin}

    def _phase(self, name: str, act: Callable, *what: Any) -> tuple[Any, Phase]:
        """What came of it, and how long it took: wall time and processor time."""
        spent = conditions.spent(conditions.family(self.port))
        begin = time.perf_counter_ns()
        came = act(*what)
        nanoseconds = time.perf_counter_ns() - begin
        spent = conditions.spent(conditions.family(self.port)) - spent
        return came, {"phase": name, "nanoseconds": nanoseconds, "cpu_nanoseconds": max(0, round(1e9 * spent))}

    def _parts(self) -> dict[str, dict[str, int]]:
        """Of what the port did last, by its own account; a GPU port tells transfers from kernels."""
        return {"parts": self.port.parts} if self.port.parts else {}

    def _warm_up(self) -> None:
        """Run until WARM_UP_SECONDS are spent, doubling the steps up to runs that a clock can tell apart; decides how
        many steps make a sample.

        It goes by the longest runs, and believes the port's clock only where the harness's own allows it: a
        port may say that one step took no time at all, and a sample of as many steps would not end.
        """
        begin, steps, per_step = time.perf_counter(), 1, 0.0
        self.warm_up_steps, self.warm_up_series = 1, []
        while (left := WARM_UP_SECONDS - (time.perf_counter() - begin)) > 0:
            if steps > self.warm_up_steps:
                self.warm_up_steps, self.warm_up_series = steps, []
            start = time.perf_counter()
            nanoseconds = self.port.run(steps)
            waited = time.perf_counter() - start
            self.warm_up_series.append(nanoseconds)
            per_step = max(nanoseconds / 1e9, self.least * waited) / steps
            if waited < WARM_UP_RUN:
                steps = max(1, min(2 * steps, round(left / per_step)))
        self.steps = max(1, round(self.sample_seconds / per_step))
        self.samples = SAMPLES if per_step < self.sample_seconds else 1 if per_step > SLOW_STEP else 2

    def sample(self) -> dict[str, Any]:
        """Nanoseconds by the port's clock and by the harness's, and what the machine did meanwhile."""
        before = Watch.now(self.family)
        begin = time.perf_counter_ns()
        nanoseconds = self.port.run(self.steps + round(self.beside * self.steps))
        round_trip = time.perf_counter_ns() - begin
        meanwhile = before.until(Watch.now(self.family), round_trip / 1e9)
        if not self.least * round_trip <= nanoseconds <= round_trip:
            raise PortFailure(
                "protocol",
                f"{self.name} says that {self.steps} steps took {nanoseconds} ns, "
                f"and the harness waited {round_trip} ns: its clock is wrong",
            )
        return {"nanoseconds": nanoseconds, "round_trip": round_trip, **self._parts(), **meanwhile}


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


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

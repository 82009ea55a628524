"""Takes the samples: rounds of fresh processes, in which the ports' turns come in random order.

A block is one case at one thread count. In each round every port gets one fresh process per thread
count, which serves the blocks one after the other; another block comes first in each round, so that
each is at times the first that a process sees. Within a block the ports take turns, shuffled anew
each time, so that whatever the machine does hits all alike. All of a block are kept on the same
processors. Every sample starts from the same state, which is another in each round, and is loaded again
for it: all are of the first steps of a run, of as many as the manifest says ([compare] run), again and again
until the sample is long enough; or else of as many as a sample holds. How the time of a step changes along
these is seen in a course, a run in pieces that is no sample. Each finished sample is on disk before the next
begins.

LEAST_ROUNDS are made of everything, or as many as an explicit budget has room for. More follow while there
is time, and only of what is undecided: ports of which a ratio's interval is wider than was asked for, beside
those against which they are compared. In the first block the baseline runs twice, under two names: what
differs between the two is chance.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median_low
from typing import Any

import numpy as np
import psutil

from portbench import hosts
from portbench.contract import Case, Fields, Specification
from portbench.errors import PortFailure, Refusal
from portbench.hosts import Ready
from portbench.manifest import SAMPLE_SECONDS, SPEC_PORT
from portbench.protocol import Exchange, RunningPort
from portbench.session import Session
from portbench.timing import clock, conditions, seal
from portbench.timing.clock import Timed
from portbench.timing.conditions import Watch
from portbench.timing.statistics import CONFIDENCE_IF_STOPPED, LEAST_ROUNDS, ratio

SAMPLES = 4  # in one round, per port and block
WARM_UP_SECONDS, LONGEST_WARM_UP = 0.2, 2.0  # the latter for ports that compile for each number of steps
WARM_UP_RUN = 0.004  # seconds; so many of these that their times tell whether the process became steady
SLOW_RUN = 1.0  # a port whose run takes longer than this gets one sample a round
LONGEST_WAIT = 5.0  # times the seconds of a sample, for short runs with all that is loaded between them
# The first piece of a course, in steps and seconds: enough that what comes once a run, such as a list, is little in it.
LEAST_PIECE_STEPS, LEAST_PIECE = 32, 0.001
CHANGES = 1.25  # times as long at one end of the run as at the other: a step that takes so long is another step
# Where a course took so many times more or less than a sample, its steps are changed, at once by so much at most.
RESCALED, MOST_RESCALED = 2.0, 8.0
TRIES = 6  # for each sample
LIES = 3  # samples in which a port's clock left out work, and the least part of all that they must be
LIES_PART = 0.05
# Of the time that the harness waits, a port's clock must see this part at least. The specification's
# own leaves out its start, two of three evaluations in a run of one step.
LEAST_SEEN, LEAST_SEEN_BY_SPEC = 0.8, 0.1
PATIENCE = 600  # seconds for one command
APART = 1e-6  # relative, between the starts of two rounds
LEFT_OUT = ("leaves out work", "ahead")  # what is held against a port's clock
TICKS, TICKS_OF_A_PIECE = 50, 20  # of a coarse clock, that a sample and a piece of a course last
LEAST_STEP = 1e-10  # seconds: less than half a cycle of a processor's clock
IN_PIECES = 1.6  # times as long as in one run, as no right run takes in pieces
LEAST_END_TO_END = 0.05  # seconds of a run beside which what a load and a save take each time is little
LEAST_STEPS_END_TO_END = 8  # in all rounds but the first: where steps are slow, one more takes long
AGAIN = " again"  # after the name of a port that runs beside itself

Phase = dict[str, Any]  # a record of docs/session.md, without where it was


@dataclass(frozen=True)
class Block:
    case: Case
    threads: int
    ports: list[Ready]
    run: int | None = None  # steps of the run that is timed; None: as many as a sample holds

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
    least_rounds: int = LEAST_ROUNDS  # made even if the budget is used


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
    threads = list(dict.fromkeys(block.threads for block in blocks))
    every = [_beside_itself(block, plan.baseline) if k == 0 else block for k, block in enumerate(blocks)]
    while True:
        number, todo = past.rounds, every
        if past.finished >= LEAST_ROUNDS:
            wide = past.wide(every, plan)
            todo = [replace(block, ports=kept) for block in every if (kept := _undecided(block, wide, plan))]
            if not todo or past.seconds + past.last_round > plan.budget:
                break
        elif past.finished >= plan.least_rounds and past.seconds >= plan.budget:
            wide = past.wide(every, plan)
            break
        session.record("conditions", round=number, **conditions.of_the_machine(threads))
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
        stopped_early=past.finished > LEAST_ROUNDS or (past.finished == LEAST_ROUNDS and not wide),
    )


def _teller(progress: Callable[[float, str], None], past: _Past, plan: Plan) -> Callable[[float, str], None]:
    """Of the part of a round that is done, and of what is going on."""
    began = time.monotonic()

    def tell(done: float, text: str) -> None:
        share = (past.finished + done) / plan.least_rounds
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
    """The case's initial state, changed a little in each round: nothing can be kept from before.

    The specification's nearby() says how; without it each number is nearer to zero by up to a millionth, but in fields
    that are not continuous, such as a map of zeros and ones: what they count would change, and so the work.
    """
    state = specification.initial_state(case.parameters)
    draw = np.random.default_rng(list(seed.encode()))
    if specification.offers("nearby"):
        return specification.nearby(case.parameters, state, draw)
    other = specification.nearer_to_zero(state, APART, draw)
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
        self.lies = Counter(d["port"] for d in document["disturbed"] if d["why"] in LEFT_OUT)
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
        import pandas as pd

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
                slow, fast = (of_port.get((one, *block.key.values())) for one in (base, name))
                known = None if slow is None or fast is None else ratio(slow, fast, CONFIDENCE_IF_STOPPED)
                uncertainty = known.uncertainty if known else math.inf
                if not uncertainty <= plan.precision:
                    found.append({"port": name, "base": base, **block.key, "known": uncertainty})
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
        phases += runner.begin(block, start)
        runner.where = {"cold": bool(runner.cold) and runner.fresh, "fresh": runner.fresh, **where}
        for phase in phases:
            self.session.record("phase", port=name, **phase, **runner.where)
        if not runner.tick:  # or they would tell of the clock
            series = {"steps": runner.warm_up_steps, "nanoseconds": runner.warm_up_series}
            self.session.record("series", port=name, **series, **where)
        course = runner.course()
        if course:
            self.session.record("course", port=name, **course, **where)
            runner.pieces = course["steps"] if sum(course["steps"]) == runner.steps else []
            runner.in_pieces = sum(course["nanoseconds"]) / 1e9

    def _sample(self, runner: _Runner, turn: int, where: dict[str, Any]) -> None:
        """One that nothing disturbed, in TRIES tries; none on a machine that is too busy for that."""
        name, busy, every = runner.name, runner.of_the_specification, Timed(0.0, 0.0, 0.0, 0)
        for again in range(TRIES):
            taken, timed = runner.sample()
            verdict = runner.judge(timed)
            sample = {"port": name, "turn": turn, **taken, **where}
            if verdict == "true":
                self.session.record("sample", **sample)
                self.past.samples.append(sample)
                return
            self.session.record("disturbed", why=verdict, **sample)
            every += timed
            busy |= conditions.disturbed(taken)
            # the first run of so many steps in a process may compile, and leave that out
            self.past.lies[name] += verdict in LEFT_OUT and turn + again > 0
            if self.past.lies[name] >= max(LIES, LIES_PART * sum(s["port"] == name for s in self.past.samples)):
                break
        else:
            if busy and runner.judge(every) not in LEFT_OUT:
                return
        raise PortFailure(
            "protocol",
            f"{name} says that {taken['steps']} steps took {taken['nanoseconds']} ns, and the harness waited "
            f"{taken['round_trip']} ns, and so in {max(again, self.past.lies[name] - 1)} samples before: its clock is "
            "wrong",
        )

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
        runner.last += Timed(0.0, phase["nanoseconds"] / 1e9, phase["cpu_nanoseconds"] / 1e9, 0)
        self.session.record("phase", port=runner.name, **phase, **runner.where)
        end = hashlib.sha256(b"".join(fields[name].tobytes() for name in sorted(fields))).hexdigest()
        seen = {"rest": runner.rest, "peak": peak, "fresh": runner.fresh, "final_state": end[:16]}
        self.session.record("memory", port=runner.name, **seen, **where)
        runner.fresh = False
        if not runner.of_the_specification and not runner.name.endswith(AGAIN):
            self._seal(runner, block, where)
            self._in_pieces(runner)
            self._end_to_end(runner)

    def _in_pieces(self, runner: _Runner) -> None:
        """PortFailure if the run that was timed takes a fraction of the time that its steps take in pieces: one that
        keeps their number in two bytes, or makes 5,000 at most, ends in a right state of another time.
        """
        if not runner.pieces or runner.in_pieces < IN_PIECES * runner.last.claimed:
            return
        for _ in range(TRIES):  # one is enough in which it is not so: it may be a pause, or what was compiled
            runner.load()
            once = runner.run(1)
            runner.load()
            whole = runner.run(runner.steps)
            runner.load()
            parts = sum(map(runner.run, runner.pieces)) - (len(runner.pieces) - 1) * once
            if parts < IN_PIECES * whole:
                return
        raise PortFailure(
            "wrong",
            f"{runner.name}: {runner.steps} steps take {whole / 1e9:.2g} s in one run, and {parts / 1e9:.2g} s in "
            f"{len(runner.pieces)}: a long run does not make all of its steps",
        )

    def _end_to_end(self, runner: _Runner) -> None:
        """PortFailure if the steps that were timed make a load, a run and a save longer by more than they claim.

        One look is enough where they do not; more are taken where something disturbed it, or the first save compiled.
        """
        many, steps = runner.last, runner.steps
        if many.claimed < LEAST_END_TO_END or steps < (LEAST_STEPS_END_TO_END if self.number else 2):
            return
        found, worked, before, begin = list[Timed](), 0, Watch.now(runner.family), time.perf_counter()
        while len(found) < TRIES and worked < LIES:
            if found:
                many = runner.cycle(steps)
            found.append(many - runner.cycle(1))
            verdict = clock.judge(found[-1], runner.threads, runner.trip, runner.least)
            if verdict in ("true", "ahead"):
                return
            worked += verdict == "leaves out work"
        used = (Watch.now(runner.family) - before).over(time.perf_counter() - begin)
        if worked == LIES or not conditions.disturbed(used):
            part = median_low(one.claimed / one.waited for one in found)
            raise PortFailure("wrong", f"{runner.name}: {clock.left_out(steps, part)}")

    def _seal(self, runner: _Runner, block: Block, where: dict[str, Any]) -> None:
        """Whether the figure of this block stands: PortFailure if the port went wrong in the run that was timed."""
        random = np.random.default_rng(list(f"{runner.name} {block.case.name} {self.number}".encode()))
        thorough = self.number == 0 and any(r.port.host == "spec" for r in block.ports)
        steps, start = runner.steps_since_load, runner.start
        found = seal.judge(runner.ready, runner.exchange, block.case, start, steps, thorough, random)
        self.session.record("seal", port=runner.name, **found.as_json(), **where)
        if not found.passed:
            sentence = f"{runner.name} went wrong while it was timed, and no figure stands: {found.sentence}"
            raise PortFailure("wrong", sentence)


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
        self.ready, self.name, self.beside, self.sample_seconds = ready, ready.port.name, ready.beside, sample_seconds
        self.of_the_specification = ready.port.host == "spec"
        self.least = LEAST_SEEN_BY_SPEC if self.of_the_specification else LEAST_SEEN
        self.threads = threads if ready.port.threads else 1
        self.processors = processors
        # A port's first process pays for compilation: it finds no kernels left over from earlier runs.
        self.cold = tempfile.mkdtemp(prefix="portbench-cold-") if cold else ""
        environment = {"NUMBA_CACHE_DIR": self.cold} if cold else {}
        try:
            started = hosts.start(ready, threads, PATIENCE, environment, processors)
        except PortFailure:
            shutil.rmtree(self.cold, ignore_errors=True)
            raise
        self.exchange = Exchange(started, specification, ready.port.numbers)
        self.port = self.exchange.port
        self.fresh = True  # no block is behind it yet
        self.rest = 0  # bytes before the first load
        self.trip = 0.0  # seconds of a command that does nothing
        self.tick = 0.0  # seconds between two ticks of a coarse clock
        self.claims = list[int]()  # nanoseconds, of all warm-ups
        self.last = Timed(0.0, 0.0, 0.0)  # of the last sample's last run, with its load, and its save if there was one
        # What is loaded: the case, the state that it was loaded with, and the steps that were run since.
        self.case: Case | None = None
        self.start: Fields = {}
        self.steps_since_load = 0
        self.steps = 1  # in one run
        self.pieces, self.in_pieces = list[int](), 0.0  # into which it was cut, and the seconds of all of them
        self.repeats = False  # the run, until a sample is long enough
        self.samples = SAMPLES  # in this block
        self.family: list[psutil.Process] = []
        self.warm_up_steps, self.warm_up_series = 1, list[int]()
        self.per_step = 0.0  # seconds, as the warm-up found them
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

    def begin(self, block: Block, state: Fields) -> list[Phase]:
        """Load, first call and warm-up."""
        self.pieces = []
        self.case, self.start, self.repeats = block.case, state, block.run is not None
        phases = [
            self._phase("load", self.load)[1] | self._parts(),
            self._phase("first_call", self.run, 1)[1] | self._parts(),
            self._phase("warm_up", self._warm_up)[1],
        ]
        self.tick = 0.0 if self.of_the_specification else clock.tick(self.claims)
        self.sample_seconds = max(self.sample_seconds, TICKS * self.tick)
        self.steps = block.run or max(1, round(self.sample_seconds / self.per_step))
        if self.steps * self.per_step < TICKS / RESCALED * self.tick:
            raise PortFailure("coarse", self._too_coarse())
        self._count_samples(self.steps * self.per_step)
        self.trip = clock.round_trip(self.port)
        self.family = conditions.family(self.port)
        return phases

    def _too_coarse(self) -> str:
        return (
            f"{self.name} has a clock that ticks every {1e3 * self.tick:.3g} ms, and the run that is timed takes about "
            f"{1e3 * self.steps * self.per_step:.2g} ms, too short for it: give it a finer clock, or set [compare] run "
            "to more steps"
        )

    def load(self) -> None:
        """Where every sample starts."""
        assert self.case is not None
        self.exchange.load(self.case.parameters, self.start)
        self.steps_since_load = 0

    def run(self, steps: int) -> int:
        """Nanoseconds, by the port's clock."""
        # a run that the manifest asks for may take a slow port longer than a port is waited for
        patience = max(PATIENCE, 10 * steps * self.per_step)
        self.steps_since_load += steps
        return self.port.run(steps, patience)

    def _count_samples(self, run: float) -> None:
        """In a round, of runs that take so many seconds."""
        self.samples = SAMPLES if run < RESCALED * self.sample_seconds else 1 if run > SLOW_RUN else 2

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
        """Run until WARM_UP_SECONDS are spent, doubling the steps up to runs that a clock can tell apart; finds the
        seconds of a step.

        These are the least of the medians for each number of steps: what a process compiles, and a pause of the
        machine, only add to a run. The port's clock is believed only where the harness's own allows it: a port may
        say that one step took no time at all, and a sample of as many steps would not end.
        """
        begin, steps, growing = time.perf_counter(), 1, True
        self.warm_up_steps, self.warm_up_series = 1, []
        per_step, waits = dict[int, list[float]](), list[float]()
        while (spent := time.perf_counter() - begin) < WARM_UP_SECONDS or (growing and spent < LONGEST_WARM_UP):
            if steps > self.warm_up_steps:
                self.warm_up_steps, self.warm_up_series, waits = steps, [], []
            start = time.perf_counter()
            nanoseconds = self.run(steps)
            waits.append(time.perf_counter() - start)
            self.warm_up_series.append(nanoseconds)
            self.claims.append(nanoseconds)
            per_step.setdefault(steps, []).append(max(nanoseconds / 1e9, self.least * waits[-1]) / steps)
            self.per_step = min(map(median_low, per_step.values()))
            # what takes long only once was compiled for so many steps, or held up
            growing = min(waits) < WARM_UP_RUN or (steps > 1 and len(waits) < 2)
            if not self.of_the_specification and 0 in self.claims:  # ticks that are to be counted
                growing |= sum(map(bool, self.claims)) < clock.LEAST_CLAIMS
            self._were_made(steps, min(waits))
            if min(waits) < WARM_UP_RUN or (len(waits) > 1 and not any(self.warm_up_series)):
                steps *= 2

    def _were_made(self, steps: int, seconds: float) -> None:
        """PortFailure if no processor makes so many steps in the time that they were waited for."""
        if steps * LEAST_STEP > seconds:
            raise PortFailure(
                "wrong",
                f"{self.name}: {steps} steps are over in {seconds:.2g} s, and no processor makes one in "
                f"{1e9 * LEAST_STEP:g} ns: a long run does not make all of its steps",
            )

    def course(self) -> dict[str, Any]:
        """A run as long as those of the samples, in pieces that double its length, the steps and nanoseconds of each;
        empty where it would be too short for that, or too long. Where this shows the steps of a sample to be far too
        many or too few, they are changed, and it is made again.
        """
        steps, nanoseconds = list[int](), list[int]()
        for _ in range(TRIES):
            if self.steps * self.per_step > max(SLOW_RUN, RESCALED * self.sample_seconds):
                return {}
            piece = max(LEAST_PIECE, TICKS_OF_A_PIECE * self.tick)
            steps = _pieces(self.steps, max(LEAST_PIECE_STEPS, math.ceil(piece / self.per_step)))
            least = math.inf
            begin = time.perf_counter()
            for _ in range(2):  # where it changes, once more: it may be a pause, or what was compiled for so many steps
                self.load()
                nanoseconds = self._pieces_of(steps)
                if len(nanoseconds) < len(steps):  # far too many: what is left out may take a hundred times as long
                    steps, least = steps[: len(nanoseconds)], math.inf
                    self.steps = sum(steps)
                least = min(least, sum(nanoseconds) / 1e9)
                first, last = nanoseconds[0] / steps[0], nanoseconds[-1] / steps[-1]
                if max(first, last) < CHANGES * min(first, last):
                    break
            self._were_made(self.steps, time.perf_counter() - begin)
            self._count_samples(least)
            if self.repeats or 1 / RESCALED < least / self.sample_seconds < RESCALED:
                break
            factor = min(self.sample_seconds / least, MOST_RESCALED) if least else 1.0
            if round(self.steps * factor) in (0, self.steps):
                break
            self.steps, self.per_step = round(self.steps * factor), least / self.steps
        return {"steps": steps, "nanoseconds": nanoseconds} if len(steps) > 1 else {}

    def _pieces_of(self, steps: list[int]) -> list[int]:
        """Nanoseconds of each, up to the one that makes a run far longer than a sample need be."""
        nanoseconds = list[int]()
        for count in steps:
            nanoseconds.append(self.run(count))
            if not self.repeats and sum(nanoseconds) > RESCALED * 1e9 * self.sample_seconds:
                break
        return nanoseconds

    def sample(self) -> tuple[dict[str, Any], Timed]:
        """Nanoseconds by the port's clock and by the harness's, and what the machine did meanwhile. Of short runs a
        sample is several, each from the start.
        """
        begun = time.perf_counter()
        spent, parts = Watch(), Counter[str]()
        runs = nanoseconds = round_trip = 0
        while not runs or (
            self.repeats
            and nanoseconds < 1e9 * self.sample_seconds
            and time.perf_counter() - begun < LONGEST_WAIT * self.sample_seconds
        ):
            begin = time.perf_counter_ns()
            self.load()
            before, loaded = Watch.now(self.family, self.processors), time.perf_counter_ns()
            claimed = self.run(self.steps + round(self.beside * self.steps))
            end = time.perf_counter_ns()
            used = Watch.now(self.family, self.processors) - before
            self.last = Timed(claimed / 1e9, (end - begin) / 1e9, used.port)
            nanoseconds, round_trip, spent = nanoseconds + claimed, round_trip + end - loaded, spent + used
            parts.update(self.port.parts)
            runs += 1
        hertz = conditions.megahertz(self.processors)
        taken = {
            "steps": runs * self.steps,
            "runs": runs,
            "nanoseconds": nanoseconds,
            "round_trip": round_trip,
            **({"parts": dict(parts)} if parts else {}),
            **spent.over(round_trip / 1e9),
            **({"megahertz": hertz} if hertz else {}),
            **({"tick": self.tick} if self.tick else {}),
        }
        return taken, Timed(nanoseconds / 1e9, round_trip / 1e9, spent.port, runs)

    def cycle(self, steps: int) -> Timed:
        """Of a load, a run and a save: how long the run claims to take, and how long all three take the harness."""
        assert self.case is not None
        before, begin = conditions.spent(self.family), time.perf_counter()
        self.load()
        claimed = self.run(steps) / 1e9
        self.exchange.save(self.case.parameters)
        return Timed(claimed, time.perf_counter() - begin, conditions.spent(self.family) - before)

    def judge(self, timed: Timed) -> clock.Verdict:
        if self.of_the_specification:  # its clock is portbench's own, and may see nothing of a short run
            return "true" if timed.claimed else "held up"
        return clock.judge(timed, self.threads, self.trip, self.least, self.tick)


def _pieces(steps: int, first: int) -> list[int]:
    """So many steps in pieces of which each is as long as all before it; the last one is what is left over."""
    if steps < 2 * first:
        return [steps]
    ends = [0, first]
    while 3 * ends[-1] <= steps:
        ends.append(2 * ends[-1])
    return [b - a for a, b in itertools.pairwise([*ends, steps])]


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

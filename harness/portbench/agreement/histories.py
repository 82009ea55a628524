"""Histories: random orders of commands to one process, each answer judged from the port's own state before it.

A port that is right from a fresh load may be wrong after another load, a refused one, `run 0`, a run in pieces, or a
run of 257 steps. So small states of many kinds are loaded one after the other into the process that was asked before:
random ones (`stress` of docs/contract.md), the case's own, the same with each float parameter changed, and others of
the same shape. What was lent is overwritten after each load. A failure is shortened to few commands that show it.

All is drawn anew in each check, so that no port can know it; the certificate holds the seed.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from portbench.agreement import slips, twins
from portbench.agreement.invariants import LOST
from portbench.agreement.levels import LAST_BITS, Deviation, Verdict, parameter_that_changed
from portbench.agreement.microscope import look_at
from portbench.agreement.own import Judge
from portbench.agreement.reference import largest, rounded, rounded_parameters
from portbench.contract import Case, Fields, Parameters, Specification
from portbench.errors import PortFailure, Refusal
from portbench.protocol import Exchange

SIZES = (1, 2, 3, 7, 16, 31, 64, 100)  # units of random states
MANY_KINDS = 12  # loads of such states
OFTEN = (100, 100, 100, 100, 100, 150, 250, 250)  # units of states that are looked at often, while a run goes on
LOOKS = 5  # pairs of looks at each of these, a step or two apart
GLANCES, GLANCED = 16, (120, 400)  # larger states that are looked at once, for room that is not enough
FEW = 8  # units of a state whose runs of hundreds of steps the specification can follow
HUNDREDS = ((130, 256), (257, 400))  # steps of such runs: beyond a chunk, beyond a byte
LONG_RUNS = 3  # states for them: in some nothing moves any more after so many steps
FAR = (1000, 1400)  # steps of a run of which, where steps are not quick, only the end is judged
LARGEST_CASE = 500  # units of a case that is itself asked so often
QUICK = 0.02  # seconds of a step of a larger one, which is asked too
MOST_UNITS = 100_000  # of a case that is tried for that
SIGNS = 6  # tries to change a parameter to one that is legal
NUDGE = 0.07  # relative, of a float parameter: larger than any tolerance, small enough to stay legal
SMALLER = 0.1  # a part by which the numbers of an initial state may be, which else may have a symmetry
MOST = 3000  # steps times units that the specification goes to judge a run
FOLLOWED = 0.05  # seconds that it goes, where its steps are quick
TRIES = 20  # to draw a state from which the specification can go on
SHRINK_SECONDS = 20.0
PIECES, AFTER = 16, 3  # of a refused run that is made again; steps that the specification tries after its last state


@dataclass(frozen=True)
class World:
    """Something that can be loaded; `name` says it in a few words."""

    name: str
    parameters: Parameters
    state: Fields


@dataclass(frozen=True)
class Command:
    """One step of a history: load a world, have a load refused, run, or look at what is saved."""

    verb: str  # "load", "refused", "run", "look"
    number: int = 0  # steps of a run
    world: World | None = None

    def __str__(self) -> str:
        return {
            "load": f"load {self.world.name if self.world else ''}",
            "refused": "a load that is refused",
            "run": f"run {self.number}",
            "look": "save",
        }[self.verb]


def a3_histories(
    x: Exchange,
    judge: Judge,
    case: Case,
    seed: int,
    refuses: Mapping[str, str],
    brief: bool = False,
    shorten: bool = True,
) -> Verdict:
    """One history from this seed; the sentence of a failure holds its commands, few of them if it may `shorten` them.
    `brief` is for a process that has gone through one before: states of this case, and few others. What the port
    `refuses`, by the name of a probe, is not asked.
    """
    random = np.random.default_rng(seed)
    commands = list(_without(refuses, _history(judge, small_case(judge.specification, case), random, brief)))
    count = sum(c.verb == "look" for c in commands)
    if not count:
        why = "the specification offers no `stress` and no probes, and a step of its smallest case takes too long"
        return Verdict("A3", True, 0.0, f"nothing was asked at random: {why}")
    found, stopped = _play(x, judge, commands, seed)
    if found.ratio <= 1:
        loads = sum(c.verb == "load" for c in commands)
        finding = f"{count} saved states of {loads} loads in random order: at most {found.ratio:.2g} of the tolerance"
        return Verdict("A3", True, found.ratio, finding, {"seed": seed})
    played = commands[: stopped + 1]
    shown = _shortened(x, judge, played, _another(commands, played), seed) if shorten else None
    shortest, found = shown or (played[_loads(played)[-1] :], found)
    words = "commands" if shown else f"the last of {len(played)} commands"
    sentence = f"{found.sentence} ({words}: {', '.join(map(str, shortest))})"
    evidence = {**found.evidence, "seed": seed, "history": [str(c) for c in shortest]}
    seen = look_at(x, found.question, found.gave) if found.question else None
    evidence |= {"microscope": seen.as_json()} if seen else {}
    return Verdict("A3", False, found.ratio, sentence, evidence)


# ---------------------------------------------------------------- what is drawn


def _history(judge: Judge, own: Case | None, random: np.random.Generator, brief: bool) -> Iterator[Command]:
    """All kinds of states and orders of commands; then few states, each looked at often, far on, after long runs."""
    look, refused = Command("look"), Command("refused")
    for world in () if brief else _with_each_parameter_changed(judge, own, random):
        yield Command("load", world=world)
        yield Command("run", int(random.integers(1, 4)))
        yield look
    for world in _worlds(judge, own, random, MANY_KINDS // 4 if brief else MANY_KINDS):
        units = judge.specification.work(world.parameters)
        yield Command("load", world=world)
        if random.random() < 0.5:
            yield look
        for _ in range(random.integers(1, 3)):
            for steps in _pieces(random, max(1, min(MOST // units, 100))):
                yield Command("run", steps)
                if random.random() < 0.3:
                    yield refused
            yield look
    for size in OFTEN[:1] if brief else OFTEN:
        for world in drawn(judge, own, random, size):
            yield Command("load", world=world)
            for _ in range(LOOKS):
                yield Command("run", int(random.integers(4, 25)))
                if random.random() < 0.3:  # a run that begins where one ended, with no look between
                    yield Command("run", int(random.integers(1, 4)))
                yield look
                if random.random() < 0.3:
                    yield refused
                yield Command("run", int(random.integers(1, 3)))
                yield look
    for _ in range(1 if brief else GLANCES):
        for world in drawn(judge, own, random, int(random.integers(*GLANCED))):
            yield Command("load", world=world)
            yield look
    for _ in range(1 if brief else LONG_RUNS):
        for world in drawn(judge, own, random, FEW):
            yield Command("load", world=world)
            for span in HUNDREDS:
                yield Command("run", int(random.integers(*span)))
                yield look
            for nothing in (Command("run", 0), refused):  # in each history, whatever was drawn above
                yield nothing
                yield look
    for world in _own(judge, own, random):
        yield Command("load", world=world)
        small = judge.specification.work(world.parameters) <= OFTEN[0]
        yield Command("run", int(random.integers(*FAR)) if small else 100)
        yield look
        yield Command("run", 1)
        yield look
        for _ in range(2 * LOOKS):
            yield Command("run", int(random.integers(6, 30)))
            yield look


def _without(refuses: Mapping[str, str], history: Iterator[Command]) -> Iterator[Command]:
    """The history without the states that the port refuses, and without what was done to them."""
    left_out = False
    for command in history:
        if command.world:
            left_out = any(command.world.name.startswith(name) for name in refuses)
        if not left_out:
            yield command


def _pieces(random: np.random.Generator, most: int) -> list[int]:
    """A run, in one go or in several."""
    kind = random.integers(4)
    if kind == 0:
        return [int(random.integers(1, 4))]
    if kind == 1:
        return [int(np.exp(random.uniform(0, np.log(most + 0.5))))]
    if kind == 2:
        return [1, 0, int(random.integers(1, 10))]
    return [max(1, int(n)) for n in random.integers(1, max(2, most // 6), random.integers(2, 4))]


def _worlds(judge: Judge, own: Case | None, random: np.random.Generator, count: int) -> Iterator[World]:
    """Small states of all kinds; each now and then followed by some of the same shape."""
    made = 0
    while made < count:
        found = list(drawn(judge, own, random, int(random.choice(SIZES))))
        if not found:
            return
        alike = (_legal(judge, one) for one in _alike(judge.specification, found[0], random))
        found += [one for one in itertools.islice(alike, int(random.integers(3))) if one]
        made += len(found)
        yield from found


def drawn(judge: Judge, own: Case | None, random: np.random.Generator, size: int) -> Iterator[World]:
    """One random legal state of about so many units; a probe or the case's own where the specification draws none."""
    specification = judge.specification
    probes = specification.probes(float)
    for _ in range(TRIES):
        stress = specification.stress(random, size)
        cases = [] if stress else list(_own(judge, own, random))
        if stress:
            world = World(f"a random state of {specification.work(stress[0])}", *stress)
        elif probes and (not cases or random.random() < 0.7):
            name = str(random.choice(list(probes)))
            world = World(f"the probe '{name}'", *probes[name])
        else:
            break
        legal = _legal(judge, world)
        if legal:
            yield legal
            return
    yield from cases or _own(judge, own, random)


def _own(judge: Judge, own: Case | None, random: np.random.Generator) -> Iterator[World]:
    """The initial or disordered state of this case, if there is one. Where the specification has no disordered one, the
    initial one with its numbers a little smaller: the usual square in the middle is its own transpose.
    """
    specification = judge.specification
    if own:
        for as_it_is in random.permutation([True, False]):
            name, state = f"the initial state of {own.name}", specification.initial_state(own.parameters)
            if not as_it_is and specification.offers("disordered_state"):
                name, state = f"the disordered state of {own.name}", specification.disordered_state(own.parameters)
            elif not as_it_is:
                name += f" with each number up to {SMALLER:.0%} smaller"
                state = specification.nearer_to_zero(state, SMALLER, random)
            legal = _legal(judge, World(name, own.parameters, state))
            if legal:
                yield legal
                return


def small_case(specification: Specification, case: Case) -> Case | None:
    """The case itself, or the specification's smallest, if it is small or quick enough to be asked often."""
    every = [case]
    with suppress(Refusal):
        every += specification.cases(list(specification.module.CASES), {})
    smallest = min(every, key=lambda c: (specification.work(c.parameters), c.name))
    least, size = specification.work(smallest.parameters), specification.work(case.parameters)
    if size <= LARGEST_CASE:
        return case
    seconds = _seconds(specification, smallest) if least <= MOST_UNITS else math.inf
    if seconds * (size / least) ** 2 <= QUICK:  # as it would be if all pairs were looked at
        return case
    return smallest if least <= LARGEST_CASE or seconds <= QUICK else None


def _seconds(specification: Specification, case: Case) -> float:
    """Of a step from the initial state, and of what derives from it; the best of two."""
    state, taken = specification.initial_state(case.parameters), []
    for _ in range(2):
        begin = time.perf_counter()
        specification.observe(case.parameters, specification.advance(case.parameters, state, 1))
        taken.append(time.perf_counter() - begin)
    return min(taken)


def _with_each_parameter_changed(judge: Judge, own: Case | None, random: np.random.Generator) -> Iterator[World]:
    """One state as it is, and then with each number among the parameters a little other, one after the other: those of
    the cases may stand in a port as constants.
    """
    for world in itertools.islice(itertools.chain(_own(judge, own, random), drawn(judge, own, random, SIZES[-1])), 1):
        yield world
        found: dict[str, World] = {}
        for _ in range(SIGNS):
            for label, parameters in _nudged(judge.specification, world.parameters, random):
                if label not in found:
                    legal = _legal(judge, World(f"{world.name} with another {label}", parameters, world.state))
                    found |= {label: legal} if legal else {}
        yield from found.values()


def _alike(specification: Specification, world: World, random: np.random.Generator) -> list[World]:
    """Others of the same shape: each float parameter a little other, the state otherwise, or both."""
    found = []
    for label, parameters in _nudged(specification, world.parameters, random):
        found.append(World(f"{world.name} with another {label}", parameters, world.state))
    for name, (parameters, do, _) in specification.relations(world.parameters, random).items():
        found.append(World(f"{world.name}, {name}", parameters, do(world.state)))
    for name, (do, _) in specification.symmetries(world.parameters, random).items():
        found.append(World(f"{world.name}, {name}", world.parameters, do(world.state)))
    return [found[k] for k in random.permutation(len(found))]


def _nudged(
    specification: Specification, parameters: Parameters, random: np.random.Generator
) -> Iterator[tuple[str, Parameters]]:
    """Each float parameter a little larger or smaller; of several floats, all of them; and each whole number larger or
    smaller by one, if no shape depends on it.
    """
    shapes = [field.shape(parameters) for field in specification.fields.values()]
    for label, value in parameters.items():
        if isinstance(value, float) and value:
            yield label, {**parameters, label: value * (1 + NUDGE * random.choice([-1, 1]))}
        elif isinstance(value, tuple) and value and all(isinstance(v, float) for v in value):
            yield label, {**parameters, label: tuple(v * (1 + NUDGE * random.random()) for v in value)}
        elif isinstance(value, int) and not isinstance(value, bool):
            other = {**parameters, label: value + int(random.choice([-1, 1]))}
            with suppress(Refusal):
                if [field.shape(other) for field in specification.fields.values()] == shapes:
                    yield label, other


def _spoilt(state: Fields, random: np.random.Generator) -> Iterator[Fields]:
    """Finite states that may not be legal: far too large, negative, or with one row of a field twice."""
    for change in (
        lambda a: 1e6 * (1 + np.abs(a)),
        lambda a: -1 - np.abs(a),
        lambda a: np.broadcast_to(a[..., :1, :], a.shape),
    ):
        for name, a in state.items():
            if a.ndim > 1 or a.size:
                with suppress(IndexError):
                    yield {**state, name: np.array(change(a))}


def _legal(judge: Judge, world: World) -> World | None:
    """The world in numbers of the class; None where the specification cannot go on from it."""
    dtype = judge.precision.dtype
    made = replace(world, parameters=rounded_parameters(world.parameters, dtype), state=rounded(world.state, dtype))
    try:
        judge.specification.check_state(made.parameters, made.state)
        moved = judge.specification.advance(made.parameters, made.state, 2)
        judge.specification.check_state(made.parameters, moved)
    except Refusal:
        return None
    return made


# ---------------------------------------------------------------- how it is played


def _play(x: Exchange, judge: Judge, commands: list[Command], seed: int) -> tuple[Deviation, int]:
    """The worst deviation, or the first beyond its tolerance, and the number of the command at which it was seen."""
    worst = Deviation()
    now = _Now(x, judge, np.random.default_rng([seed, 1]))
    for number, command in enumerate(commands):
        try:
            found = now.obey(command)
        except Refusal:  # the motion ran away, and the specification cannot follow either
            now.lost = True
            continue
        except PortFailure as failure:
            if failure.kind != "refused":
                raise
            if now.ran_away(command.number) or now.explained(command.number):
                continue
            found = Deviation(math.inf, failure.sentence, {})
        if not found.ratio <= worst.ratio:
            worst = found
        if not worst.ratio <= 1:
            return worst, number
    return worst, len(commands) - 1


class _Now:
    """What is loaded, and the last of its states that is known, some steps ago."""

    def __init__(self, x: Exchange, judge: Judge, random: np.random.Generator):
        self.x, self.judge, self.random = x, judge, random
        self.world: World | None = None
        self.known: Fields = {}
        self.since = self.done = 0
        self.lost = True  # nothing can be asked until the next load

    def obey(self, command: Command) -> Deviation:
        if command.verb == "load" and command.world:
            self.world, self.known, self.since, self.done, self.lost = command.world, command.world.state, 0, 0, False
            self.x.load(self.world.parameters, self.world.state)
            self.x.spoil_what_was_lent()
            return Deviation()
        if self.lost or not self.world:
            return Deviation()
        if command.verb == "run":
            self.x.port.run(command.number)
            self.since += command.number
            self.done += command.number
            return Deviation()
        return self._refused(self.world) if command.verb == "refused" else self._look(self.world)

    def _look(self, world: World) -> Deviation:
        echoed, fields = self.x.save(world.parameters)
        changed = parameter_that_changed(world.parameters, echoed)
        if changed:
            return Deviation(math.inf, f"of {world.name}, {changed}", {})
        broken = self.judge.illegal(world.parameters, fields) or not _finite(fields)
        if broken and self.ran_away(0):
            return Deviation()
        what = f"its own state {self.done} step{'s' * (self.done != 1)} after loading {world.name}"
        found = [self.judge.derived(what, world.parameters, fields, self.random)]
        units = self.judge.specification.work(world.parameters)
        if self.since and (self.since * units <= MOST or self.since <= 3 or self._quick(world)):
            begun = self.done - self.since
            before = f"its own state {begun} steps after loading {world.name}" if begun else world.name
            found.append(self.judge.moved(before, world.parameters, self.known, fields, self.since, self.random))
        elif not self.since and not self.done:
            found.append(self._as_it_was_loaded(world, fields))
        elif not self.since and any(not np.array_equal(fields[n], self.known[n]) for n in self.known):
            found.append(Deviation(math.inf, f"{what} changed without a step", {}))
        self.known, self.since = {n: fields[n] for n in self.judge.specification.state}, 0
        return max(found, key=lambda one: one.ratio if not math.isnan(one.ratio) else math.inf)

    def _quick(self, world: World) -> bool:
        """Whether the specification soon is where the port is."""
        if self.since > FAR[1]:
            return False
        begin, few = time.perf_counter(), min(self.since, 8)
        with suppress(Refusal):
            self.judge.specification.advance(world.parameters, self.known, few)
        return (time.perf_counter() - begin) * self.since / few <= FOLLOWED

    def _as_it_was_loaded(self, world: World, fields: Fields) -> Deviation:
        """To the last bits but some, as in A0: of the largest number, or of how far a step takes it, for velocities
        may be kept half a step on.
        """
        specification, worst = self.judge.specification, Deviation()
        moved = specification.advance(world.parameters, world.state, 1)
        for name, given in world.state.items():
            step, off = (
                np.abs(specification.difference(world.parameters, name, a[name], given)) for a in (moved, fields)
            )
            size = self.judge.precision.size(name, given) + float(np.max(step, initial=0.0))
            tolerance = LAST_BITS * self.judge.precision.eps * size
            if not np.all(off <= tolerance):
                at = tuple(int(i) for i in np.unravel_index(np.argmax(off), off.shape))
                got, want = float(fields[name][at]), float(given[at])
                sentence = f"of {world.name}, {slips.echo(self.x, world.parameters, world.state, fields, name)}"
                ratio = float(off[at] / tolerance) if tolerance else math.inf
                found = Deviation(ratio, sentence, {"field": name, "index": list(at), "got": got, "want": want})
                worst = found if not found.ratio <= worst.ratio else worst
        return worst

    def _refused(self, world: World) -> Deviation:
        """A load that must fail: what is loaded must go on as if it never came. Where the specification tells of a
        state that it is not legal, it is such a one that comes, for it is the port itself that sees it.
        """
        nudged = {label: p[label] for label, p in _nudged(self.judge.specification, world.parameters, self.random)}
        parameters = {**world.parameters, **nudged}
        illegal = [s for s in _spoilt(world.state, self.random) if self.judge.illegal(parameters, s)]
        poisoned = {name: a.copy() for name, a in world.state.items()}
        name = str(self.random.choice(list(poisoned)))
        poisoned[name].flat[int(self.random.integers(poisoned[name].size))] = np.nan
        must_refuse = not illegal or self.random.random() < 0.3
        try:
            self.x.load(parameters, poisoned if must_refuse else illegal[self.random.integers(len(illegal))])
        except PortFailure as failure:
            if failure.kind != "refused":
                raise
            return Deviation()
        if must_refuse:
            return Deviation(math.inf, f"a state with a NaN in {name} got `ok`, and should have been refused", {})
        self.lost = True  # it took what the specification calls illegal: what comes of that is no question
        return Deviation()

    def ran_away(self, steps: int) -> bool:
        """Whether a port had a reason to refuse a run, or to end in no legal or no finite state: neither has the
        specification one so many steps on, from the last known state.
        """
        if self.lost or not self.world:
            return True
        specification, parameters = self.judge.specification, self.world.parameters
        try:
            end = specification.advance(parameters, self.known, self.since + steps)
            specification.check_state(parameters, end)
            self.lost = not _finite({**end, **specification.observe(parameters, end)})
        except Refusal:
            self.lost = True
        return self.lost

    def explained(self, steps: int) -> bool:
        """Whether a run that the port refused has led it where the specification refuses to go on, though it has come
        elsewhere itself: in a run of hundreds of steps a collision may be met or missed by a rounding. The run is made
        again, in pieces and then step by step, up to the port's last legal state.
        """
        assert self.world
        specification, parameters, start = self.judge.specification, self.world.parameters, self.known
        total, pieces, last = self.since + steps, list[int](), start
        self.lost = True  # what is loaded after this is not known
        for size in dict.fromkeys((max(1, total // PIECES), 1)):
            refused = False
            try:
                self.x.load(parameters, start)
                for piece in pieces:
                    self.x.port.run(piece)
                    self.x.save(parameters)
                while sum(pieces) < total:
                    piece = min(size, total - sum(pieces))
                    self.x.port.run(piece)
                    last = self._legal_state(self.x.save(parameters)[1])
                    pieces.append(piece)
            except Refusal:
                refused = True
            except PortFailure as failure:
                if failure.kind != "refused":
                    raise
                refused = True
        try:
            if refused:
                self._legal_state(specification.advance(parameters, last, AFTER))
                return False
            right = specification.advance(parameters, start, total)
            for twin in self.judge.few_twins(parameters):
                end = twins.advanced(specification, parameters, start, total, twin)
                for name, field in specification.state.items():
                    if largest(specification, parameters, name, end, right) > LOST * (field.scale or 1.0):
                        return True  # pieces need not lead where the whole run did
        except Refusal:
            return True
        return False

    def _legal_state(self, fields: Fields) -> Fields:
        """The state among them; Refusal if the specification calls it illegal, or it is not finite."""
        assert self.world
        state = {name: fields[name] for name in self.judge.specification.state}
        self.judge.specification.check_state(self.world.parameters, state)
        if not _finite(state):
            raise Refusal("it is not finite")
        return state


def _finite(fields: Fields) -> bool:
    return all(np.all(np.isfinite(a)) for a in fields.values())


# ---------------------------------------------------------------- the shortest that shows a failure


def _loads(commands: list[Command]) -> list[int]:
    return [k for k, c in enumerate(commands) if c.verb == "load"]


def _shortened(
    x: Exchange, judge: Judge, commands: list[Command], before: list[Command], seed: int
) -> tuple[list[Command], Deviation] | None:
    """The commands since one of the last loads, if these fail too; then commands are left out, halves of them first,
    while the rest still fails (A. Zeller, R. Hildebrandt, "Simplifying and isolating failure-inducing input", IEEE
    Trans. Softw. Eng. 28, 183, 2002). All in the same process: a state of another shape is loaded `before` each try,
    lest what the port kept of the try before shows the failure without the command that made it. None if no try fails.
    """
    ends, found = time.monotonic() + SHRINK_SECONDS, Deviation()

    def still(fewer: list[Command]) -> bool:
        nonlocal commands, found
        if fewer[0].verb != "load":
            return False
        with suppress(PortFailure):
            other, stopped = _play(x, judge, [*before, *fewer], seed)
            if not other.ratio <= 1 and stopped >= len(before):
                commands, found = fewer[: stopped + 1 - len(before)], other
                return True
        return False

    loads = _loads(commands)
    for back in (2**k for k in range(len(loads).bit_length())):
        if time.monotonic() > ends or x.port.process.poll() is not None or still(commands[loads[-back] :]):
            break
    size = max(1, len(commands) // 2)
    while size and time.monotonic() < ends:
        start, shorter = 0, False
        while start < len(commands) - 1 and time.monotonic() < ends:
            if still(commands[:start] + commands[min(start + size, len(commands) - 1) :]):
                shorter = True
                continue
            if x.port.process.poll() is not None:
                size = 0
                break
            start += size
        if not shorter:
            size //= 2
    return (commands, found) if found.ratio else None


def _another(commands: list[Command], played: list[Command]) -> list[Command]:
    """A load of another shape than the last of those that were played, if there is any."""
    last = _shapes(played[_loads(played)[-1]])
    return next(([commands[k]] for k in _loads(commands) if _shapes(commands[k]) != last), [])


def _shapes(load: Command) -> dict[str, tuple[int, ...]]:
    return {name: a.shape for name, a in load.world.state.items()} if load.world else {}

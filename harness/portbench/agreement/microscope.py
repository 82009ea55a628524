"""The divergence microscope: where a port first goes wrong, and what the pattern of its errors suggests.

For a failure it finds the first bad step by bisection, then asks the port again from the
specification's own state just before it. Each guess is a test with its evidence. Those that say what the
port's numbers would then be have one scale, the part of the error that they leave unexplained: the strongest
comes first, and what it makes superfluous is left out. Before them stand those that an experiment has shown (a
race, stale data), after them those that tell where the errors are. What is special about the elements the
specification tells (terms, features).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from portbench.agreement import places, slips
from portbench.agreement.levels import Verdict, trace
from portbench.agreement.reference import Answer, Question, Reference
from portbench.contract import Fields, Parameters
from portbench.errors import PortFailure, Refusal
from portbench.protocol import Exchange

NUDGE = 1e-6  # relative, of a parameter whose effect is looked for
WELL = 0.02  # a part of the error left unexplained that still counts as explained
MAYBE = 0.3  # a part with which a straight line may still lead to a parameter that explains it well
EXACT = 1e-3  # a part left by a guess that fits no number to the errors
ALL = 1e-6  # a part that rounding leaves of what is explained: less is no better
FAR = 30  # times as much left as by the best guess makes a guess superfluous
FEW_STEPS = 16  # up to so many steps each other number of steps is tried
COUNTERS = (1 << 7, 1 << 8, 1 << 15, 1 << 16)  # where a counter of few bits begins anew
CHUNKS = (2, 4, 8, 10, 16, 32, 64, 100, 128, 256, 512, 1024)  # in which a run may be cut
MANY_ULPS = 1e6  # beyond, the distance is told relatively
FEW = 8  # different numbers, at least, that may show a pattern
WIDE = 0.6  # a feature that more of the elements have than this explains nothing


@dataclass(frozen=True)
class Guess:
    """What may be the cause, and what speaks for it."""

    cause: str
    evidence: str
    unexplained: float | None = None  # part of the error; None where what speaks for it is no number


@dataclass
class Sight:
    """What the microscope shows of one failure."""

    where: str  # one sentence: step, field, index
    values: str  # both values in decimal and hex, with their distance
    extent: str  # how many elements are wrong
    guesses: list[Guess] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> list[str]:
        return [self.where, self.values, self.extent, *(f"perhaps {g.cause}: {g.evidence}" for g in self.guesses)]


@dataclass(frozen=True)
class _Scene:
    """One question at which the port is wrong: from `before`, it gives `got` where `right` is right."""

    parameters: Parameters
    before: Fields  # the state from which the port started, and what derives from it
    right: Fields  # the state afterwards, or the derived fields (step 0), as the specification has them
    got: Fields
    tolerance: Fields
    step: int  # 0: derived fields of `before`
    start: Fields  # the state that was given, or was the port's own, ...
    asked: int  # ... before a run of so many steps in one go

    def errors(self, x: Exchange, name: str) -> np.ndarray:
        return x.specification.difference(self.parameters, name, self.got[name], self.right[name])


def look(x: Exchange, reference: Reference, verdict: Verdict) -> Sight | None:
    """Examine a failed verdict of A1 to A4 with the port that is still running; None where there is nothing to see."""
    questions = {
        "A2": reference.kernel,
        "A3": reference.few_steps,
        "A1": [reference.free_run],
        "A4": [reference.free_run],
    }
    place = [q for q in questions.get(verdict.level, []) if q.name == verdict.evidence.get("from")]
    if not place or "field" not in verdict.evidence:
        return None
    try:
        return _look(x, place[0], verdict)
    except (PortFailure, Refusal):  # it died under the microscope, or the specification did on its wrong state
        return None


def look_at(x: Exchange, question: Question, gave: Fields) -> Sight | None:
    """The same of a state that the port saved in the course of a history: it `gave` this at the one answer of the
    `question`, which starts from its own state before.
    """
    answer = question.answers[0]
    question = replace(question, state=_state(x, question.state))
    p, before = question.parameters, question.state
    try:
        again = trace(x, question)[0]
        fresh = _Scene(p, before, answer.fields, again, answer.tolerance, answer.step, before, answer.step)
        if _worst_field(x, fresh) is not None:
            first, before, answer = _first_bad_step(x, question, answer)
            return _sight(x, question, *_scene(x, question, first, before, answer))
        everything = before | x.specification.observe(p, before)
        scene = replace(fresh, before=everything, got=gave)
        when = f"after {_steps(answer.step)} from {question.name}" if answer.step else f"beside {question.name}"
        return _sight(x, question, scene, f"{when}, and not from a fresh load of that state", True)
    except (PortFailure, Refusal):
        return None


def _look(x: Exchange, question: Question, verdict: Verdict) -> Sight | None:
    if verdict.level == "A1":
        return _sight_of_a_race(x, question, verdict)
    failed = next(a for a in question.answers if a.step == verdict.evidence["step"])
    first, before, answer = _first_bad_step(x, question, failed)
    return _sight(x, question, *_scene(x, question, first, before, answer))


def _sight(x: Exchange, question: Question, scene: _Scene, where: str, carried: bool) -> Sight | None:
    name = _worst_field(x, scene)
    if name is None:
        return None
    error = np.abs(scene.errors(x, name))
    ratio = error / np.maximum(np.broadcast_to(scene.tolerance[name], error.shape), np.finfo(float).tiny)
    bad = ~(ratio <= 1)
    at = tuple(int(i) for i in np.unravel_index(int(np.argmax(np.nan_to_num(ratio, nan=np.inf))), ratio.shape))
    got, want = float(scene.got[name][at]), float(scene.right[name][at])
    sight = Sight(
        where=f"first wrong {where}: {name}[{', '.join(map(str, at))}]",
        values=f"got {got!r} = {got.hex()}, want {want!r} = {want.hex()}: {_apart(got, want, x.precision)}",
        extent=f"wrong are {int(bad.sum())} of {bad.size} numbers of {name}" + _all_within(name, bad),
    )
    sight.guesses = _guesses(x, question, scene, name, bad, at, carried)[:4]
    return sight


def _apart(got: float, want: float, precision: str) -> str:
    """How far, in words that fit: another sign or a factor of two is no matter of units in the last place."""
    if not (math.isfinite(got) and math.isfinite(want)):
        return "not finite, and so not to be measured"
    if got == -want:
        return "the same number with the other sign"
    if want and math.frexp(abs(got))[0] == math.frexp(abs(want))[0]:
        return f"exactly {got / want:g} times what it should be"
    off = abs(got - want)
    unit = float(np.spacing(np.float32(abs(want)))) if precision == "float32" else math.ulp(want)
    if off <= MANY_ULPS * unit:
        return f"{off:.3g} or {off / unit:.4g} ulp apart"
    return f"{off:.3g} apart" + (f", {off / abs(want):.2g} of it" if want else ", and 0 is right")


def _all_within(name: str, bad: np.ndarray) -> str:
    place = places.find(name, bad)
    return f", all within {place.region}" if place and place.region and bad.sum() > 1 else ""


def _sight_of_a_race(x: Exchange, question: Question, verdict: Verdict) -> Sight:
    e = verdict.evidence
    sight = Sight(
        where=f"the same run differs from itself: {e['field']}{e['index']} after {e['step']} steps",
        values=f"once {e['want']!r} = {e['want_hex']}, then {e['got']!r} = {e['got_hex']}: "
        f"{_apart(e['got'], e['want'], x.precision)}",
        extent="see which numbers change from run to run: they are the ones that threads share",
    )
    sight.guesses = list(_guess_random(x, question))
    return sight


def _first_bad_step(x: Exchange, question: Question, failed: Answer) -> tuple[int, Fields, Answer]:
    """The first step at which the port is out of tolerance, the specification's state before, and after."""
    if failed.step == 0:
        return 0, question.state, failed
    good, state, tolerance = 0, question.state, question.answers[0].tolerance
    for answer in question.answers:
        if answer.step >= failed.step:
            break
        good, state, tolerance = answer.step, _state(x, answer.fields), answer.tolerance
    bad, after = failed.step, failed
    while bad - good > 1:
        middle = (good + bad) // 2
        right = _outcome(x, question.parameters, state, middle - good)
        allowed = {}
        for name, low in tolerance.items():  # the envelope grows as a power of the step
            share = (middle - good) / (bad - good)
            allowed[name] = np.maximum(low, 1e-300) ** (1 - share) * np.maximum(after.tolerance[name], 1e-300) ** share
        answer = Answer(middle, right, allowed, {})
        got = trace(x, Question(question.name, question.parameters, question.state, [answer]))[0]
        scene = _Scene(question.parameters, state, right, got, allowed, middle, question.state, middle)
        if _worst_field(x, scene) is None:
            good, state, tolerance = middle, _state(x, right), allowed
        else:
            bad, after = middle, answer
    return bad, state, after


def _scene(x: Exchange, question: Question, first: int, before: Fields, answer: Answer) -> tuple[_Scene, str, bool]:
    """The simplest situation that shows the fault, in words, and whether it needs a run that came before."""
    p = question.parameters
    if first == 0:
        got = trace(x, Question("", p, before, [answer]))[0]
        return _Scene(p, before, answer.fields, got, answer.tolerance, 0, before, 0), f"of {question.name}", False
    everything = before | x.specification.observe(p, before)
    one = Answer(1, answer.fields, answer.tolerance, {})
    got = trace(x, Question("", p, before, [one]))[0]
    fresh = _Scene(p, everything, answer.fields, got, answer.tolerance, first, before, 1)
    if first == 1 or _worst_field(x, fresh) is not None:
        return fresh, f"in step {first} of {question.name}, and again from a fresh load of the state before", False
    # The port's own state just before, and where it goes from there without a load in between.
    x.load(p, question.state)
    x.port.run(first - 1)
    own = _state(x, x.save(p)[1])
    x.port.run(1)
    got = x.save(p)[1]
    right = _outcome(x, p, own, 1)
    scene = _Scene(p, own | x.specification.observe(p, own), right, got, answer.tolerance, first, own, 1)
    if _worst_field(x, scene) is None:  # saving has cured it: look at the run that was not disturbed
        got = trace(x, Question("", p, question.state, [Answer(first, answer.fields, {}, {})]))[0]
        scene = _Scene(p, everything, answer.fields, got, answer.tolerance, first, question.state, first)
    return scene, f"in step {first} of {question.name}, and not from a fresh load of the state before", True


def _worst_field(x: Exchange, scene: _Scene) -> str | None:
    """The largest array that is out of its tolerance: it shows most; None if none is."""
    ratios, wrong = {}, {}
    for name, tolerance in scene.tolerance.items():
        with np.errstate(all="ignore"):
            off = np.abs(scene.errors(x, name))
            ratio = np.where(off == 0, 0.0, off / tolerance)
        ratios[name] = math.inf if np.any(np.isnan(ratio)) else float(np.max(ratio, initial=0.0))
        wrong[name] = int(np.sum(~(ratio <= 1)))
    worst = max(ratios, key=lambda name: (wrong[name] > 0, np.size(scene.right[name]), ratios[name]))
    return worst if not ratios[worst] <= 1 else None


# ---------------------------------------------------------------- guesses


def _guesses(
    x: Exchange,
    question: Question,
    scene: _Scene,
    name: str,
    bad: np.ndarray,
    at: tuple[int, ...],
    carried: bool,
) -> list[Guess]:
    """All that the evidence suggests, strongest first."""
    error = scene.errors(x, name)
    if not np.all(np.isfinite(scene.got[name])):
        count = int(np.sum(~np.isfinite(scene.got[name])))
        return [Guess("a division by zero or memory never written", f"{count} numbers of {name} are not finite")]
    seen = list(_guess_random(x, question))
    counted, whole = _guess_number_of_steps(x, scene, name, error)
    if carried and not whole:
        seen.append(
            Guess(
                "stale data that is carried from step to step (a neighbour list, an old force, a counter)",
                "from a fresh load of the same state the step is right",
            )
        )
    measured = [counted] if counted else []
    if not whole:  # or else the same is only said in other words
        measured += [
            *_guess_layout(x, scene, name, error),
            *_guess_fields(x, scene, name, error, bad),
            *_guess_parameter(x, scene, name, error),
            *_guess_fewer_digits(x, scene, name, error),
        ]
    return [
        *seen,
        *(g for g in measured if g.unexplained is None),
        *_strongest([*measured, *_guess_coarse(scene, name, error, bad)]),
        *_guess_other_answer(x, scene, name),
        *_guess_term(x, scene, name, error, at),
        *_guess_elements(x, scene, name, bad),
    ]


def _strongest(measured: list[Guess]) -> list[Guess]:
    """Those on the one scale, by what they leave unexplained, without those that a far better one makes superfluous."""
    scale = sorted((g.unexplained, k) for k, g in enumerate(measured) if g.unexplained is not None)
    return [measured[k] for left, k in scale if left <= FAR * max(scale[0][0], ALL)]


def _part(error: np.ndarray, of: np.ndarray) -> float:
    """How large this error is beside that one; NaN stands where nothing is known."""
    return float(np.linalg.norm(np.nan_to_num(error)) / np.linalg.norm(of))


def _all_but(rest: float) -> str:
    return f"all but {rest:.1g}" if rest >= ALL else "all"


def _guess_random(x: Exchange, question: Question) -> Iterator[Guess]:
    last = Question(question.name, question.parameters, question.state, question.answers[-1:])
    seen = [trace(x, last)[0] for _ in range(3)]
    changing = {name: int(np.sum(np.any([a[name] != seen[0][name] for a in seen[1:]], axis=0))) for name in seen[0]}
    changing = {name: count for name, count in changing.items() if count}
    if changing:
        yield Guess(
            "a data race, or memory that was never written",
            "three equal runs differ in " + ", ".join(f"{count} numbers of {n}" for n, count in changing.items()),
        )


def _guess_fewer_digits(x: Exchange, scene: _Scene, name: str, error: np.ndarray) -> Iterator[Guess]:
    got, right = scene.got[name], scene.right[name]
    nonzero = right != 0
    few = "float16" if x.precision == "float32" else "float32"
    if len(np.unique(right[nonzero])) < FEW:
        return
    with np.errstate(over="ignore"):
        exactly = [float(np.mean((a == a.astype(few))[nonzero])) for a in (got, right)]
    if exactly[0] > 0.99 > exactly[1]:
        yield Guess(few, f"all numbers of {name} are exactly {few} numbers")
        return
    if few != "float32" or np.mean(error != 0) <= 0.5:
        return
    of = {"the values": right}
    if scene.step and name in x.specification.state:  # what is computed in float32 may be the change alone
        of["what the step changes"] = x.specification.difference(scene.parameters, name, right, scene.before[name])
    for words, values in of.items():
        there = values != 0
        size = np.median(np.abs(error[there]) / np.maximum(np.abs(values[there]), np.abs(values).mean()))
        signs = np.mean(np.sign(error[there]) == np.sign(values[there]))
        if 3e-9 < size < 1e-6 and 0.3 < signs < 0.7:  # rounding has no preferred direction; a wrong constant has
            yield Guess(
                "float32 somewhere on the way",
                f"the errors are {size:.1g} of {words}, in either direction (float32 rounds by 6e-8)",
                1.0,  # it tells the size of the errors and not one of them
            )
            return


def _guess_coarse(scene: _Scene, name: str, error: np.ndarray, bad: np.ndarray) -> Iterator[Guess]:
    ratio = np.abs(error) / np.maximum(np.broadcast_to(scene.tolerance[name], error.shape), np.finfo(float).tiny)
    if float(np.max(ratio)) < 1e3 and bad.mean() > 0.02:
        yield Guess(
            "coarser rounding than the class allows (fast-math, an approximate reciprocal or root, a long sum)",
            f"the errors are small, at most {float(np.max(ratio)):.3g} times the tolerance, and on many numbers",
            1.0,
        )


def _guess_number_of_steps(x: Exchange, scene: _Scene, name: str, error: np.ndarray) -> tuple[Guess | None, bool]:
    """Whether another number of steps than was asked for would have made just this, and not this field alone."""
    found = _steps_made(x, scene, name, error, scene.asked)
    if found is None:
        return None, False
    made, rest, alone = found
    pairs = [(scene.asked, made)]
    if scene.asked == 1 and not alone:  # two steps for one are one too many, or twice as many: three will tell
        three = _outcome(x, scene.parameters, scene.start, 3)
        with suppress(PortFailure):
            got = trace(x, Question("", scene.parameters, scene.start, [Answer(3, three, {}, {})]))[0]
            more = replace(scene, got=got, right=three, step=3, asked=3)
            wrong = more.errors(x, name)
            again = _steps_made(x, more, name, wrong, 3) if np.any(wrong) else None
            pairs += [(3, again[0])] if again else []
    what = f"{name} alone" if alone else name
    told = "; ".join(f"asked for {_steps(asked)}, {what} is what {_steps(n)} make{'s' * (n < 2)}" for asked, n in pairs)
    if alone:
        return Guess(f"{name} is that of another step", told, rest), False
    relations = {
        "none is made": lambda n: 0,
        "one too many": lambda n: n + 1,
        "one too few": lambda n: n - 1,
        "twice as many": lambda n: 2 * n,
        "one at most is made": lambda n: min(n, 1),
        "half as many": lambda n: n // 2,
    }
    words = next((w for w, of in relations.items() if all(of(k) == n for k, n in pairs)), "")
    cause = "off by one step" if words.startswith("one too") else "another number of steps than was asked for"
    return Guess(cause, told + (f": {words}" if words else ""), rest), True


def _steps_made(x: Exchange, scene: _Scene, name: str, error: np.ndarray, asked: int) -> tuple[int, float, bool] | None:
    """After how many steps from the start this field, or (not `alone`) the whole state, is what the port gave, and
    the part of the error that this leaves.
    """
    if asked <= FEW_STEPS:
        others = set(range(2 * max(asked, 1) + 1))
    else:
        rests = {asked % n for n in (*COUNTERS, *CHUNKS)} | {asked - asked % n for n in CHUNKS}
        others = {0, 1, asked // 2, asked - 1, asked + 1} | rests
    now, at, best = scene.start, 0, None
    for steps in sorted(others - {asked}):
        try:
            made = _outcome(x, scene.parameters, now, steps - at)
        except Refusal:
            break
        now, at = _state(x, made), steps
        left = {n: x.specification.difference(scene.parameters, n, scene.got[n], made[n]) for n in {name, *now}}
        rest = _part(left[name], error)
        if rest > EXACT or (error.size < FEW and rest > ALL) or (best and rest >= best[1]):
            continue
        whole = scene.step > 0 and all(
            np.linalg.norm(left[n]) <= EXACT * np.linalg.norm(scene.errors(x, n))
            or np.all(np.abs(left[n]) <= scene.tolerance.get(n, 0.0))
            for n in now
        )
        best = steps, rest, not whole
    return best


def _steps(count: int) -> str:
    words = ("no", "one", "two", "three", "four", "five", "six")
    return f"{words[count] if count < len(words) else count} step{'s' * (count > 1)}"


def _guess_layout(x: Exchange, scene: _Scene, name: str, error: np.ndarray) -> Iterator[Guess]:
    """Whether the right numbers are there, and in the wrong places."""
    right = scene.right[name]
    different = len(np.unique(right[right != 0]))
    if different < min(FEW, right.size):  # any number may stand for another that is equal
        return
    enough, best = EXACT if different >= FEW else ALL, None
    for words, array in slips.of_layout(scene.right, name):
        rest = _part(x.specification.difference(scene.parameters, name, scene.got[name], array), error)
        if rest < enough and np.any(np.nan_to_num(array)) and (best is None or rest < best[0]):
            best = rest, words
    if best:
        evidence = f"{name} comes {best[1]}, and is right but for that"
        yield Guess("the right numbers in the wrong places", evidence, best[0])


def _guess_fields(x: Exchange, scene: _Scene, name: str, error: np.ndarray, bad: np.ndarray) -> Iterator[Guess]:
    """Whether the error is a multiple of one field, or of two: a lost half kick is so much of the old force."""
    after = scene.right if scene.step == 0 else _outcome(x, scene.parameters, _state(x, scene.right), 0)
    basis = {}
    for when, fields in (("before", scene.before), ("after", after)) if scene.step else (("", scene.right),):
        for other, values in fields.items():
            if values.shape == error.shape and np.any(values):
                basis[f"{other} {when}".strip()] = values
    itself = f"{name} after"  # of what explains all alike, the simplest
    basis = {itself: basis[itself], **basis} if itself in basis else basis
    if bad.sum() < 3 and error.size > 3:
        return
    found = _fit(error[bad], {n: v[bad] for n, v in basis.items()}, 1) or _fit(
        error[bad], {n: v[bad] for n, v in basis.items()}, 2
    )
    if not found:
        return
    factors, rest = found
    said = " and ".join(f"{_short(factor)} times the {what}" for what, factor in factors.items())
    evidence = f"{said} explains {_all_but(rest)} of the error of {name}"
    own = factors.get(name, factors.get(f"{name} after")) if len(factors) == 1 else None
    if own is not None and abs(1 + own) < 1e-9:
        yield Guess("numbers that are never computed", f"the wrong numbers of {name} are 0", rest)
    elif own is not None and abs(2 + own) < 1e-9:
        yield Guess("the other sign", f"the wrong numbers of {name} are right but for their sign", rest)
    elif own is not None:
        yield Guess(f"a factor of {1 + own!r}", evidence, rest)
    elif len(factors) == 1 or bad.mean() > 0.5:
        yield Guess("a part of the step that is lost, doubled or out of order", evidence, rest)


def _fit(error: np.ndarray, basis: dict[str, np.ndarray], count: int) -> tuple[dict[str, float], float] | None:
    """The `count` fields whose linear combination explains the error best, if it does so well."""
    best: tuple[dict[str, float], float] | None = None
    for names in itertools.combinations(basis, count):
        matrix = np.stack([basis[n].ravel() for n in names], axis=1)
        if matrix.shape[0] <= count:
            continue
        factors, *_ = np.linalg.lstsq(matrix, error.ravel(), rcond=None)
        rest = float(np.linalg.norm(error.ravel() - matrix @ factors) / np.linalg.norm(error))
        if rest < WELL and (best is None or max(rest, ALL) < best[1]):  # of those that explain all, the first
            best = dict(zip(names, map(float, factors))), rest
    return best


def _guess_parameter(x: Exchange, scene: _Scene, name: str, error: np.ndarray) -> Iterator[Guess]:
    """Whether another value of one parameter would have made this error: by a straight line, then as it is."""
    state, steps = _state(x, scene.before), min(scene.step, 1)

    def error_with(parameters: Parameters) -> np.ndarray:
        made = _outcome(x, parameters, state, steps)[name]
        return x.specification.difference(scene.parameters, name, scene.got[name], made)

    best: tuple[float, str, float] | None = None
    for label in _floats(scene.parameters):
        try:
            effect = error - error_with(_changed(scene.parameters, label, NUDGE))
        except Refusal:
            continue
        if np.sum(effect != 0) < FEW:
            continue
        factor = float(np.vdot(effect, error) / np.vdot(effect, effect))
        rest = _part(error - factor * effect, error)
        if rest < (best[0] if best else MAYBE):
            best = rest, label, factor * NUDGE
    if best is None:
        return
    _, label, relative = best
    rest, found = math.inf, relative
    for _ in range(4):  # Newton's steps: the effect of a large change is no straight line
        try:
            left = error_with(_changed(scene.parameters, label, relative))
            effect = left - error_with(_changed(scene.parameters, label, relative, NUDGE))
        except Refusal:
            break
        if not _part(left, error) < rest:
            break
        rest, found = _part(left, error), relative
        if not np.any(effect):
            break
        relative += float(np.vdot(effect, left) / np.vdot(effect, effect)) * NUDGE
    if rest < WELL and abs(1 + found) > WELL:  # where it is 0 nothing is done at all, which is told elsewhere
        times = f"1 {found:+.3g}" if abs(found) < WELL else f"{1 + found:.4g}"
        yield Guess(f"a wrong {label}", f"{label} times {times} explains {_all_but(rest)} of the errors", rest)


def _floats(parameters: Parameters) -> Iterator[str]:
    """What may be changed by a little: `dt`, or `box[2]`."""
    for label, value in parameters.items():
        if isinstance(value, float) and value:
            yield label
        elif isinstance(value, tuple) and value and all(isinstance(v, float) for v in value):
            yield from (f"{label}[{k}]" for k in range(len(value)))


def _changed(parameters: Parameters, label: str, relative: float, more: float = 0.0) -> Parameters:
    """With this parameter times 1 + relative, and by as much more."""
    name, _, index = label.partition("[")
    factor = (1 + relative) + more
    if not index:
        return {**parameters, name: parameters[name] * factor}
    k = int(index.rstrip("]"))
    value = parameters[name]
    return {**parameters, name: (*value[:k], value[k] * factor, *value[k + 1 :])}


def _state(x: Exchange, fields: Fields) -> Fields:
    return {name: fields[name] for name in x.specification.state}


def _outcome(x: Exchange, parameters: Parameters, state: Fields, steps: int) -> Fields:
    """All fields after so many steps of the specification."""
    now = x.specification.advance(parameters, state, steps) if steps else state
    return now | x.specification.observe(parameters, now)


def _guess_term(x: Exchange, scene: _Scene, name: str, error: np.ndarray, at: tuple[int, ...]) -> Iterator[Guess]:
    """Whether the error of one element, with the other components of the same, points along one of its terms."""
    if not at:
        return
    where = scene.right if scene.step else scene.before
    state = _state(x, where)
    every = [(*at[:-1], c) for c in range(error.shape[-1])] if error.shape[-1] <= 4 else [at]
    for other, derived in x.specification.derived.items():
        if derived.shape(scene.parameters) != error.shape:
            continue
        listed = [dict(x.specification.terms(scene.parameters, state, other, index)) for index in every]
        if not listed[0]:
            continue
        vector = np.array([error[index] for index in every])
        length = float(np.linalg.norm(vector))
        for label in listed[0]:
            term = np.array([terms[label] for terms in listed])
            cosine = float(term @ vector / (np.linalg.norm(term) * length)) if np.any(term) and length else 0.0
            times = length / float(np.linalg.norm(term)) * np.sign(cosine) if np.any(term) else 0.0
            if abs(cosine) < 0.9999 or (len(every) == 1 and abs(times - round(times)) > 0.01):
                continue
            what = {-1: "is missing", -2: "has the wrong sign", 1: "counts twice"}.get(
                round(times), "counts too much" if times > 0 else "counts too little"
            )
            if scene.step:  # by how much depends on the step: only the direction is certain
                what = "counts too much" if times > 0 else "is missing or counts too little"
            yield Guess(f"one term of {other}", f"the error points along {label}, which {what}")
            return


def _guess_other_answer(x: Exchange, scene: _Scene, name: str) -> Iterator[Guess]:
    """Whether it gives what belongs to the state that was loaded before this one."""
    still = scene.got[name]
    if scene.step == 0 and len(np.unique(still)) >= FEW:
        moved = x.specification.advance(scene.parameters, _state(x, scene.before), 1)
        x.load(scene.parameters, moved)
        if np.array_equal(x.save(scene.parameters)[1][name], still):
            yield Guess(
                "a state or an answer that is kept from an earlier load",
                f"another state gets exactly the same {name}",
            )


def _guess_elements(x: Exchange, scene: _Scene, name: str, bad: np.ndarray) -> Iterator[Guess]:
    """Which elements are wrong: those with a feature, or in one place."""
    if not bad.ndim or bad.all():
        return
    if scene.step:
        before = _state(x, scene.before)
        masks = x.specification.features(scene.parameters, before, scene.right)
        for what, mask in sorted(masks.items(), key=lambda item: float(np.mean(item[1]))):
            over = np.broadcast_to(mask, bad.shape) if np.ndim(mask) == bad.ndim else np.zeros_like(bad)
            if 0 < over.mean() < WIDE and bad[over].any() and not bad[~over].any():
                yield Guess("the boundary, or what is special here", f"every wrong number is of one that {what}")
                break
    place = places.find(name, bad)
    still = name in scene.before and np.shape(scene.before[name]) == bad.shape and scene.step > 0
    if still and not np.any((scene.right[name] != scene.before[name]) & ~bad):
        return  # nothing happens elsewhere that could be wrong
    if place:
        yield Guess(place.cause, f"only {place.which}")


def _short(value: float) -> str:
    return f"{value:.6g}"

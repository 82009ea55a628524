"""The divergence microscope: where a port first goes wrong, and what the pattern of its errors suggests.

For a failure it finds the first bad step by bisection, then asks the port again from the
specification's own state just before it. Each guess is a test with its evidence, strongest first: the
errors are compared with what a wrong parameter, a missing term, a lost kick, fewer digits, a race or
stale data would have made. What is special about particles the specification tells (terms, features).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from portbench.agreement.levels import Verdict, trace
from portbench.agreement.reference import Answer, Question, Reference
from portbench.contract import Fields, Parameters
from portbench.errors import PortFailure, Refusal
from portbench.protocol import Exchange

NUDGE = 1e-6  # relative, of a parameter whose effect is looked for
WELL = 0.02  # a part of the error left unexplained that still counts as explained
LANES = (16, 8, 4, 2)  # of SIMD registers
FEW = 8  # different numbers, at least, that may show a pattern
WIDE = 0.6  # a feature that more of the elements have than this explains nothing


@dataclass(frozen=True)
class Guess:
    """What may be the cause, and what speaks for it."""

    cause: str
    evidence: str


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


def _look(x: Exchange, question: Question, verdict: Verdict) -> Sight | None:
    if verdict.level == "A1":
        return _sight_of_a_race(x, question, verdict)
    failed = next(a for a in question.answers if a.step == verdict.evidence["step"])
    first, before, answer = _first_bad_step(x, question, failed)
    scene, where, carried = _scene(x, question, first, before, answer)
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
        values=f"got {got!r} = {got.hex()}, want {want!r} = {want.hex()}: {_ulps(got, want)} apart",
        extent=f"wrong are {int(bad.sum())} of {bad.size} numbers of {name}",
    )
    sight.guesses = list(_guesses(x, question, scene, name, bad, at, carried))[:4]
    return sight


def _ulps(got: float, want: float) -> str:
    if not (math.isfinite(got) and math.isfinite(want)):
        return "not finite, and so not to be measured"
    return f"{abs(got - want):.3g} or {abs(got - want) / math.ulp(want):.4g} ulp"


def _sight_of_a_race(x: Exchange, question: Question, verdict: Verdict) -> Sight:
    e = verdict.evidence
    sight = Sight(
        where=f"the same run differs from itself: {e['field']}{e['index']} after {e['step']} steps",
        values=f"once {e['want']!r} = {e['want_hex']}, then {e['got']!r} = {e['got_hex']}: "
        f"{_ulps(e['got'], e['want'])} apart",
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
        scene = _Scene(question.parameters, state, right, got, allowed, middle)
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
        return _Scene(p, before, answer.fields, got, answer.tolerance, 0), f"of {question.name}", False
    everything = before | x.specification.observe(p, before)
    one = Answer(1, answer.fields, answer.tolerance, {})
    fresh = _Scene(p, everything, answer.fields, trace(x, Question("", p, before, [one]))[0], answer.tolerance, first)
    if first == 1 or _worst_field(x, fresh) is not None:
        return fresh, f"in step {first} of {question.name}, and again from a fresh load of the state before", False
    # The port's own state just before, and where it goes from there without a load in between.
    x.load(p, question.state)
    x.port.run(first - 1)
    own = _state(x, x.save(p)[1])
    x.port.run(1)
    got = x.save(p)[1]
    right = _outcome(x, p, own, 1)
    scene = _Scene(p, own | x.specification.observe(p, own), right, got, answer.tolerance, first)
    if _worst_field(x, scene) is None:  # saving has cured it: look at the run that was not disturbed
        got = trace(x, Question("", p, question.state, [Answer(first, answer.fields, {}, {})]))[0]
        scene = _Scene(p, everything, answer.fields, got, answer.tolerance, first)
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
) -> Iterator[Guess]:
    """All that the evidence suggests, strongest first."""
    error = scene.errors(x, name)
    if not np.all(np.isfinite(scene.got[name])):
        count = int(np.sum(~np.isfinite(scene.got[name])))
        yield Guess("a division by zero or memory never written", f"{count} numbers of {name} are not finite")
        return
    yield from _guess_random(x, question)
    if carried:
        yield Guess(
            "stale data that is carried from step to step (a neighbour list, an old force, a counter)",
            "from a fresh load of the same state the step is right",
        )
    yield from _guess_fewer_digits(scene, name, error)
    yield from _guess_off_by_steps(x, scene, name, error)
    found = [*_guess_fields(x, scene, name, error, bad), *_guess_parameter(x, scene, name, error)]
    yield from (guess for _, guess in sorted(found, key=lambda pair: pair[0]))
    yield from _guess_other_answer(x, scene, name)
    yield from _guess_term(x, scene, name, error, at)
    yield from _guess_elements(x, scene, name, bad)
    ratio = np.abs(error) / np.maximum(np.broadcast_to(scene.tolerance[name], error.shape), np.finfo(float).tiny)
    if float(np.max(ratio)) < 1e3 and bad.mean() > 0.02:
        yield Guess(
            "coarser rounding than the class allows (fast-math, an approximate reciprocal or root, a long sum)",
            f"the errors are small, at most {float(np.max(ratio)):.3g} times the tolerance, and on many numbers",
        )


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


def _guess_fewer_digits(scene: _Scene, name: str, error: np.ndarray) -> Iterator[Guess]:
    got, right = scene.got[name], scene.right[name]
    nonzero = right != 0
    if len(np.unique(right[nonzero])) < FEW:
        return
    if np.mean((got == got.astype(np.float32))[nonzero]) > 0.99 > np.mean((right == right.astype(np.float32))[nonzero]):
        yield Guess("float32", f"all numbers of {name} are exactly single-precision numbers")
        return
    size = np.median(np.abs(error[nonzero]) / np.maximum(np.abs(right[nonzero]), np.abs(right).mean()))
    if 3e-9 < size < 1e-6 and np.mean(error != 0) > 0.5:
        signs = np.mean(np.sign(error[nonzero]) == np.sign(right[nonzero]))
        if 0.3 < signs < 0.7:  # rounding has no preferred direction; a wrong constant has
            yield Guess(
                "float32 somewhere on the way",
                f"the errors are {size:.1g} of the values, in either direction (float32 rounds by 6e-8)",
            )


def _guess_off_by_steps(x: Exchange, scene: _Scene, name: str, error: np.ndarray) -> Iterator[Guess]:
    if scene.step == 0:
        return
    before = _state(x, scene.before)
    size = float(np.linalg.norm(error))
    for steps, words in ((0, "no step"), (2, "two steps")):
        other = _outcome(x, scene.parameters, before, steps)[name]
        rest = x.specification.difference(scene.parameters, name, scene.got[name], other)
        if float(np.linalg.norm(rest)) < 1e-6 * size:
            yield Guess("off by one step", f"{name} is what {words} would have made of the state before")


def _guess_fields(
    x: Exchange, scene: _Scene, name: str, error: np.ndarray, bad: np.ndarray
) -> Iterator[tuple[float, Guess]]:
    """Whether the error is a multiple of one field, or of two: a lost half kick is so much of the old force.

    With each guess comes the part of the error that it leaves unexplained.
    """
    after = scene.right if scene.step == 0 else _outcome(x, scene.parameters, _state(x, scene.right), 0)
    basis = {}
    for when, fields in (("before", scene.before), ("after", after)) if scene.step else (("", scene.right),):
        for other, values in fields.items():
            if values.shape == error.shape and np.any(values):
                basis[f"{other} {when}".strip()] = values
    if bad.sum() < 3 and error.size > 3:
        return
    found = _fit(error[bad], {n: v[bad] for n, v in basis.items()}, 1) or _fit(
        error[bad], {n: v[bad] for n, v in basis.items()}, 2
    )
    if not found:
        return
    factors, rest = found
    said = " and ".join(f"{_short(factor)} times the {what}" for what, factor in factors.items())
    evidence = f"the error of {name} is {said} (to {rest:.1g} of it)"
    own = factors.get(name, factors.get(f"{name} after")) if len(factors) == 1 else None
    if own is not None and abs(1 + own) < 1e-9:
        yield rest, Guess("numbers that are never computed", f"the wrong numbers of {name} are 0")
    elif own is not None:
        yield rest, Guess(f"a factor of {1 + own!r}", evidence)
    elif len(factors) == 1 or bad.mean() > 0.5:
        yield rest, Guess("a part of the step that is lost, doubled or out of order", evidence)


def _fit(error: np.ndarray, basis: dict[str, np.ndarray], count: int) -> tuple[dict[str, float], float] | None:
    """The `count` fields whose linear combination explains the error best, if it does so well."""
    best: tuple[dict[str, float], float] | None = None
    for names in itertools.combinations(basis, count):
        matrix = np.stack([basis[n].ravel() for n in names], axis=1)
        if matrix.shape[0] <= count:
            continue
        factors, *_ = np.linalg.lstsq(matrix, error.ravel(), rcond=None)
        rest = float(np.linalg.norm(error.ravel() - matrix @ factors) / np.linalg.norm(error))
        if rest < WELL and (best is None or rest < best[1]):
            best = dict(zip(names, map(float, factors))), rest
    return best


def _guess_parameter(x: Exchange, scene: _Scene, name: str, error: np.ndarray) -> Iterator[tuple[float, Guess]]:
    """Whether another value of one parameter would have made this error."""
    found = []
    state = _state(x, scene.before)
    steps = min(scene.step, 1)
    start = _outcome(x, scene.parameters, state, steps)[name]
    for label, nudged in _nudged(scene.parameters):
        try:
            effect = x.specification.difference(scene.parameters, name, _outcome(x, nudged, state, steps)[name], start)
        except Refusal:
            continue
        if np.sum(effect != 0) < FEW:
            continue
        factor = float(np.vdot(effect, error) / np.vdot(effect, effect))
        rest = float(np.linalg.norm(error - factor * effect) / np.linalg.norm(error))
        if rest < WELL:
            found.append((rest, label, factor * NUDGE))
    for rest, label, relative in sorted(found)[:1]:
        yield (
            rest,
            Guess(f"a wrong {label}", f"{label} times 1 {relative:+.3g} makes these errors (to {rest:.1g} of them)"),
        )


def _state(x: Exchange, fields: Fields) -> Fields:
    return {name: fields[name] for name in x.specification.state}


def _outcome(x: Exchange, parameters: Parameters, state: Fields, steps: int) -> Fields:
    """All fields after so many steps of the specification."""
    now = x.specification.advance(parameters, state, steps) if steps else state
    return now | x.specification.observe(parameters, now)


def _nudged(parameters: Parameters) -> Iterator[tuple[str, Parameters]]:
    for label, value in parameters.items():
        if isinstance(value, float) and value:
            yield label, {**parameters, label: value * (1 + NUDGE)}
        elif isinstance(value, tuple) and all(isinstance(v, float) for v in value):
            for k, v in enumerate(value):
                yield f"{label}[{k}]", {**parameters, label: (*value[:k], v * (1 + NUDGE), *value[k + 1 :])}


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
    """Which elements are wrong: the last, the rest of a SIMD loop, one part, or those with a feature."""
    if not bad.ndim or bad.all():
        return
    axis = int(np.argmax(bad.shape))
    length = bad.shape[axis]
    which = np.flatnonzero(np.any(bad, axis=tuple(k for k in range(bad.ndim) if k != axis)))
    if scene.step:
        before = _state(x, scene.before)
        masks = x.specification.features(scene.parameters, before, scene.right)
        for what, mask in sorted(masks.items(), key=lambda item: float(np.mean(item[1]))):
            over = np.broadcast_to(mask, bad.shape) if np.ndim(mask) == bad.ndim else np.zeros_like(bad)
            if 0 < over.mean() < WIDE and bad[over].any() and not bad[~over].any():
                yield Guess("the boundary, or what is special here", f"every wrong number is of one that {what}")
                break
    if length < 3 or len(which) > length / 2:
        return
    if which.tolist() == [length - 1]:
        yield Guess("a loop that ends one too early", f"only the last of {length} is wrong")
        return
    for lanes in LANES:
        rest = length % lanes
        if rest and which.tolist() == list(range(length - rest, length)):
            yield Guess("the remainder of a SIMD loop", f"only the last {rest} of {length} are wrong ({lanes} lanes)")
            return
    if len(which) > 2 and which[-1] - which[0] == len(which) - 1:
        yield Guess("one thread's part", f"only {which[0]} to {which[-1]} of {length} are wrong")
    elif len(which) <= 2:
        yield Guess("a lost or double update", f"only {' and '.join(map(str, which))} of {length} are wrong")


def _short(value: float) -> str:
    return f"{value:.6g}"

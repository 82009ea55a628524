"""The specification is examined before any port is asked: whether it is what docs/contract.md says that it is.

A fault of the specification would otherwise be said of a right port. What is found is a Refusal that names the
function, the field and the remedy. An examination that nothing came of is remembered, and made again only of another
specification (made_of.py) or of another case.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from portbench import exchange, made_of
from portbench.agreement import twins
from portbench.contract import Case, Field, Fields, Parameters, Specification
from portbench.errors import Refusal
from portbench.hosts.build import cache_folder, hash_text, write_whole

SMALL = 5_000  # numbers in a state; a larger one is looked at, and not advanced
PARTS = (1, 2)  # steps, one after the other and in one go
SAME = 1e-9  # of the largest number: a change that was undone may have rounded
EXACT = 1e-13  # of the largest number: a turned or moved one is rounded
SIZES = (1, 5, 30, 100)  # of the random states that stress() is asked for
TWICE = (2, 1, 1)  # copies along each axis
MARGIN, FLOOR = 30, 8  # as of the ladder (agreement/reference.py)


def examine(specification: Specification, cases: list[Case]) -> list[str]:
    """What should be known of the specification, a sentence each; Refusal if it cannot be asked."""
    for case in cases:
        exchange.refuse_unless_carried(case.parameters)
    by_size = sorted(_all_cases(specification), key=lambda case: _numbers(specification, case.parameters))
    asked = {case.name: case for case in [*by_size[:1], *cases]}
    digest = hash_text(
        specification.identity,
        sorted(map(str, specification.folders)),  # what was opened is remembered by its place
        made_of.content(Path(__file__)),
        made_of.content(Path(twins.__file__)),
        np.__version__,
        repr([(name, case.parameters) for name, case in asked.items()]),
    )
    file = cache_folder() / "examined" / f"{digest[:24]}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(file.read_text(encoding="utf-8"))
        specification.opened |= {Path(name) for name in found["opened"]}
        if specification.identity == found["identity"]:
            return list(found["remarks"])
    remarks: dict[str, None] = {}
    with made_of.watched(specification.folders) as opened:
        for case in asked.values():
            remarks |= dict.fromkeys(_Examination(specification, case).remarks())
    specification.opened |= opened
    record = {
        "opened": sorted(map(str, specification.opened)),
        "identity": specification.identity,
        "remarks": list(remarks),
    }
    with suppress(OSError):  # then it is made again next time
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(record))
    return list(remarks)


def _all_cases(specification: Specification) -> list[Case]:
    """Those that can be made: another than was asked for need not."""
    made = []
    for name in specification.module.CASES:
        with suppress(Refusal):
            made += specification.cases([name], {})
    return made


def _numbers(specification: Specification, parameters: Parameters) -> int:
    """In a state of this case."""
    return sum(int(np.prod(field.shape(parameters))) for field in specification.state.values())


class _Examination:
    """Of one case."""

    def __init__(self, specification: Specification, case: Case):
        self.specification, self.case, self.parameters = specification, case, case.parameters

    def remarks(self) -> Iterable[str]:
        specification = self.specification
        exchange.refuse_unless_carried(self.parameters)
        specification.work(self.parameters)
        self._fields_fit()
        starts = ["initial_state"] + ["disordered_state"] * specification.offers("disordered_state")
        state: Fields = {}
        for function in starts:
            state = self._twice(function, getattr(specification, function))
            self._finite(function, state, specification.state)
        if _numbers(specification, self.parameters) > SMALL:
            return []
        self._probes()
        self._pure("check_state", specification.check_state, state)
        self._observed(state, f"the {function.replace('_', ' ')}")
        before, steps = state, sum(PARTS)
        ones = [before]
        for part in PARTS:
            ones.append(self._advanced(ones[-1], part))
        whole = self._advanced(before, steps)
        self._legal(whole, steps)
        self._observed(whole, f"the state after {steps} steps")
        what = f"advance() by {steps} steps is not advance() by {PARTS[0]} and then by {PARTS[1]}"
        hidden = "all that the next step needs must be in STATE or in the parameters"
        self._close(before, whole, ones[-1], steps, what, hidden)
        nothing = self._advanced(before, 0)
        self._close(before, before, nothing, 0, "advance() by 0 steps is not the state itself", "return it as it is")
        self._others(before, whole)
        self._true(before, whole, steps)
        return self._sums(before)

    def _fields_fit(self) -> None:
        for field in self.specification.fields.values():
            field.shape(self.parameters)
        again = (
            self.specification.cases([self.case.name], {}) if self.case.name in self.specification.module.CASES else []
        )
        for other in again:
            if repr(other.parameters) != repr(self.parameters):
                raise Refusal(
                    f"The specification's parameters() gives something else when it is called twice with case "
                    f"'{self.case.name}': take out of it what is random or depends on the time"
                )

    def _probes(self) -> None:
        specification = self.specification
        for name, (parameters, state) in specification.probes().items():
            exchange.refuse_unless_carried(parameters)
            try:
                specification.checked("probes", parameters, state)
            except Refusal as refusal:
                raise Refusal(f"The specification's probe '{name}' is no legal state: {refusal}") from None

    def _twice(self, function: str, make: Callable[[Parameters], Fields]) -> Fields:
        first = self._pure(function, make)
        kept = {name: np.array(a) for name, a in first.items()}
        extra = [str(name) for name in first if name not in self.specification.state]
        if extra:
            raise Refusal(
                f"The specification's {function}() gives {', '.join(extra)}, which STATE does not have: a port would "
                "never get it; add it to STATE, or leave it out"
            )
        self._same(function, kept, self._pure(function, make))
        return kept

    def _advanced(self, state: Fields, steps: int) -> Fields:
        """The state later, twice and to the same bits."""
        specification = self.specification

        def advance(parameters: Parameters, given: Fields) -> Fields:
            return specification.advance(parameters, given, steps)

        found = []
        for _ in range(2 if steps else 1):
            made = self._pure("advance", advance, state)
            found.append({name: np.array(made[name]) for name in specification.state})
            self._types("advance", made, specification.state)
            self._finite("advance", found[-1], specification.state, f" after {steps} steps from '{self.case.name}'")
        self._same("advance", found[0], found[-1])
        return found[0]

    def _observed(self, state: Fields, what: str) -> None:
        specification = self.specification
        found = []
        for _ in range(2):
            raw = self._pure("observe", specification.observe, state)
            found.append({name: np.array(a) for name, a in raw.items()})
        for name, field in specification.derived.items():
            if found[0][name].shape != field.shape(self.parameters):
                raise Refusal(
                    f"The specification's {name} has shape {found[0][name].shape}, "
                    f"and DERIVED says {field.shape(self.parameters)}"
                )
        self._finite("observe", found[0], specification.derived, f" of {what} of '{self.case.name}'")
        self._same("observe", *found)

    def _legal(self, state: Fields, steps: int) -> None:
        try:
            self.specification.check_state(self.parameters, state)
        except Refusal as refusal:
            raise Refusal(
                f"The specification's own state after {steps} steps of '{self.case.name}' is not legal by its "
                f"check_state(): {refusal}"
            ) from None

    def _others(self, before: Fields, after: Fields) -> None:
        """The optional functions leave their arguments as they were too."""
        specification, fields = self.specification, {**after, **self.specification.observe(self.parameters, after)}

        if specification.offers("conserved"):
            kept = self._pure("conserved", specification.conserved, fields)
            self._finite("conserved", kept, kept)
        if specification.offers("reverse"):
            back = self._pure("reverse", specification.reverse, after)
            self._types("reverse", back, specification.state)
        if specification.offers("features"):
            self._pure("features", specification.features, before, after)
        if specification.offers("refine"):
            exchange.refuse_unless_carried(self._pure("refine", lambda p: specification.refine(p, 2)))
        self._pure("jumps", specification.jumps)
        for name, (do, undo) in self._pure("symmetries", lambda p: specification.symmetries(p, _random())).items():
            back = self._pure(f"symmetry '{name}'", lambda _, s, do=do, undo=undo: undo(do(s)), fields)
            for one in fields:
                if not np.allclose(
                    back[one], fields[one], rtol=SAME, atol=SAME * np.max(np.abs(fields[one]), initial=0)
                ):
                    raise Refusal(f"The specification's symmetry '{name}' is not undone by its undo(): {one} differs")
        for name, (other, do, undo) in self._pure("relations", lambda p: specification.relations(p, _random())).items():
            exchange.refuse_unless_carried(other)
            self._pure(f"relation '{name}'", lambda _, s, do=do, undo=undo: undo(do(s)), after)
        if specification.offers("nearby"):
            self._pure("nearby", lambda _, s: specification.nearby(self.parameters, s, _random()), after)
        self._pure("part", lambda p, s: specification.part(p, s, _random()), after)
        self._pure("copies", lambda p, f: specification.copies(p, f, TWICE), fields)
        for size in SIZES:
            self._drawn(size)

    def _drawn(self, size: int) -> None:
        """The random state of this size is drawn by the generator that is given, and is legal."""
        first, second = (self.specification.stress(np.random.default_rng(size), size) for _ in range(2))
        if first is None or second is None:
            return
        (parameters, state), (others, again) = first, second
        exchange.refuse_unless_carried(parameters)
        if repr(parameters) != repr(others) or not all(_equal(state[name], again[name]) for name in state):
            raise Refusal(
                "The specification's stress() draws another case when it is given the same generator: it must draw "
                "from that alone"
            )
        self._finite("stress", state, self.specification.state)
        try:
            self.specification.check_state(parameters, state)
        except Refusal as refusal:
            raise Refusal(
                f"What the specification's stress() draws is not legal by its check_state(): {refusal}"
            ) from None

    def _true(self, before: Fields, after: Fields, steps: int) -> None:
        """What the optional functions promise of a motion: tolerances are taken from it, and ports blamed by it."""
        specification, parameters = self.specification, self.parameters

        def move(other: Parameters, start: Fields, count: int) -> Fields:
            specification.check_state(other, start)
            return specification.advance(other, start, count)

        remedy = "take out what does not hold, or a wrong port passes as right"
        for name, (do, undo) in specification.symmetries(parameters, _random()).items():
            ended = undo(move(parameters, do(before), steps))
            what = f"symmetry '{name}' is none: undone after {steps} steps it is not the motion without it"
            self._close(before, after, ended, steps, what, remedy)
        for name, (other, do, undo) in specification.relations(parameters, _random()).items():
            ended = undo(move(other, do(before), steps))
            what = f"relation '{name}' does not hold: undone after {steps} steps it is not the motion without it"
            self._close(before, after, ended, steps, what, remedy, EXACT)
        remedy, one = "a right port would be blamed for that", self._advanced(before, 1)
        cut = specification.part(parameters, before, _random())
        if cut:
            smaller, start, places = cut
            ended = move(smaller, start, 1)
            whole = {name: one[name][where] for name, (where, _) in places.items() if name in one}
            there = {name: ended[name][of_part] for name, (_, of_part) in places.items() if name in one}
            self._close(before, whole, there, 1, "part() moves otherwise than the whole does there", remedy, SAME)
        copied, ended_copied = (specification.copies(parameters, fields, TWICE) for fields in (before, one))
        if copied and ended_copied:
            what = f"copies() of {' x '.join(map(str, TWICE))} move otherwise than the one does"
            self._close(before, ended_copied[1], move(*copied, 1), 1, what, remedy, SAME)

    def _sums(self, state: Fields) -> list[str]:
        """Whether sums go through add() at all, where there must be some."""
        called = []

        def add(terms: np.ndarray, *more: Any, **named: Any) -> Any:
            called.append(True)
            return np.sum(terms, *more, **named)

        self.specification.observe(self.parameters, state, add)
        self.specification.advance(self.parameters, state, 1, add)
        numbers = _numbers(self.specification, self.parameters)
        fewer = [n for n, f in self.specification.derived.items() if np.prod(f.shape(self.parameters)) < numbers]
        if called or not fewer:
            return []
        return [
            f"the specification never calls add(), though its {', '.join(fewer)} must be sums: rounding in them is "
            "told from error by their size alone; write add(terms, axis=...) (see docs/contract.md)"
        ]

    # ------------------------------------------------------------ what is compared

    def _pure(self, function: str, call: Callable[..., Any], *given: Fields) -> Any:
        """call(parameters, *given); Refusal if it changed one of its arguments."""
        parameters = copy.deepcopy(self.parameters)
        copies = [{name: np.array(a) for name, a in fields.items()} for fields in given]
        made = call(parameters, *copies)
        if repr(parameters) != repr(self.parameters):
            raise Refusal(f"The specification's {function}() changes its parameters: it must leave them as they were")
        for before, after in zip(given, copies):
            for name in before:
                if name not in after or not _equal(before[name], after[name]):
                    raise Refusal(
                        f"The specification's {function}() changes its argument {name} in place: it must leave it as "
                        f'it was, and begin with {name} = state["{name}"].copy()'
                    )
        return made

    def _same(self, function: str, one: Fields, other: Fields) -> None:
        for name in one:
            if not _equal(one[name], other[name]):
                raise Refusal(
                    f"The specification's {function}() is no function: called twice with the same arguments it gives "
                    f"another {name}{_where(one[name], other[name])}; take out of it what is random (or make its "
                    "generator from a parameter), the time, and what it keeps between calls"
                )

    def _types(self, function: str, fields: Fields, wanted: dict[str, Field]) -> None:
        for name in wanted:
            array = fields[name]
            if not isinstance(array, (np.ndarray, np.generic)) or array.dtype != np.float64:
                kind = f"of type {array.dtype}" if isinstance(array, (np.ndarray, np.generic)) else "no array"
                raise Refusal(
                    f"The specification's {name}, as {function}() gives it, is {kind}, and the state that it was given "
                    "is of float64: keep the type"
                )
        self.specification.shaped(function, self.parameters, fields, wanted)

    def _finite(self, function: str, fields: Fields, wanted: Iterable[str], when: str = "") -> None:
        for name in wanted:
            bad = np.argwhere(~np.isfinite(fields[name]))
            if len(bad):
                at = f"[{', '.join(map(str, bad[0]))}]" if np.ndim(fields[name]) else ""
                value = fields[name][tuple(bad[0])]
                raise Refusal(
                    f"The specification's {name}{at}, as {function}() gives it, is {value}{when}, which is not finite "
                    "and agrees with nothing: give a number there, or choose cases in which it is one"
                )

    def _close(
        self, state: Fields, one: Fields, other: Fields, steps: int, what: str, remedy: str, slack: float = 0.0
    ) -> None:
        """Refusal unless the fields of `one` are the same in `other` but for rounding, as the twins of this motion show
        it, and for a part `slack` of the largest number.
        """
        if all(_equal(one[name], other[name]) for name in one):
            return
        specification, precision = self.specification, twins.CLASSES["float64"]
        runs = [specification.advance(self.parameters, state, steps)]
        for twin in twins.twins(specification, self.parameters, precision):
            if not twin.symmetry:  # which may be none
                runs.append(twins.advanced(specification, self.parameters, state, steps, twin))
        for name in one:
            largest = float(np.max(np.abs(one[name]), initial=0.0))
            rounding = max(self._apart(name, run, runs[0]) for run in runs)
            allowed = MARGIN * rounding + (FLOOR * precision.eps + slack) * largest
            off = self._apart(name, other, one)
            if not off <= allowed:
                raise Refusal(f"The specification's {what}: its {name} differs by {off:.2g}; {remedy}")

    def _apart(self, name: str, one: Fields, other: Fields) -> float:
        off = self.specification.difference(self.parameters, name, one[name], other[name])
        return float(np.max(np.abs(off), initial=0.0))


def _random() -> np.random.Generator:
    return np.random.default_rng(0)  # the same changes, parts and near states in all that is asked


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    return np.shape(one) == np.shape(other) and bool(np.array_equal(one, other, equal_nan=True))


def _where(one: np.ndarray, other: np.ndarray) -> str:
    if np.shape(one) != np.shape(other):
        return ""
    at = tuple(np.argwhere(~(np.asarray(one) == np.asarray(other)))[0])
    index = f"[{', '.join(map(str, at))}]" if at else ""
    return f"{index} ({float(one[at])!r}, then {float(other[at])!r})"

"""What a specification offers, and the only way in which the harness touches it.

A specification is a Python module with

    NAME, STATE, DERIVED, WORK, CASES      its name, fields, unit of work and named cases
    parameters(**case) -> dict             every number that a port needs, from a case
    check_state(parameters, state)         ValueError if the state is not legal
    initial_state(parameters) -> state     where a run starts
    advance(parameters, state, steps, add) -> state
    observe(parameters, state, add) -> dict of the DERIVED fields

and, as far as it can offer them, what the ladder (agreement/) asks with:

    disordered_state(parameters) -> state  a start without symmetry, on which errors show
    difference(parameters, name, a, b)     a - b, the shortest way round
    symmetries(parameters, random)         changes that change no bit: name -> (do, undo)
    probes(dtype) -> name -> (parameters, state)   small states at which ports go wrong
    jumps(parameters)                      how far a discontinuity may move a field in one step
    relations(parameters, random)          changes that change only roundings: name -> (parameters, do, undo)
    reverse(parameters, state)             the state from which the motion runs backwards
    conserved(parameters, fields)          what the exact motion keeps: name -> array
    refine(parameters, times)              the same with a time step so many times shorter
    statistics(parameters, samples)        averages over a run: name -> number
    terms(parameters, state, name, index)  the terms whose sum is one element: [(what it is, value)]
    features(parameters, before, after)    what was special about which elements in a step: name -> mask
    stress(random, size) -> (parameters, state)    a legal case of about so many units, drawn at random
    part(parameters, state, random)        a smaller case, in which some elements go on as in the whole for a step
    copies(parameters, fields, times)      a larger case made of copies of this one, whose answer is known
    nearby(parameters, state, random)      a legal start that differs a little: each round of samples has its own

and UNIT, what one unit of work is called ("cell"), where that is not the last of WORK without its s.

A state is a dict of float64 arrays, one for each field in STATE. Every sum over many terms goes
through `add(terms, axis=...)`, and all is computed in the type of the state's arrays: that is how
rounding is told from error (see agreement/twins.py).

Whatever a specification raises, in whichever of its functions, leaves here as a Refusal: one sentence
that names the function, the error, the file and the line.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from portbench import blame, made_of, streams
from portbench.errors import Ended, Refusal, known, lacking

if TYPE_CHECKING:
    from portbench.manifest import Manifest

Parameters = dict[str, Any]
Fields = dict[str, np.ndarray]
Add = Callable[..., Any]
# parameters and state of a smaller case, and for some fields: (places in the whole, places in the part)
Part = tuple[Parameters, Fields, dict[str, tuple[Any, Any]]]
_NEEDED = [
    "NAME",
    "STATE",
    "DERIVED",
    "WORK",
    "CASES",
    "parameters",
    "check_state",
    "initial_state",
    "advance",
    "observe",
]


@dataclass(frozen=True)
class Field:
    """One array that travels between harness and port."""

    name: str
    dims: tuple[str | int, ...]  # each a number, or the name of a parameter
    unit: str
    scale: float | None  # a difference of this size means that all is lost; state fields only
    continuous: bool | None = None  # whether a value between two values means something; None: not declared

    def may_move(self, values: np.ndarray) -> bool:
        """Whether its numbers may be changed a little: undeclared, not where all are whole, for they may be kinds."""
        return bool(np.any(values != np.round(values))) if self.continuous is None else self.continuous

    def shape(self, parameters: Parameters) -> tuple[int, ...]:
        """In numbers; Refusal if it names a parameter that there is not, or that is no size."""
        for d in self.dims:
            size = parameters.get(d) if isinstance(d, str) else d
            if isinstance(d, str) and d not in parameters:
                raise Refusal(f"The specification gives {self.name} the shape {self.dims}, and has no parameter {d}")
            if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 0:
                raise Refusal(
                    f"The specification gives {self.name} the shape {self.dims}, in which {d} is {size!r}: "
                    "it must be a whole number"
                )
        return tuple(int(parameters[d]) if isinstance(d, str) else int(d) for d in self.dims)


@dataclass(frozen=True)
class Case:
    """One named set of parameters."""

    name: str
    parameters: Parameters


class Specification:
    """A specification module behind checked, typed calls."""

    def __init__(self, module: ModuleType, folders: list[Path] | None = None):
        """`folders` are those in which its project lies; without them, that of the module's file."""
        self.module = module
        missing = [name for name in _NEEDED if not hasattr(module, name)]
        if missing:
            raise Refusal(f"The specification {module.__name__} lacks {', '.join(missing)} (see docs/contract.md)")
        if not isinstance(module.CASES, dict) or not module.CASES or not all(map(_is_table, module.CASES.values())):
            raise Refusal(
                "The specification's CASES must be a table name -> keywords of parameters(), with a case in it"
            )
        if isinstance(module.WORK, str) or not all(isinstance(name, str) for name in module.WORK) or not module.WORK:
            raise Refusal('The specification\'s WORK must be a tuple of names of parameters, as ("points",)')
        self.name: str = module.NAME
        self.state = _fields(module, "STATE")
        self.derived = _fields(module, "DERIVED")
        both = [name for name in self.state if name in self.derived]
        if both:
            raise Refusal(
                f"The specification has {', '.join(both)} in both STATE and DERIVED: a field is one or the other"
            )
        self.fields = {**self.state, **self.derived}
        self.source = Path(module.__file__ or "")
        self.folders = folders or [self.source.resolve().parent]
        self.opened: set[Path] = set()  # files of the project that were read while it was imported or examined

    @property
    def identity(self) -> str:
        """A hash of all of the project that decides what this specification computes."""
        return made_of.digest(made_of.files(self.source, self.folders) | self.opened, self.folders)

    def cases(self, names: list[str], extra: dict[str, dict[str, Any]]) -> list[Case]:
        """The cases of these names; `extra` are the manifest's own, which may build on another by `base`."""
        every = {**self.module.CASES, **extra}
        return [Case(name, self._parameters(name, every)) for name in known("case", names, every)]

    def _parameters(self, name: str, every: dict[str, dict[str, Any]]) -> Parameters:
        case, seen = dict(every[name]), [name]
        while "base" in case:
            base = case.pop("base")
            if base in seen:
                raise Refusal(f"Case '{name}' is built on itself: {' -> '.join([*seen, base])}")
            seen.append(known("case", [base], every)[0])
            case = {**every[base], **case}
        try:
            inspect.signature(self.module.parameters).bind(**case)
        except TypeError as error:  # a name too many or too few
            raise Refusal(f"Case '{name}' is refused: {str(error).replace('argument', 'parameter')}") from None
        except ValueError:
            pass  # it has no signature to look at
        return self._call("parameters", f"Case '{name}'", **case)

    def work(self, parameters: Parameters) -> int:
        """How many units of work one step is (particles, grid points): speed is stated per unit and step."""
        missing = [name for name in self.module.WORK if name not in parameters]
        if missing:
            raise Refusal(
                f"The specification's WORK names {', '.join(missing)}, and its parameters() gives no such thing"
            )
        return int(np.prod([parameters[name] for name in self.module.WORK]))

    @property
    def work_name(self) -> str:
        return str(getattr(self.module, "UNIT", "") or str(self.module.WORK[-1]).removesuffix("s"))

    def initial_state(self, parameters: Parameters) -> Fields:
        return self.checked("initial_state", parameters, self._call("initial_state", "The case", parameters))

    def disordered_state(self, parameters: Parameters) -> Fields:
        make = "disordered_state" if self.offers("disordered_state") else "initial_state"
        return self.checked(make, parameters, self._call(make, "The case", parameters))

    def check_state(self, parameters: Parameters, state: Fields) -> None:
        self._call("check_state", "The state", parameters, state)

    def advance(self, parameters: Parameters, state: Fields, steps: int, add: Add = np.sum) -> Fields:
        after = self._call("advance", "The specification", parameters, state, steps, add=as_numpy_does(add))
        self._named("advance", after, self.state)
        return after

    def observe(self, parameters: Parameters, state: Fields, add: Add = np.sum) -> Fields:
        seen = self._call("observe", "The specification", parameters, state, add=as_numpy_does(add))
        self._named("observe", seen, self.derived)
        with self._blame("observe", "The specification"):
            return {name: _real(name, seen[name]) for name in self.derived}

    def difference(self, parameters: Parameters, name: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if self.offers("difference"):
            return self._call("difference", "The specification", parameters, name, a, b)
        with np.errstate(all="ignore"):  # what is not finite is judged as such
            return a - b

    def offers(self, name: str) -> bool:
        """Whether the specification has this optional function."""
        return hasattr(self.module, name)

    def symmetries(self, parameters: Parameters, random: np.random.Generator) -> dict[str, tuple[Callable, Callable]]:
        return self._changes("symmetries", "(do, undo)", parameters, random, shapes=True)

    def relations(
        self, parameters: Parameters, random: np.random.Generator
    ) -> dict[str, tuple[Parameters, Callable, Callable]]:
        return self._changes("relations", "(parameters, do, undo)", parameters, random, shapes=False)

    def _changes(
        self, function: str, wanted: str, parameters: Parameters, random: np.random.Generator, shapes: bool
    ) -> dict[str, Any]:
        """By name what is `wanted`, of which the last two are functions."""
        found = {}
        for name, changes in self._dictionary(function, parameters, random).items():
            what = f"{function}() '{name}'"
            *others, do, undo = self._several(what, changes, wanted)
            found[name] = (*others, self._blamed(what, do, shapes), self._blamed(what, undo, shapes))
        return found

    def probes(self, dtype: type = float) -> dict[str, tuple[Parameters, Fields]]:
        return self._optional("probes", dtype) or {}

    def jumps(self, parameters: Parameters) -> dict[str, float]:
        return self._dictionary("jumps", parameters)

    def conserved(self, parameters: Parameters, fields: Fields) -> Fields:
        kept = self._dictionary("conserved", parameters, fields)
        return {name: np.asarray(value, dtype=float) for name, value in kept.items()}

    def reverse(self, parameters: Parameters, state: Fields) -> Fields:
        made = self._call("reverse", "The specification", parameters, state)
        return self.shaped("reverse", parameters, made, self.state)

    def refine(self, parameters: Parameters, times: int) -> Parameters:
        return self._call("refine", "The specification", parameters, times)

    def statistics(self, parameters: Parameters, samples: list[Fields]) -> dict[str, float]:
        return self._dictionary("statistics", parameters, samples)

    def terms(
        self, parameters: Parameters, state: Fields, name: str, index: tuple[int, ...]
    ) -> list[tuple[str, float]]:
        return self._optional("terms", parameters, state, name, index) or []

    def features(self, parameters: Parameters, before: Fields, after: Fields) -> dict[str, np.ndarray]:
        return self._dictionary("features", parameters, before, after)

    def stress(self, random: np.random.Generator, size: int) -> tuple[Parameters, Fields] | None:
        made = self._optional("stress", random, size)
        if made is None:
            return None
        parameters, state = self._several("stress()", made, "(parameters, state)")
        return parameters, self.shaped("stress", parameters, state, self.state)

    def part(self, parameters: Parameters, state: Fields, random: np.random.Generator) -> Part | None:
        made = self._optional("part", parameters, state, random)
        if made is None:
            return None
        smaller, fields, places = self._several("part()", made, "(parameters, state, places)")
        return smaller, self.shaped("part", smaller, fields, self.state), self._as_dictionary("part", places)

    def copies(
        self, parameters: Parameters, fields: Fields, times: tuple[int, int, int]
    ) -> tuple[Parameters, Fields] | None:
        made = self._optional("copies", parameters, fields, times)
        if made is None:
            return None
        larger, copied = self._several("copies()", made, "(parameters, fields)")
        given = {name: field for name, field in self.fields.items() if name in fields}
        return larger, self.shaped("copies", larger, copied, given)

    def nearby(self, parameters: Parameters, state: Fields, random: np.random.Generator) -> Fields:
        given = {name: a.copy() for name, a in state.items()}
        made = self._call("nearby", "What nearby() makes of the case", parameters, given, random)
        return self.checked("nearby", parameters, made)

    def nearer_to_zero(self, state: Fields, part: float, random: np.random.Generator) -> Fields:
        """Each number that may be changed a little nearer to zero by up to this part: what was inside its bounds stays
        there.
        """
        return {
            n: a * (1 - part * random.random(a.shape)) if self.state[n].may_move(a) else a for n, a in state.items()
        }

    def _optional(self, name: str, *arguments: Any) -> Any:
        return self._call(name, "The specification", *arguments) if self.offers(name) else None

    def checked(self, function: str, parameters: Parameters, state: Fields) -> Fields:
        """The state, if it is one: Refusal by the name of the first field that is not as STATE says."""
        self._named(function, state, self.state)
        for name in self.state:
            refuse_unless_real(f"The specification's {name}, as {function}() gives it,", state[name])
        self.shaped(function, parameters, state, self.state)
        self.check_state(parameters, state)
        return state

    def shaped(self, function: str, parameters: Parameters, fields: Any, wanted: dict[str, Field]) -> Fields:
        """What a function gave, if it is a dictionary of these fields, each of its declared shape."""
        self._named(function, fields, wanted)
        for name, field in wanted.items():
            if np.shape(fields[name]) != field.shape(parameters):
                where = "STATE" if name in self.state else "DERIVED"
                raise Refusal(
                    f"The specification's {name}, as {function}() gives it, has shape {np.shape(fields[name])}, "
                    f"and {where} says {field.shape(parameters)}"
                )
        return fields

    def _dictionary(self, function: str, *arguments: Any) -> dict[str, Any]:
        """What an optional function gives, which must be a dictionary; an empty one where it is not offered."""
        return self._as_dictionary(function, self._optional(function, *arguments))

    def _as_dictionary(self, function: str, given: Any) -> dict[str, Any]:
        if given is not None and not isinstance(given, dict):
            raise Refusal(f"The specification's {function}() gives what is {kind(given)}, and not a dictionary")
        return given or {}

    def _several(self, what: str, given: Any, wanted: str) -> Any:
        """What a function gave, if it is as many things as are `wanted`."""
        if not isinstance(given, (tuple, list)) or len(given) != wanted.count(",") + 1:
            count = f" of {len(given)}" if isinstance(given, (tuple, list)) else ""
            raise Refusal(f"The specification's {what} gives what is {kind(given)}{count}, and not {wanted}")
        return given

    def _named(self, function: str, given: Any, wanted: dict[str, Field]) -> None:
        """Refusal unless it is a dictionary that has these fields."""
        if not isinstance(given, dict):
            raise Refusal(
                f"The specification's {function}() gives what is {kind(given)}, and not a dictionary of fields"
            )
        if lack := lacking(wanted, given):
            raise Refusal(f"The specification's {function}() {lack}")

    def _call(self, function: str, who: str, *arguments: Any, **named: Any) -> Any:
        """The one way into the module. What it raises is said of `who`."""
        with self._blame(function, who):
            return getattr(self.module, function)(*arguments, **named)

    def _blamed(
        self, function: str, change: Callable[[Fields], Fields], shapes: bool = False
    ) -> Callable[[Fields], Fields]:
        """The same for a function that the module returned, which must give all the fields that it is given, and if
        so asked in the same `shapes`.
        """

        def blamed(fields: Fields) -> Fields:
            with self._blame(function, "The specification"):
                made = change(fields)
            if not isinstance(made, dict) or lacking(fields, made):
                lack = lacking(fields, made) if isinstance(made, dict) else f"gives what is {kind(made)}"
                raise Refusal(f"The specification's {function} must give the fields that it is given, and {lack}")
            for name, a in fields.items():
                if shapes and np.shape(made[name]) != np.shape(a):
                    raise Refusal(
                        f"The specification's {function} turns {name} of shape {np.shape(a)} into one of shape "
                        f"{np.shape(made[name])}: leave it out where it does not fit the parameters"
                    )
            return made

        return blamed

    @contextmanager
    def _blame(self, function: str, who: str) -> Iterator[None]:
        """Turn whatever the specification raises into one sentence. What is not finite is judged as such later, and
        NumPy need not warn of it; what it prints goes to standard error.
        """
        try:
            with np.errstate(all="ignore"), streams.others():
                yield
        except (Refusal, Ended):
            raise
        except (Exception, SystemExit) as error:
            where = blame.place(error, self.folders, self.source)
            called = function if "(" in function else f"{function}()"
            if blame.own_words(error, where):
                by = f" by its {called}" if who == "The specification" else ""
                raise Refusal(f"{who} is refused{by}: {blame.first_line(error)}") from error
            raise Refusal(
                f"{who} is refused: the specification's {called} raises {type(error).__name__} "
                f"in {where or self.source.name or 'its file'}: {blame.first_line(error)}"
            ) from error


def as_numpy_does(add: Add) -> Add:
    """What adds along one axis, along one, several or (None) all of them, as numpy.sum does."""
    if add is np.sum:
        return add

    def along(terms: Any, axis: int | tuple[int, ...] | None = None) -> Any:
        terms = np.asarray(terms)
        if isinstance(axis, (int, np.integer)):
            return add(terms, int(axis))
        axes = tuple(range(terms.ndim)) if axis is None else tuple(axis)
        if not axes:
            return add(terms[None], 0)
        last = tuple(range(-len(axes), 0))
        terms = np.moveaxis(terms, axes, last)
        return add(terms.reshape(*terms.shape[: last[0]], -1), -1)

    return along


def refuse_unless_real(what: str, value: Any) -> None:
    """Refusal, that begins with `what`, unless this is an array of real floating-point numbers."""
    word = kind(value)
    if word == "an array of floating-point numbers":
        return
    remedy = "make it an array of float64"
    if "complex" in word:
        remedy = "make its real and imaginary parts two fields"
    elif "whole" in word or "true" in word:
        remedy = "make it float, as by .astype(float)"
    raise Refusal(f"{what} is {word}, which the contract does not carry: {remedy} (see docs/contract.md)")


def kind(value: Any) -> str:
    """What it is, in words."""
    if isinstance(value, np.ma.MaskedArray):
        return "a masked array"
    if not isinstance(value, (np.ndarray, np.generic)):
        return f"of Python's type {type(value).__name__}"
    kinds = {"c": "complex numbers", "i": "whole numbers", "u": "whole numbers", "b": "true and false", "O": "objects"}
    if value.dtype.kind == "f":
        return "an array of floating-point numbers" if value.dtype.itemsize <= 8 else f"an array of {value.dtype}"
    return f"an array of {kinds.get(value.dtype.kind, str(value.dtype))}"


def refuse_unless_numbers(what: str, value: Any) -> None:
    """Refusal, that begins with `what`, unless a derived field may be this: a real number, or an array of such."""
    array = isinstance(value, (np.ndarray, np.generic)) and not isinstance(value, np.ma.MaskedArray)
    real = array and (value.dtype.kind in "fiub" or (value.dtype.kind == "O" and _numbers(np.asarray(value))))
    if not real and not isinstance(value, (int, float)) and not _is_mpf(value):
        refuse_unless_real(what, value)


def _real(name: str, value: Any) -> np.ndarray:
    """A derived field as an array of float64, whatever digits it was computed in."""
    refuse_unless_numbers(f"The specification's {name}, as observe() gives it,", value)
    return np.asarray(value, dtype=float)


def _numbers(array: np.ndarray) -> bool:
    """Whether these objects are numbers with more digits (agreement/twins.py)."""
    return all(_is_mpf(one) or isinstance(one, (int, float, np.number)) for one in array.flat)


def _is_mpf(value: Any) -> bool:
    return type(value).__name__ == "mpf"


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _fields(module: ModuleType, table: str) -> dict[str, Field]:
    try:
        found = {
            name: Field(
                name,
                tuple(f["shape"]),
                f.get("unit", ""),
                f.get("scale", 1.0) if table == "STATE" else None,
                f.get("continuous"),
            )
            for name, f in getattr(module, table).items()
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise Refusal(
            f'The specification\'s {table} must be a table name -> {{"shape": (...), "unit": "..."}}: '
            f"{type(error).__name__}: {error} (see docs/contract.md)"
        ) from None
    for name in found:
        if not isinstance(name, str) or not name or not name.isprintable() or set(name) & set("/\\ "):
            raise Refusal(
                f"The specification's {table} has a field named {name!r}: files are named by it, so that it must be "
                "a word without blanks and slashes"
            )
    return found


def load(manifest: Manifest) -> Specification:
    """Import the manifest's specification."""
    for folder in reversed(manifest.python_path()):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    return imported(manifest.project.spec, manifest.python_path(), [manifest.root, *manifest.python_path()])


def imported(name: str, places: list[Path], folders: list[Path]) -> Specification:
    """The specification of this module's name; Refusal, in one sentence, whatever it raises when it is imported."""
    try:
        with np.errstate(all="ignore"), streams.others(), made_of.watched(folders) as opened:
            module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise Refusal(
                f"The specification '{name}' cannot be imported: {blame.no_module(name, places) or error}"
            ) from None
        where = blame.place(error, folders) or f"{name}.py"
        raise Refusal(f"The specification '{name}' cannot be imported: {error} ({where}); install it") from None
    except (Exception, SystemExit) as error:
        where = blame.place(error, folders) or f"{name}.py"
        raise Refusal(
            f"The specification '{name}' cannot be imported: {type(error).__name__} in {where}: "
            f"{blame.first_line(error)}"
        ) from None
    made = Specification(module, folders)
    _opened.setdefault(name, set()).update(opened)  # a module is read once in a process
    made.opened |= _opened[name]
    return made


_opened: dict[str, set[Path]] = {}

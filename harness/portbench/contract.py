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

A state is a dict of float64 arrays, one for each field in STATE. Every sum over many terms goes
through `add(terms, axis=...)`, and all is computed in the type of the state's arrays: that is how
rounding is told from error (see agreement/twins.py).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from portbench.errors import Refusal, known

if TYPE_CHECKING:
    from portbench.manifest import Manifest

Parameters = dict[str, Any]
Fields = dict[str, np.ndarray]
Add = Callable[..., Any]
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

    def shape(self, parameters: Parameters) -> tuple[int, ...]:
        return tuple(int(parameters[d]) if isinstance(d, str) else int(d) for d in self.dims)


@dataclass(frozen=True)
class Case:
    """One named set of parameters."""

    name: str
    parameters: Parameters


class Specification:
    """A specification module behind checked, typed calls."""

    def __init__(self, module: ModuleType):
        self.module = module
        missing = [name for name in _NEEDED if not hasattr(module, name)]
        if missing:
            raise Refusal(f"The specification {module.__name__} lacks {', '.join(missing)} (see docs/contract.md)")
        self.name: str = module.NAME
        self.state = _fields(module, "STATE")
        self.derived = _fields(module, "DERIVED")
        self.fields = {**self.state, **self.derived}
        self.source = Path(module.__file__ or "")

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
        with self._blame(f"Case '{name}'"):
            try:
                return self.module.parameters(**case)
            except TypeError as error:  # a name too many or too few, or a value of the wrong kind
                raise ValueError(str(error).replace("parameters() ", "the specification ")) from error

    def work(self, parameters: Parameters) -> int:
        """How many units of work one step is (particles, grid points): speed is stated per unit and step."""
        return int(np.prod([parameters[name] for name in self.module.WORK]))

    @property
    def work_name(self) -> str:
        return str(self.module.WORK[-1]).removesuffix("s")

    def initial_state(self, parameters: Parameters) -> Fields:
        with self._blame("The case"):
            state = self.module.initial_state(parameters)
        return self._checked(parameters, state)

    def disordered_state(self, parameters: Parameters) -> Fields:
        make = getattr(self.module, "disordered_state", self.module.initial_state)
        with self._blame("The case"):
            state = make(parameters)
        return self._checked(parameters, state)

    def check_state(self, parameters: Parameters, state: Fields) -> None:
        with self._blame("The state"):
            self.module.check_state(parameters, state)

    def advance(self, parameters: Parameters, state: Fields, steps: int, add: Add = np.sum) -> Fields:
        with self._blame("The specification"):
            return self.module.advance(parameters, state, steps, add=add)

    def observe(self, parameters: Parameters, state: Fields, add: Add = np.sum) -> Fields:
        with self._blame("The specification"):
            seen = self.module.observe(parameters, state, add=add)
        return {name: np.asarray(seen[name], dtype=float) for name in self.derived}

    def difference(self, parameters: Parameters, name: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if hasattr(self.module, "difference"):
            return self.module.difference(parameters, name, a, b)
        return a - b

    def offers(self, name: str) -> bool:
        """Whether the specification has this optional function."""
        return hasattr(self.module, name)

    def symmetries(self, parameters: Parameters, random: np.random.Generator) -> dict[str, tuple[Callable, Callable]]:
        return self._optional("symmetries", parameters, random) or {}

    def relations(
        self, parameters: Parameters, random: np.random.Generator
    ) -> dict[str, tuple[Parameters, Callable, Callable]]:
        return self._optional("relations", parameters, random) or {}

    def probes(self, dtype: type = float) -> dict[str, tuple[Parameters, Fields]]:
        return self._optional("probes", dtype) or {}

    def jumps(self, parameters: Parameters) -> dict[str, float]:
        return self._optional("jumps", parameters) or {}

    def conserved(self, parameters: Parameters, fields: Fields) -> Fields:
        kept = self._optional("conserved", parameters, fields) or {}
        return {name: np.asarray(value, dtype=float) for name, value in kept.items()}

    def reverse(self, parameters: Parameters, state: Fields) -> Fields:
        return self.module.reverse(parameters, state)

    def refine(self, parameters: Parameters, times: int) -> Parameters:
        return self.module.refine(parameters, times)

    def statistics(self, parameters: Parameters, samples: list[Fields]) -> dict[str, float]:
        return self.module.statistics(parameters, samples)

    def terms(
        self, parameters: Parameters, state: Fields, name: str, index: tuple[int, ...]
    ) -> list[tuple[str, float]]:
        return self._optional("terms", parameters, state, name, index) or []

    def features(self, parameters: Parameters, before: Fields, after: Fields) -> dict[str, np.ndarray]:
        return self._optional("features", parameters, before, after) or {}

    def _optional(self, name: str, *arguments: Any) -> Any:
        return getattr(self.module, name)(*arguments) if self.offers(name) else None

    def _checked(self, parameters: Parameters, state: Fields) -> Fields:
        for name, field in self.state.items():
            if state[name].shape != field.shape(parameters):
                raise Refusal(
                    f"The specification's {name} has shape {state[name].shape}, "
                    f"and STATE says {field.shape(parameters)}"
                )
        self.check_state(parameters, state)
        return state

    @contextmanager
    def _blame(self, who: str) -> Iterator[None]:
        """Turn the specification's own complaints into one sentence for a person."""
        try:
            yield
        except ValueError as error:
            raise Refusal(f"{who} is refused: {error}") from error


def _fields(module: ModuleType, table: str) -> dict[str, Field]:
    return {
        name: Field(name, tuple(f["shape"]), f.get("unit", ""), f.get("scale", 1.0) if table == "STATE" else None)
        for name, f in getattr(module, table).items()
    }


def load(manifest: Manifest) -> Specification:
    """Import the manifest's specification."""
    for folder in reversed(manifest.python_path()):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    name = manifest.project.spec
    try:
        return Specification(importlib.import_module(name))
    except ModuleNotFoundError as error:
        places = ", ".join(str(p) for p in manifest.python_path())
        raise Refusal(f"The specification '{name}' cannot be imported ({error}); looked in {places}") from None
    except (SyntaxError, ImportError) as error:
        raise Refusal(f"The specification '{name}' cannot be imported: {error}") from None

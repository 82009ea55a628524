"""Generic faults, put into the stream between the harness and any port: what it is given and what it gives.

FAULTS: name -> Fault. They know nothing of the simulation: only that there are parameters, state fields and
derived fields, and steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from portbench.contract import Fields, Parameters, Specification
from portbench.protocol import Exchange, RunningPort


@dataclass(frozen=True)
class Fault:
    """`level` is the one that must see it, at the latest."""

    level: str
    what: str
    make: Callable[..., Exchange]


FAULTS: dict[str, Fault] = {}


def fault(level: str, what: str) -> Callable[[type[Exchange]], type[Exchange]]:
    """Enter a faulty Exchange under its class's name."""

    def enter(made: type[Exchange]) -> type[Exchange]:
        words = "".join(f"-{c.lower()}" if c.isupper() else c for c in made.__name__).strip("-")
        FAULTS[words] = Fault(level, what, made)
        return made

    return enter


class _Faulty(Exchange):
    """An exchange whose port's `run` can be changed too."""

    def __init__(self, port: RunningPort, specification: Specification, precision: str = "float64"):
        super().__init__(port, specification, precision)
        self.right_run = port.run
        self.steps = 0
        self.random = np.random.default_rng()
        port.run = self.run  # type: ignore[method-assign]

    def load(self, parameters: Parameters, state: Fields) -> None:
        super().load(parameters, state)
        self.steps = 0

    def run(self, steps: int, timeout: float | None = None) -> int:
        self.steps += steps
        return self.right_run(steps, timeout)

    def save(self, parameters: Parameters) -> tuple[Parameters, Fields]:
        echoed, fields = super().save(parameters)
        return echoed, self.changed({name: a.copy() for name, a in fields.items()})

    def changed(self, fields: Fields) -> Fields:
        """What becomes of the fields that the port saved."""
        return fields

    @property
    def state_fields(self) -> list[str]:
        return list(self.specification.state)

    @property
    def eps(self) -> float:
        return float(np.finfo("float32" if self.precision == "float32" else float).eps)


@fault("A0", "run does nothing")
class NullPort(_Faulty):
    def run(self, steps: int, timeout: float | None = None) -> int:
        return self.right_run(0, timeout)


@fault("A3", "every run of more than one step makes one too many")
class StepTooMany(_Faulty):
    def run(self, steps: int, timeout: float | None = None) -> int:
        return super().run(steps + (steps > 1), timeout)


@fault("A3", "no run makes more than one step, whatever is asked")
class OneStepOnly(_Faulty):
    def run(self, steps: int, timeout: float | None = None) -> int:
        return super().run(min(steps, 1), timeout)


@fault("A2", "the first load is kept, and later ones of the same size are ignored")
class FirstLoad(_Faulty):
    def load(self, parameters: Parameters, state: Fields) -> None:
        kept = self.__dict__.setdefault("kept", {})
        sizes = tuple(a.shape for a in state.values())
        super().load(*kept.setdefault(sizes, (parameters, state)))

    def save(self, parameters: Parameters) -> tuple[Parameters, Fields]:
        return parameters, super().save(parameters)[1]


@fault("A0", "the largest number of the first parameter with a fraction is rounded to 10 digits")
class RoundedParameter(_Faulty):
    def save(self, parameters: Parameters) -> tuple[Parameters, Fields]:
        echoed, fields = super().save(parameters)
        return {name: _coarse(value) for name, value in echoed.items()}, fields


def _coarse(value: object) -> object:
    if isinstance(value, tuple):
        return tuple(_coarse(v) for v in value)
    return float(f"{value:.10g}") + 1e-12 if isinstance(value, float) else value


@fault("A3", "the state is off by 1e4 roundings after each run")
class StateOff(_Faulty):
    def changed(self, fields: Fields) -> Fields:
        if self.steps:
            for name in self.state_fields:
                fields[name] = fields[name] * (1 + 1e4 * self.eps)
        return fields


@fault("A2", "the derived fields are off by 1e4 roundings")
class DerivedOff(_Faulty):
    def changed(self, fields: Fields) -> Fields:
        return {name: a if name in self.state_fields else a * (1 + 1e4 * self.eps) for name, a in fields.items()}


@fault("A2", "derived fields are rounded to half the digits")
class DerivedInFewDigits(_Faulty):
    def changed(self, fields: Fields) -> Fields:
        few = np.float32 if self.precision != "float32" else np.float16
        with np.errstate(over="ignore"):
            return {name: a if name in self.state_fields else a.astype(few).astype(float) for name, a in fields.items()}


@fault("A0", "the state is kept in half the digits")
class StateInFewDigits(_Faulty):
    def changed(self, fields: Fields) -> Fields:
        few = np.float32 if self.precision != "float32" else np.float16
        return fields | {name: fields[name].astype(few).astype(float) for name in self.state_fields}


@fault("A2", "the last number of the first derived field is NaN")
class NanAtTheEnd(_Faulty):
    def changed(self, fields: Fields) -> Fields:
        name = next(iter(self.specification.derived))
        fields[name].reshape(-1)[-1:] = np.nan
        return fields


@fault("A2", "the first derived field has the other sign")
class WrongSign(_Faulty):
    def changed(self, fields: Fields) -> Fields:
        name = next(iter(self.specification.derived))
        return fields | {name: -fields[name]}


@fault("A2", "the last derived field is half as large")
class HalfOfTheLast(_Faulty):
    def changed(self, fields: Fields) -> Fields:
        name = [n for n in self.specification.derived if np.any(fields[n])][-1:]
        return fields | {n: 0.5 * fields[n] for n in name}


@fault("A3", "the last number of each state field is that of before the run")
class LastNotUpdated(_Faulty):
    def load(self, parameters: Parameters, state: Fields) -> None:
        super().load(parameters, state)
        self.before = state

    def changed(self, fields: Fields) -> Fields:
        if self.steps:
            for name in self.state_fields:
                fields[name].reshape(-1)[-1:] = self.before[name].reshape(-1)[-1:]
        return fields


@fault("A4", "a run loses one update of the state now and then, another one each time")
class Race(_Faulty):
    def changed(self, fields: Fields) -> Fields:
        if self.steps >= 10:
            name = self.state_fields[-1]
            flat = fields[name].reshape(-1)
            flat[self.random.integers(flat.size)] *= 1 + 1e6 * self.eps
        return fields


@fault("A3", "what is derived is that of the state before the run")
class StaleObservables(_Faulty):
    def run(self, steps: int, timeout: float | None = None) -> int:
        if steps:
            self.seen = super().save(self.given)[1]
        return super().run(steps, timeout)

    def load(self, parameters: Parameters, state: Fields) -> None:
        super().load(parameters, state)
        self.given, self.seen = parameters, {}

    def changed(self, fields: Fields) -> Fields:
        return fields | {name: a for name, a in self.seen.items() if name not in self.state_fields}


@fault("A2", "answers are replayed: what was saved first after so many steps comes again")
class Replay(_Faulty):
    def changed(self, fields: Fields) -> Fields:
        table = self.__dict__.setdefault("table", {})
        key = self.steps, tuple(a.shape for a in fields.values())
        if self.steps == 0:
            kept = table.setdefault(key, fields)
            return fields | {name: kept[name] for name in self.specification.derived}
        return {name: a.copy() for name, a in table.setdefault(key, fields).items()}


@fault("A0", "the clock runs ten times too slowly")
class SlowClock(_Faulty):
    def run(self, steps: int, timeout: float | None = None) -> int:
        return super().run(steps, timeout) // 10


@fault("A0", "the clock runs ten times too fast")
class FastClock(_Faulty):
    def run(self, steps: int, timeout: float | None = None) -> int:
        return 10 * super().run(steps, timeout)


@fault("A0", "a state that is not finite is accepted")
class AcceptsNan(_Faulty):
    def load(self, parameters: Parameters, state: Fields) -> None:
        super().load(parameters, {name: np.nan_to_num(a) for name, a in state.items()})


@fault("A0", "one derived field is never written")
class Forgets(_Faulty):
    def changed(self, fields: Fields) -> Fields:
        name = list(self.specification.derived)[-1]
        return fields | {name: np.full_like(fields[name], np.nan)}


@fault("A5", "parameters other than those of the first load are ignored where they are numbers with a fraction")
class FirstParameters(_Faulty):
    def load(self, parameters: Parameters, state: Fields) -> None:
        kept = self.__dict__.setdefault("kept", {})
        for name, value in parameters.items():
            if isinstance(value, float):
                kept.setdefault(name, value)
        super().load({**parameters, **{name: v for name, v in kept.items() if name in parameters}}, state)

    def save(self, parameters: Parameters) -> tuple[Parameters, Fields]:
        return parameters, super().save(parameters)[1]

"""Rounding twins: the specification again, with every rounding falling differently and nothing else changed.

How far its twins drift from the specification is how far rounding alone can take a right port. The
twins sum in other orders and with more digits, renumber what may be renumbered, and start one unit
in the last place away. (The idea is CESM-ECT's: A. H. Baker et al., Geosci. Model Dev. 8, 2829 (2015).)

Each precision class has twins of its own: those of float32 compute in float32, and in a class whose
compiler may fuse and re-order, each term of each sum may also be wrong by one rounding.

The same hook gives the condition of every sum: summing absolute values instead of values
yields sum_j |f_ij|, against which the rounding error of sum_j f_ij is measured. And the specification
in more digits than any port has is the truth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import mpmath
import numpy as np

from portbench.contract import Add, Fields, Parameters, Specification
from portbench.errors import Refusal
from portbench.manifest import OWN

EXTENDED_DIGITS = 113  # of mpmath's numbers, binary: those of IEEE quadruple precision
MOST_FOR_MPMATH = 500  # numbers in a state; beyond, the truth takes minutes
MOST_FOR_LONG = 20_000


@dataclass(frozen=True)
class Precision:
    """What a class of ports may do, and in which numbers."""

    name: str
    dtype: str
    jitter: bool  # whether each term of a sum may be wrong by a rounding of its own
    starts: int  # twins that start one ulp away
    # Of a class of its own: by how much of the largest number of its field each number may be wrong, and the sizes of
    # these in a usual state, for whoever rounds to a fixed number of places rounds small ones no finer.
    epsilon: float = 0.0
    sizes: dict[str, float] = field(default_factory=dict)

    @property
    def eps(self) -> float:
        return self.epsilon or float(np.finfo(self.dtype).eps)

    def size(self, name: str, numbers: np.ndarray) -> float:
        """Of the largest number of this field, in the state at hand or a usual one."""
        return max(float(np.max(np.abs(numbers), initial=0.0)), self.sizes.get(name, 0.0))

    def allowed(self, name: str, condition: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """That of which a number may be off by eps: its terms, and in a class of its own the largest of its field."""
        return condition + self.size(name, numbers) if self.epsilon else condition


CLASSES = {
    p.name: p
    for p in (
        Precision("float64", "float64", jitter=False, starts=2),
        Precision("float64-fast", "float64", jitter=True, starts=2),
        # rounding decides far more often here on which side of a discontinuity a pair lies
        Precision("float32", "float32", jitter=True, starts=12),
    )
}


def precision_class(name: str) -> Precision:
    """One of CLASSES, or of "epsilon 1e-12" the class in which each number may be wrong by so much."""
    if not name.startswith(OWN):
        return CLASSES[name]
    return Precision(name, "float64", jitter=True, starts=4, epsilon=float(name.removeprefix(OWN)))


def one_at_a_time(terms: np.ndarray, axis: int) -> np.ndarray:
    """The loop that most ports write; numpy.sum adds in pairs, which rounds much less."""
    return np.take(np.cumsum(terms, axis=axis, dtype=terms.dtype), -1, axis=axis)


def backwards(terms: np.ndarray, axis: int) -> np.ndarray:
    return one_at_a_time(np.flip(terms, axis=axis), axis)


def compensated(terms: np.ndarray, axis: int) -> np.ndarray:
    """As if summed with twice the digits: a tree of error-free additions (Ogita, Rump, Oishi 2005, Sum2)."""
    high = np.moveaxis(np.asarray(terms), axis, 0)
    low = np.zeros_like(high[0])
    while len(high) > 1:
        if len(high) % 2:
            high = np.concatenate([high, np.zeros_like(high[:1])])
        a, b = high[0::2], high[1::2]
        high = a + b
        part = high - a
        low = low + np.sum((a - (high - part)) + (b - part), axis=0)  # what a + b lost (Knuth's TwoSum)
    return high[0] + low


def absolute(terms: np.ndarray, axis: int) -> np.ndarray:
    """Not a twin: the condition of the sum."""
    return np.sum(np.abs(terms), axis=axis)


def jittered(seed: int, epsilon: float = 0.0) -> Add:
    """Each term is off by up to half an ulp more than it is (random rounding, as in CADNA and Verrou); or by up to half
    of `epsilon` of the largest term.
    """
    random = np.random.default_rng(seed)

    def add(terms: np.ndarray, axis: int) -> np.ndarray:
        off = random.integers(-128, 128, terms.shape, dtype=np.int8) * ((epsilon or np.finfo(terms.dtype).eps) / 256)
        of = np.max(np.abs(terms), initial=0.0) if epsilon else terms
        return one_at_a_time(terms + off * of, axis)

    return add


ADDS: dict[str, Callable[[int, float], Add]] = {
    "in pairs": lambda *_: np.sum,
    "term by term": lambda *_: one_at_a_time,
    "backwards": lambda *_: backwards,
    "compensated": lambda *_: compensated,
    "absolute": lambda *_: absolute,
    "jittered": jittered,
}


@dataclass(frozen=True)
class Twin:
    """A way to run the specification that in exact arithmetic gives the same."""

    name: str
    add: str = "in pairs"  # a key of ADDS
    dtype: str = "float64"  # or "extended"
    symmetry: str = ""  # a name in the specification's symmetries()
    ulp: bool = False  # start one unit in the last place away
    seed: int = 0
    precision: Precision | None = None  # a class of its own, by whose epsilon all of this is off instead


# The specification itself; the condition of its sums; and itself with more digits.
SPEC = Twin("specification")
CONDITION = Twin("condition", add="absolute")
TRUTH = Twin("truth", dtype="extended")
_ORDERS = [
    Twin("sums term by term", add="term by term"),
    Twin("sums backwards", add="backwards"),
    Twin("compensated sums", add="compensated"),
]


def twins(specification: Specification, parameters: Parameters, precision: Precision) -> list[Twin]:
    """All the twins that this specification offers, in the numbers of this class."""
    names = specification.symmetries(parameters, np.random.default_rng(0))
    made = [*_ORDERS, *[Twin(name, symmetry=name, seed=3) for name in names]]
    made += [Twin("one ulp away", ulp=True, seed=1 + k) for k in range(precision.starts)]
    if precision.jitter:
        made += [Twin("each term rounded once more", add="jittered", seed=1 + k) for k in range(2)]
    if precision.dtype != "float64":
        made = [Twin("specification in fewer digits"), *made]
    own = precision if precision.epsilon else None
    return [replace(twin, dtype=precision.dtype, precision=own) for twin in made]


def advanced(specification: Specification, parameters: Parameters, state: Fields, steps: int, twin: Twin) -> Fields:
    """Where the twin goes from this state, in the specification's order and type."""
    now, back = start(specification, parameters, state, twin)
    return back(specification.advance(parameters, now, steps, adding(twin)))


def adding(twin: Twin) -> Add:
    """How this twin adds."""
    return ADDS[twin.add](twin.seed, twin.precision.eps if twin.precision else 0.0)


def start(
    specification: Specification, parameters: Parameters, state: Fields, twin: Twin
) -> tuple[Fields, Callable[[Fields], Fields]]:
    """The twin's initial state, and how to bring what it computes back to the specification's order and type."""
    random = np.random.default_rng(twin.seed)
    do, undo = _same, _same
    if twin.symmetry:
        do, undo = specification.symmetries(parameters, random)[twin.symmetry]
    now = {name: cast(a, twin.dtype) for name, a in do(state).items()}
    if twin.ulp:
        sign = {name: random.choice([-1.0, 1.0], a.shape).astype(a.dtype) for name, a in now.items()}
        own = twin.precision
        now |= {
            name: a + own.eps * own.size(name, a) * sign[name] if own else np.nextafter(a, sign[name] * np.inf)
            for name, a in now.items()
            if specification.state[name].may_move(a)
        }

    def back(fields: Fields) -> Fields:
        for name, a in fields.items():
            if name in now and a.dtype != now[name].dtype:
                raise Refusal(
                    f"The specification turns {name} from {now[name].dtype} into {a.dtype}: its arrays must keep "
                    'the type of the state, as by np.array(parameters["box"], dtype=x.dtype) (see docs/contract.md)'
                )
        return undo({name: np.asarray(a, dtype=float) for name, a in fields.items()})

    return now, back


def _same(fields: Fields) -> Fields:
    return fields


def cast(array: np.ndarray, dtype: str) -> np.ndarray:
    """Into float32, float64 or the widest that there is: long double, or mpmath's numbers where that is no wider."""
    if dtype != "extended":
        return array.astype(dtype)
    if long_double_is_wider():
        return array.astype(np.longdouble)
    return np.vectorize(_context().mpf, otypes=[object])(array) if array.size else array.astype(object)


def truth_is_affordable(state: Fields) -> bool:
    return sum(a.size for a in state.values()) <= (MOST_FOR_LONG if long_double_is_wider() else MOST_FOR_MPMATH)


def affordable_witnesses() -> int:
    """Elements of each derived field that are evaluated in more digits where the state is too large for all."""
    return 64 if long_double_is_wider() else 4


def long_double_is_wider() -> bool:
    return bool(np.finfo(np.longdouble).eps < np.finfo(float).eps)


def _context() -> Any:
    """Numbers of mpmath with the methods by which NumPy's functions work on arrays of objects."""
    context = mpmath.MPContext()
    context.prec = EXTENDED_DIGITS
    context.mpf.rint = lambda self: context.nint(self)
    context.mpf.sqrt = lambda self: context.sqrt(self)
    return context

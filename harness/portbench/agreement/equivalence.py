"""A6: beyond the horizon of chaos, where runs can only be compared as statistics.

Many runs of the specification and of the port, from starts that differ by a millionth, long enough for chaos
to make them independent. Each of the specification's statistics (temperature, pressure, g(r), ...) must be
*equivalent*: two one-sided t tests (D. J. Schuirmann, J. Pharmacokinet. Biopharm. 15, 657 (1987)) must show that the
means differ by less than the specification's own spread from run to run. A large p value of a test for
difference would show nothing. All statistics must pass, each at 5 %: that is an intersection-union test,
whose level is 5 % as a whole without a correction (R. L. Berger, Technometrics 24, 295 (1982)).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy  # which imports its parts when they are used

from portbench.agreement import twins
from portbench.agreement.levels import Verdict
from portbench.agreement.reference import Oracle, rounded, rounded_parameters, specification_at
from portbench.agreement.twins import SPEC, Precision, Twin
from portbench.contract import Case, Fields, Parameters
from portbench.protocol import Exchange

RUNS = 64  # so many that a right port passes each test with a probability of 0.9999
SAMPLES = 80  # of each run
APART = 1e-6  # relative, between the starts
LEVEL = 0.05


@dataclass(frozen=True)
class Ensemble:
    """The specification's runs of one case."""

    parameters: Parameters
    starts: list[Fields]
    marks: list[int]  # the steps at which samples are taken
    found: dict[str, np.ndarray]  # statistic -> one number per run


def make(
    oracle: Oracle, case: Case, precision: Precision, long: int, progress: Callable[[float], None] = lambda _: None
) -> Ensemble | None:
    """None where the specification offers no statistics, or the manifest allows this case no long run."""
    if not long or not oracle.specification.offers("statistics"):
        return None
    parameters = rounded_parameters(case.parameters, precision.dtype)
    state = oracle.specification.disordered_state(parameters)
    random = np.random.default_rng(11)
    starts = [rounded(oracle.specification.nearer_to_zero(state, APART, random), precision.dtype) for _ in range(RUNS)]
    marks = [round(m) for m in np.linspace(long / 2, long, SAMPLES)]
    runs = oracle(statistics_of_run, [(parameters, start, marks, SPEC) for start in starts], progress)
    return Ensemble(parameters, starts, marks, {name: np.array([r[name] for r in runs]) for name in runs[0]})


def statistics_of_run(
    path: str, identity: str, parameters: Parameters, state: Fields, marks: list[int], twin: Twin
) -> dict[str, float]:
    """By the specification, of its second half."""
    specification = specification_at(path)
    now, back = twins.start(specification, parameters, state, twin)
    samples, step = [], 0
    for mark in marks:
        now = specification.advance(parameters, now, mark - step)
        step = mark
        samples.append(back({**now, **specification.observe(parameters, now)}))
    return specification.statistics(parameters, samples)


def a6_equivalence(x: Exchange, asked: Ensemble | None, progress: Callable[[float], None] = lambda _: None) -> Verdict:
    """The statistic that comes nearest to the margin, or exceeds it, decides."""
    if asked is None:
        no = "A6 asked nothing: the specification has no statistics, or no long run here"
        return Verdict("A6", True, 0.0, no, asked=False)
    runs = []
    for done, start in enumerate(asked.starts):
        samples = list(x.follow(asked.parameters, start, asked.marks))
        runs.append(x.specification.statistics(asked.parameters, samples))
        progress((done + 1) / len(asked.starts))
    figures = [_test(name, right, np.array([r[name] for r in runs])) for name, right in asked.found.items()]
    worst = max(figures, key=lambda f: math.inf if math.isnan(f["ratio"]) else f["ratio"])
    passed = worst["ratio"] <= 1
    largest = max(figures, key=lambda f: f["bound"] / abs(f["right"]) if f["right"] else 0.0)
    if passed:
        finding = (
            f"{len(figures)} statistics of {len(runs)} runs are equivalent; no mean differs by more than its "
            f"bound, at most {largest['bound'] / abs(largest['right']):.2g} of the value ({largest['name']})"
        )
    else:
        finding = (
            f"the {worst['name']} is {worst['value']:.6g} on average and {worst['right']:.6g} for the specification: "
            f"not shown to be within {worst['margin']:.2g}"
        )
    return Verdict("A6", passed, worst["ratio"], finding, {"figures": figures})


def _test(name: str, right: np.ndarray, got: np.ndarray) -> dict:
    """The means, the margin, and the bound: the difference that is excluded with 95 % confidence."""
    margin = float(np.std(right, ddof=1))
    off = float(np.mean(got) - np.mean(right))
    error = math.sqrt(np.var(right, ddof=1) / len(right) + np.var(got, ddof=1) / len(got))
    lower = scipy.stats.ttest_ind(got + margin, right, equal_var=False, alternative="greater")
    upper = scipy.stats.ttest_ind(got - margin, right, equal_var=False, alternative="less")
    bound = abs(off) + float(scipy.stats.t.ppf(1 - LEVEL, lower.df)) * error if error else abs(off)
    ratio = bound / margin if margin else (0.0 if bound == 0 else math.inf)
    return {
        "kind": "equivalence",
        "name": name,
        "value": float(np.mean(got)),
        "right": float(np.mean(right)),
        "margin": margin,
        "bound": bound,
        "p": float(max(lower.pvalue, upper.pvalue)),
        "ratio": ratio,
    }

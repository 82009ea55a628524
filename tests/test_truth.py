"""What A2 calls right: the specification in more digits, by long double, by mpmath, or of some elements only."""

from __future__ import annotations

import numpy as np
import pytest

from portbench import contract
from portbench.agreement import reference, twins
from portbench.agreement.reference import Answer, Oracle, Question, evaluate
from portbench.agreement.twins import CLASSES, CONDITION, SPEC, TRUTH
from portbench.contract import Case, Fields, Specification
from portbench.manifest import Manifest

Asked = tuple[str, Specification, dict, Fields]


@pytest.fixture(params=["tiny", "tiny-walls"])
def asked(request: pytest.FixtureRequest, bundled: Manifest) -> Asked:
    specification = contract.load(bundled)
    (case,) = specification.cases([request.param], bundled.cases)
    state = specification.disordered_state(case.parameters)
    return str(bundled.path), specification, case.parameters, state


def test_mpmath_is_as_true_as_long_double(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where long double is no wider than double (Windows, ARM, macOS), the truth comes from mpmath."""
    if not twins.long_double_is_wider():
        pytest.skip("long double is not wider than double here: there is nothing to compare with")
    path, specification, parameters, state = asked
    (wide,), (condition,) = (evaluate(path, "", parameters, state, [0], twin) for twin in (TRUTH, CONDITION))
    monkeypatch.setattr(twins, "long_double_is_wider", lambda: False)
    assert twins.cast(state["position"], "extended").dtype == object
    (exact,) = evaluate(path, "", parameters, state, [0], TRUTH)
    (double,) = evaluate(path, "", parameters, state, [0], SPEC)
    for name in specification.derived:
        # the one is rounded to double from 64 bits and the other from 113
        assert np.all(np.abs(wide[name] - exact[name]) <= np.spacing(np.abs(exact[name])) + 2e-19 * condition[name])
    assert np.max(np.abs(double["force"] - exact["force"]) / condition["force"]) > 1e-17, "double is as good as mpmath"


@pytest.mark.parametrize("wider", [True, False])
def test_some_elements_of_a_large_state_are_right_in_more_digits(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, wider: bool
) -> None:
    path, specification, parameters, state = asked
    (truth,) = evaluate(path, "", parameters, state, [0], TRUTH)
    monkeypatch.setattr(twins, "long_double_is_wider", lambda: wider and np.finfo(np.longdouble).eps < 2e-16)
    lost = {name: np.full_like(a, np.nan) for name, a in truth.items()}
    question = Question("", parameters, state, [Answer(0, lost, {}, {})])
    found = reference._witnessed(specification, question).answers[0].fields
    there = np.isfinite(found["force"])
    assert 0 < there.sum() <= twins.affordable_witnesses()
    scale = np.max(np.abs(truth["force"]))
    assert np.all(np.abs(found["force"] - truth["force"])[there] <= 1e-15 * scale)
    assert np.all(np.isnan(lost["force"])), "the question that was given has changed"
    # other fields are not sums over terms that the specification names
    assert np.all(np.isnan(found["momentum"]))


def test_the_ladder_asks_for_these_elements(asked: Asked, bundled: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twins, "truth_is_affordable", lambda _: False)
    path, specification, parameters, state = asked
    (double,) = evaluate(path, "", parameters, state, [0], SPEC)
    with Oracle(bundled, specification) as oracle:
        made = reference.make(oracle, Case("large", parameters), CLASSES["float64"], 1)
    (answer,) = next(q for q in made.kernel if q.name == "the disordered state").answers
    better = answer.fields["force"] != double["force"]
    assert 0 < better.sum() <= twins.affordable_witnesses()

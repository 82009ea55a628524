"""What is seen in the state in which a timed run ended, beside whether it is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from test_examination import project

from portbench import contract, hosts, session
from portbench.protocol import Exchange
from portbench.report.remarks import subnormal
from portbench.timing import seal


@pytest.mark.parametrize(
    ("steps", "more", "seen"),
    [
        (1000, "", 0.0),
        (71_000, "", 1.0),  # 0.99^71,000 is about 1e-310
        (9, "def initial_state(p):\n    return {'u': np.append(np.zeros(p['n'] - 1), 1.0)}\n", 0.0),
        (71_000, "def initial_state(p):\n    return {'u': np.append(np.full(p['n'] - 1, 1.0), 1e-310)}\n", 0.0),
    ],
)
def test_numbers_that_became_too_small_are_seen(tmp_path: Path, steps: int, more: str, seen: float) -> None:
    """Not those that the start holds already, in which case they belong to the simulation."""
    found = project(tmp_path, more=more)
    specification = contract.load(found)
    case = specification.cases(["small"], {})[0]
    ready = hosts.prepare(found, found.ports["right"])
    with Exchange(hosts.start(ready, 1, 60), specification) as x:
        start = specification.initial_state(case.parameters)
        x.load(case.parameters, start)
        x.port.run(steps)
        assert seal.judge(ready, x, case, start, steps, True, np.random.default_rng(1)).subnormal == seen


def test_they_are_remarked_upon_once_for_each_case() -> None:
    document = session.read(ROOT / "results" / "readme.json")
    assert subnormal(document) == []
    one = {"port": "c again", "case": "long", "threads": 1, "steps": 12_312}
    document["seals"] = [one | more for more in ({}, {"subnormal": 0.2}, {"subnormal": 0.31}, {"subnormal": 0.0})]
    (said,) = subnormal(document)
    assert said.startswith("c on long: after 12,312 timed steps 31% of the numbers of its state were subnormal")
    assert "set [compare] run" in said

"""The ladder kills wrong ports, each by the level that claims to, and lets right ones live."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from portbench.agreement import twins

HONEST = """
import numpy as np
from particles import spec
from portbench.agreement import twins
ADD = np.sum
def load(p, s): return {"p": p, "s": {k: a.copy() for k, a in s.items()}}
def run(sim, steps): sim["s"] = spec.advance(sim["p"], sim["s"], steps, ADD)
def state(sim): return sim["s"] | spec.observe(sim["p"], sim["s"], ADD)
right = {name: getattr(spec, name) for name in dir(spec)}
"""

# Right answers by another route of rounding.
LIVE = {
    "as-it-is": "",
    "term-by-term": "ADD = twins.one_at_a_time",
    "backwards": "ADD = twins.backwards",
    "compensated": "ADD = twins.compensated",
    "powers-otherwise": """
def pair_force(r2):
    r = np.sqrt(r2)
    return 48 * (r**-14 - 0.5 * r**-8)
spec.pair_force = pair_force
""",
    "unwrapped": """
def pair_force(r2):
    s6 = (1 / r2) ** 3
    return 24 * s6 * (2 * s6 - 1) / r2
spec.pair_force = pair_force
""",
    "permuted": """
order = np.random.default_rng(8).permutation(64)
back = np.argsort(order)
def forces(p, x, add):
    if len(x) != 64: return right["forces"](p, x, add)
    return right["forces"](p, x[order], add)[back]
spec.forces = forces
""",
}

# What porters get wrong -> the level that must see it.
DIE = {
    "sigma-1e-10": ("A2", "spec.pair_force = lambda r2: right['pair_force'](r2 / (1 + 1e-10) ** 2) / (1 + 1e-10) ** 2"),
    "epsilon-1e-10": ("A2", "spec.pair_force = lambda r2: right['pair_force'](r2) * (1 + 1e-10)"),
    "cutoff-1e-9": (
        "A2",
        "spec.pairs = lambda p, x: right['pairs']({**p, 'cutoff': p['cutoff'] * (1 - 1e-9)}, x)",
    ),
    "inclusive-cutoff": (
        "A2",
        "spec.pairs = lambda p, x: right['pairs']({**p, 'cutoff': np.nextafter(p['cutoff'], 9)}, x)",
    ),
    "energy-not-shifted": (
        "A2",
        """
def potential_and_virial(p, x, add):
    u, w = right["potential_and_virial"](p, x, add)
    inside = sum(near.sum() for _, _, _, near in spec.pairs(p, x))
    return u + 0.5 * inside * spec.pair_potential(p["cutoff"] ** 2), w
spec.potential_and_virial = potential_and_virial
""",
    ),
    "virial-halved": (
        "A2",
        "spec.potential_and_virial = lambda p, x, a: np.array(right['potential_and_virial'](p, x, a)) * [1, 0.5]",
    ),
    "float32-forces": (
        "A2",
        "spec.pair_force = lambda r2: right['pair_force'](r2.astype(np.float32)).astype(float)",
    ),
    "last-particle-skipped": (
        "A2",
        """
def forces(p, x, add):
    f = right["forces"](p, x, add)
    if len(x) % 4: f[-1] = 0
    return f
spec.forces = forces
""",
    ),
    "no-pairs-across-z": (
        "A2",
        """
def separation(p, a, b):
    d = right["separation"](p, a, b)
    d[2] = a[2][:, None] - b[2][None, :]
    return d
spec.separation = separation
""",
    ),
    "dt-1e-9": ("A3", "spec.advance = lambda p, s, n, a: right['advance']({**p, 'dt': p['dt'] * (1 + 1e-9)}, s, n, a)"),
    "symplectic-euler": (
        "A3",
        """
def advance(p, s, steps, add):
    xs, vs = [], []
    for x, v in zip(s["position"], s["velocity"]):
        for _ in range(steps):
            v = v + p["dt"] * spec.forces(p, x, add)
            x, v = spec.drift(p, x, v)
        xs.append(x); vs.append(v)
    return {"position": np.array(xs), "velocity": np.array(vs)}
spec.advance = advance
""",
    ),
    "one-bounce-only": (
        "A3",
        """
def drift(p, x, v):
    if p["boundary"] == "periodic": return right["drift"](p, x, v)
    box = np.array(p["box"])
    x = x + p["dt"] * v
    low, high = x < 0, x > box
    x = np.where(low, -x, np.where(high, 2 * box - x, x))
    return x, np.where(low | high, -v, v)
spec.drift = drift
""",
    ),
    "velocity-not-reflected": (
        "A3",
        """
def drift(p, x, v):
    return right["drift"](p, x, v)[0], v
spec.drift = drift
""",
    ),
    "lost-update-at-step-7": (
        "A4",
        """
count = [0]
def run(sim, steps):
    for _ in range(steps):
        count[0] += 1
        sim["s"] = spec.advance(sim["p"], sim["s"], 1)
        if sim.setdefault("step", 0) == 6: sim["s"]["velocity"][0, 5] *= 1 - 1e-9
        sim["step"] += 1
""",
    ),
    "remembers-the-first-case": (
        "A2",
        """
first = []
def load(p, s):
    first.append(p)
    return {"p": {**p, "cutoff": min(first[0]["cutoff"], p["cutoff"])}, "s": s}
""",
    ),
}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """One check of all these ports, in the periodic box and between walls."""
    import os
    import subprocess
    import sys

    folder = tmp_path_factory.mktemp("ladder")
    ports = ""
    for name, fault in {**LIVE, **{name: fault for name, (_, fault) in DIE.items()}}.items():
        module = "port_" + name.replace("-", "_")
        (folder / f"{module}.py").write_text(HONEST + fault)
        ports += f'[ports.{name}]\nhost = "python"\nmodule = "{module}"\nsources = ["{module}.py"]\nthreads = false\n'
    (folder / "portbench.toml").write_text(
        f"""
[project]
name = "mutants"
spec = "particles.spec"
python-path = [".", "{ROOT / "python"}"]
[check]
steps = {{default = 50}}
[cases.tiny-walls]
base = "tiny"
boundary = "walls"
{ports}
"""
    )
    command = [sys.executable, "-m", "portbench", "check", "--json", "--quiet", "--cases", "tiny,tiny-walls"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=290, env=dict(os.environ))
    assert done.returncode == 1, done.stderr
    return {(c["port"], c["case"]): c for c in json.loads(done.stdout)["certificates"]}


@pytest.mark.parametrize("case", ["tiny", "tiny-walls"])
@pytest.mark.parametrize("name", LIVE)
def test_right_ports_live(name: str, case: str, verdicts: dict) -> None:
    certificate = verdicts[name, case]
    assert certificate["holds"], certificate["finding"]
    assert certificate["horizon"] == 50


@pytest.mark.parametrize("name", DIE)
def test_wrong_ports_die(name: str, verdicts: dict) -> None:
    """By the level that claims to see it; in both boxes, since the probes cover both boundaries."""
    for case in ("tiny", "tiny-walls"):
        certificate = verdicts[name, case]
        assert not certificate["holds"]
        assert certificate["verdicts"][-1]["level"] == DIE[name][0], certificate["finding"]


def test_a_failure_names_field_index_and_bits(verdicts: dict) -> None:
    evidence = verdicts["dt-1e-9", "tiny"]["verdicts"][-1]["evidence"]
    assert evidence["field"] in ("position", "velocity")
    assert len(evidence["index"]) == 3
    assert float.fromhex(evidence["got_hex"]) == evidence["got"]


floats = st.lists(st.floats(-1e12, 1e12, allow_subnormal=False), min_size=1, max_size=50)


@given(floats)
def test_compensated_sum_is_as_if_with_twice_the_digits(terms: list[float]) -> None:
    """Within an ulp of the exact sum, plus eps^2 of the condition (Ogita, Rump, Oishi 2005, eq. 4.6)."""
    exact = float(sum(map(Fraction, terms)))
    got = float(twins.compensated(np.array(terms), axis=0))
    condition = sum(map(abs, terms))
    assert abs(got - exact) <= 2.3e-16 * abs(exact) + (len(terms) * 2.3e-16) ** 2 * condition


@given(floats)
def test_the_orders_of_summation_are_what_they_say(terms: list[float]) -> None:
    forward = 0.0
    for term in terms:
        forward += term
    backward = 0.0
    for term in reversed(terms):
        backward += term
    array = np.array([terms, terms])
    assert twins.one_at_a_time(array, axis=-1).tolist() == [forward, forward]
    assert twins.backwards(array, axis=1).tolist() == [backward, backward]
    assert math.isclose(twins.absolute(array, axis=1)[0], sum(map(abs, terms)), abs_tol=1e-300)

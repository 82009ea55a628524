"""Every port of the bundled simulation: right, deterministic over threads, and clear about bad input.

The ports are those in portbench.toml: a new one is tested without an edit here. Those that divide the boxes of the
NumPy port have tests of their own.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import LONG, ROOT, need
from test_numpy_pools import WAYS

from portbench import contract, exchange, hosts, manifest
from portbench.contract import Case, Fields, Specification
from portbench.errors import PortFailure
from portbench.manifest import Manifest
from portbench.protocol import Exchange

PORTS = [n for n, p in manifest.read(ROOT / "portbench.toml").ports.items() if n not in WAYS and not p.variant_of]
YARDSTICKS = ("lammps", "openmm")  # others wrote them: threads that add up in any order, runs that sort anew
# The plain programs in single precision have no loop, thread or sentence of their own.
SAME_PROGRAM = [name for name in PORTS if name.endswith("-f32") and not name.endswith("-simd-f32")]
# Of which CI asks another in the same language and type.
LIKE_OTHERS = [*SAME_PROGRAM, "numba-simd-f32", "mojo-simd", "cpp-simd"]
every_port = pytest.mark.parametrize("name", PORTS)
every_program = pytest.mark.parametrize("name", [name for name in PORTS if name not in SAME_PROGRAM])


@pytest.fixture(scope="module")
def spec(bundled: Manifest) -> Specification:
    return contract.load(bundled)


@contextmanager
def running(bundled: Manifest, spec: Specification, name: str, threads: int = 1) -> Iterator[Exchange]:
    ready = hosts.prepare(bundled, bundled.ports[name])
    with Exchange(hosts.start(ready, threads, 300), spec, ready.port.precision) as x:
        x.port.hello()
        yield x
        x.port.quit()


def after(x: Exchange, parameters: dict, state: Fields, *runs: int) -> Fields:
    x.load(parameters, state)
    for steps in runs:
        x.port.run(steps)
    return x.save(parameters)[1]


def same_bits(a: Fields, b: Fields) -> bool:
    return all(a[name].tobytes() == b[name].tobytes() for name in a)


@pytest.mark.timeout(700)  # that of the first one includes the twins of all cases
@pytest.mark.parametrize("name", [pytest.param(n, marks=[LONG] if n in LIKE_OTHERS else []) for n in PORTS])
def test_it_is_certified(name: str, bundled: Manifest, portbench) -> None:
    """In the periodic box and between walls; that threads do not change a bit is a test below."""
    need(bundled, name)
    cases = ["tiny"] if name in SAME_PROGRAM else ["tiny-walls"]
    cases += [] if bundled.ports[name].precision == "float32" else ["liquid-500"]
    cases += ["tiny"] if os.environ.get("PORTBENCH_LONG") and "tiny" not in cases else []
    asked = ("check", "--ports", name, "--cases", ",".join(cases), "--json", "--quiet")
    done = portbench(*asked, cwd=ROOT, timeout=650)
    said = json.loads(done.stdout)
    assert done.returncode == 0, [c["finding"] for c in said["certificates"]] or said["missing"]
    assert len(said["certificates"]) == len(cases)
    for certificate in said["certificates"]:
        assert certificate["level"] == "A5"
        assert certificate["horizon"] == 200
        for verdict in certificate["verdicts"]:
            # honest ports are far inside, at every level; of what is drawn at random the tolerance has fewer twins
            assert verdict["ratio"] < (1.0 if verdict["level"] == "A3" else 0.5), verdict["finding"]


@cache
def one_step(spec: Specification, kind: str) -> list[tuple[Case, Fields, Fields]]:
    """Of melt-4k, gas-4k and an ensemble of three: the case, a state of this type, and the specification's step."""
    some = {"three": {"base": "ensemble", "boxes": 3}, "thin": {"base": "gas-4k", "density": 1e-4}}
    made = []
    for case in spec.cases(["melt-4k", "thin", "three"], some):
        state = {f: a.astype(kind).astype(float) for f, a in spec.disordered_state(case.parameters).items()}
        made.append((case, state, spec.advance(case.parameters, state, 1)))
    return made


@every_port
def test_large_thin_and_many_boxes(name: str, bundled: Manifest, spec: Specification) -> None:
    need(bundled, name)
    kind = "float32" if bundled.ports[name].precision == "float32" else "float64"
    with running(bundled, spec, name) as x:
        for case, state, want in one_step(spec, kind):
            got = after(x, case.parameters, state, 1)
            for field in want:
                off = spec.difference(case.parameters, field, got[field], want[field])
                assert np.max(np.abs(off)) < 64 * np.finfo(kind).eps * np.max(np.abs(want[field])), (case.name, field)


@every_port
def test_no_pair_is_lost_where_coordinates_are_large(name: str, bundled: Manifest, spec: Specification) -> None:
    """Pairs that were just within the reach of a list come within the cutoff before anything has moved half the skin.

    In a box so large that single precision, in which a list may be looked for, is off by more than they come within.
    """
    need(bundled, name)
    if name in YARDSTICKS or bundled.ports[name].precision == "float32":
        pytest.skip("its lists are another's, or its coordinates are themselves no better")
    side, pairs, steps, cutoff = 1e5, 250, 10, 2.5
    skin = {"julia": 0.29, "numba": 0.3, "cpp": 0.3, "mojo": 0.3}.get(name, 0.4)
    draw = np.random.default_rng(1)
    middle = draw.uniform(0.5 * side, side - 10, (pairs, 1, 3))
    along = draw.normal(size=(pairs, 1, 3))
    along /= np.linalg.norm(along, axis=2, keepdims=True)
    both = np.array([[[0.5], [-0.5]]])
    gap, moves = cutoff + skin - 1.5e-3, 0.5 * skin - 5e-4  # in the end they are 2.4995 apart
    parameters = spec.cases(["far"], {"far": {"base": "gas-4k"}})[0].parameters
    parameters = {**parameters, "particles": 2 * pairs, "box": (side,) * 3}
    state = {
        "position": (middle + gap * both * along).reshape(1, 2 * pairs, 3),
        "velocity": (-2 * moves / (steps * parameters["dt"]) * both * along).reshape(1, 2 * pairs, 3),
    }
    want = spec.advance(parameters, state, steps)
    apart = np.linalg.norm(np.diff(want["position"].reshape(pairs, 2, 3), axis=1), axis=2)
    assert (apart < cutoff).mean() > 0.9
    with running(bundled, spec, name) as x:
        got = after(x, parameters, state, steps)
    # the last half kick, which only those get that have come within the cutoff, is a thousand times this
    assert np.abs(got["velocity"] - want["velocity"]).max() < 1e-7


@every_port
def test_threads_do_not_change_a_bit(name: str, bundled: Manifest, spec: Specification) -> None:
    need(bundled, name)
    if name in YARDSTICKS:
        pytest.skip("it does not promise that")
    # One box that is large enough for every port to divide it, and several.
    cases = spec.cases(["melt-4k", "five"], {"five": {"base": "ensemble", "boxes": 5}})
    results = []
    for threads in (1, 2):
        with running(bundled, spec, name, threads) as x:
            results.append([after(x, c.parameters, spec.disordered_state(c.parameters), 60) for c in cases])
    assert all(same_bits(*of_case) for of_case in zip(*results))


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="there is only one core")
@pytest.mark.alone
@every_program
def test_two_threads_are_two(name: str, bundled: Manifest, spec: Specification) -> None:
    """Two threads of the process do the work, and the second is there for more than show."""
    need(bundled, name)
    if not bundled.ports[name].threads:
        pytest.skip("it declares that it uses one thread")
    case = spec.cases(["melt-4k"], {})[0]
    with running(bundled, spec, name, threads=2) as x:
        x.load(case.parameters, spec.disordered_state(case.parameters))
        x.port.run(50)
        process = psutil.Process(x.port.process.pid)
        before = {t.id: t.user_time for t in process.threads()}
        # A thread may do the work of one that another program keeps from its processor: that one gets some by and by.
        until = time.monotonic() + 30
        while time.monotonic() < until:
            x.port.run(400)
            used = sorted((t.user_time - before.get(t.id, 0.0) for t in process.threads()), reverse=True)
            if used[1] > 0.05 * used[0] > 0:
                return
    pytest.fail(f"the threads worked for {used} seconds")


@every_program
def test_steps_may_be_taken_in_pieces_and_states_leave_no_trace(
    name: str, bundled: Manifest, spec: Specification
) -> None:
    need(bundled, name)
    if name in YARDSTICKS:
        pytest.skip("it does not promise that")
    tiny, walls = spec.cases(["tiny", "other"], {"other": {"base": "walls-500", "dt": 0.002}})
    a, b = spec.disordered_state(tiny.parameters), spec.disordered_state(walls.parameters)
    with running(bundled, spec, name) as x:
        first = after(x, tiny.parameters, a, 60)
        other = after(x, walls.parameters, b, 20)
        assert same_bits(first, after(x, tiny.parameters, a, 20, 0, 39, 1))
        assert same_bits(other, after(x, walls.parameters, b, 20))


WRONG: dict[str, tuple[dict, dict]] = {
    "two particles at one point": ({}, {"position": (1, 0)}),
    "cutoff over half the box": ({"cutoff": 2.2}, {}),
    "cutoff of zero": ({"cutoff": 0.0}, {}),
    "no such boundary": ({"boundary": "torus"}, {}),
    "time runs backwards": ({"dt": -0.005}, {}),
    "box without a side": ({"box": (4.3, 4.3)}, {}),
}


@every_program
def test_bad_input_is_refused_in_a_sentence(name: str, bundled: Manifest, spec: Specification, tmp_path: Path) -> None:
    """Whatever is wrong: `error` and a reason, at load or at the first run; the port lives on and keeps its state."""
    need(bundled, name)
    tiny = spec.cases(["tiny"], {})[0].parameters
    state = spec.disordered_state(tiny)
    with running(bundled, spec, name) as x:
        with pytest.raises(PortFailure, match=r"refused 'run 1': .*load"):
            x.port.run(1)
        with pytest.raises(PortFailure, match=r"refused 'save': .*load"):
            x.save(tiny)
        x.load(tiny, state)
        for what, (parameters, fields) in WRONG.items():
            bad = {key: array.copy() for key, array in state.items()}
            for field, (to, at) in fields.items():
                bad[field][0, to] = bad[field][0, at]
            with pytest.raises(PortFailure) as caught:  # noqa: PT012 - it may be the run that refuses
                x.load({**tiny, **parameters}, bad)
                x.port.run(0)
            assert caught.value.kind == "refused", what
            assert len(caught.value.sentence) > 30, what
        for missing in ("cutoff", "box", "boundary", "dt", "particles"):
            with pytest.raises(PortFailure, match=missing):
                x.load({key: value for key, value in tiny.items() if key != missing}, state)
        for steps in ("-1", "x", "", "1.5"):
            with pytest.raises(PortFailure) as caught:
                x.port.ask(f"run {steps}")
            assert caught.value.kind == "refused"
        folder = tmp_path / "with blanks in it"
        folder.mkdir()
        exchange.write_parameters(folder, tiny)
        exchange.write_fields(folder, state, bundled.ports[name].precision)
        x.port.load(folder)
        next(folder.glob("velocity.*")).write_bytes(b"short")
        with pytest.raises(PortFailure, match="velocity"):
            x.port.load(folder)
        assert same_bits(x.save(tiny)[1], after(x, tiny, state))


@every_program
def test_a_blow_up_is_an_error_and_not_a_number(name: str, bundled: Manifest, spec: Specification) -> None:
    """Too long a time step ends in a sentence, not in NaN, a crash or an endless bounce."""
    need(bundled, name)
    for boundary in ("periodic", "walls"):
        some = {"wild": {"base": "tiny", "dt": 0.5, "boundary": boundary, "temperature": 1e6}}
        wild = spec.cases(["wild"], some)[0].parameters
        with running(bundled, spec, name) as x:
            with pytest.raises(PortFailure) as caught:  # noqa: PT012
                x.load(wild, spec.disordered_state(wild))
                x.port.run(50, timeout=60)
            assert caught.value.kind == "refused", caught.value.sentence


@every_program
def test_end_of_input_ends_it(name: str, bundled: Manifest) -> None:
    """A harness that dies without a word leaves no port behind."""
    need(bundled, name)
    port = hosts.start(hosts.prepare(bundled, bundled.ports[name]), 1, 300)
    with port:
        port.hello()
        port._in.close()
        assert port.process.wait(20) == 0

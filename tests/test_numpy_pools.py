"""The NumPy port with its boxes divided over processes or threads gives what it gives alone."""

from __future__ import annotations

import numpy as np
import psutil
import pytest

from portbench import contract, hosts
from portbench.contract import Specification
from portbench.errors import PortFailure
from portbench.manifest import Manifest
from portbench.protocol import Exchange

WAYS = ["numpy-multiprocessing", "numpy-loky", "numpy-threading"]


@pytest.fixture(scope="module")
def spec(bundled: Manifest) -> Specification:
    return contract.load(bundled)


def start(bundled: Manifest, spec: Specification, name: str) -> Exchange:
    exchange = Exchange(hosts.start(hosts.prepare(bundled, bundled.ports[name]), 2, 120), spec)
    exchange.port.hello()
    return exchange


@pytest.mark.parametrize("name", WAYS)
def test_no_bit_changes_and_the_cost_is_said(name: str, bundled: Manifest, spec: Specification) -> None:
    case = spec.cases(["five"], {"five": {"base": "ensemble", "boxes": 5}})[0]
    state = spec.disordered_state(case.parameters)
    results = []
    for port in ("numpy", name):
        with start(bundled, spec, port) as x:
            x.load(case.parameters, state)
            for steps in (3, 0, 4):
                spent = {key: int(n) for key, n in x.port.ask(f"run {steps}").items() if key.endswith("nanoseconds")}
            results.append(x.save(case.parameters)[1])
            children = psutil.Process(x.port.process.pid).children(recursive=True)
            x.port.quit()
        _, alive = psutil.wait_procs(children, timeout=10)
        assert not alive
    assert all(np.array_equal(results[0][field], results[1][field]) for field in results[0])
    parts = spent["stepping_nanoseconds"] + spent["handing_over_nanoseconds"]
    assert spent["handing_over_nanoseconds"] > 0
    assert parts <= spent["nanoseconds"] < 1.2 * parts + 1e6


@pytest.mark.parametrize("name", WAYS)
def test_what_is_wrong_in_one_box_is_said(name: str, bundled: Manifest, spec: Specification) -> None:
    case = spec.cases(["five"], {"five": {"base": "ensemble", "boxes": 5}})[0]
    state = spec.disordered_state(case.parameters)
    state["velocity"][3, 7] = 1e9
    with start(bundled, spec, name) as x:
        x.load(case.parameters, state)
        with pytest.raises(PortFailure, match="the time step is too long"):
            x.port.run(1)
        x.port.quit()


def test_a_way_that_there_is_not(bundled: Manifest, spec: Specification) -> None:
    port = bundled.ports["numpy-loky"].model_copy(update={"module": "particles.port_numpy_pools:pigeons"})
    with (
        Exchange(hosts.start(hosts.prepare(bundled, port), 1, 60), spec) as x,
        pytest.raises(PortFailure, match="no way pigeons"),
    ):
        x.port.hello()

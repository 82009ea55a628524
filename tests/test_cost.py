"""What a run costs: recovered from sessions whose truth is known, and from a real one whose port tells its parts."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from test_bad_input import write

from portbench import session
from portbench.errors import Refusal
from portbench.report import costs
from portbench.timing.cost import at_size
from portbench.timing.cost import costs as costs_of

# seconds: start, compile in each process, compile once for all, load per particle, step per particle
SPEEDS = {
    "spec": (0.1, 0.0, 0.0, 0.0, 2e-5),
    "numpy": (0.2, 0.0, 0.0, 1e-5, 1e-6),
    "julia": (3.0, 2.0, 0.0, 1e-5, 1e-7),
    "numba": (0.3, 0.0, 9.0, 1e-5, 2e-7),
}
SIZES = {"small": 100, "middle": 1000, "large": 10000}


def simulated(rounds: int = 5, noise: float = 0.0, sizes: dict[str, int] = SIZES, seed: int = 1) -> dict:
    """Another case comes first in each round, as the scheduler has it; the very first process compiles all."""
    draw = np.random.default_rng(seed)

    def noisy() -> float:
        return float(np.exp(noise * draw.standard_normal()))

    document: dict = {name: [] for name in session.KINDS.values()} | {
        "schema": session.SCHEMA,
        "baseline": "numpy",
        "unit": "particle",
        "threads": [1],
        "machine": {},
        "cases": {name: {"work": n, "parameters": {}} for name, n in sizes.items()},
    }
    for port, (start, compiling, first, load, step) in SPEEDS.items():
        document["ports"].append(
            {"name": port, "missing": "", "sources_hash": "x", "uses_threads": True, "build_seconds": None}
        )
        for case in sizes:
            document["certificates"].append(
                {"port": port, "case": case, "threads": 1, "holds": True, "level": "A5", "horizon": 1}
                | {"identity": {"sources": "x"}}
            )
        for round_ in range(rounds):
            order = list(sizes)[round_ % len(sizes) :] + list(sizes)[: round_ % len(sizes)]
            for k, case in enumerate(order):
                size, fresh = sizes[case], k == 0
                cold = fresh and round_ == 0
                where = {"port": port, "case": case, "threads": 1, "round": round_}
                phases = {"start": start} if fresh else {}
                phases |= {"load": load * size, "first_call": step * size + fresh * compiling + cold * first}
                for name, seconds in phases.items():
                    record = {"phase": name, "nanoseconds": 1e9 * noisy() * seconds, "cold": cold, "fresh": fresh}
                    document["phases"].append(record | where)
                sample = {"turn": 0, "steps": 10, "nanoseconds": 1e10 * noisy() * step * size, "round_trip": 1e11}
                document["samples"].append(sample | where)
    return document


@pytest.mark.parametrize("port", SPEEDS)
@pytest.mark.parametrize("sizes", [SIZES, {"small": 100}], ids=["three cases", "one case"])
def test_the_parts_of_a_run_are_recovered(port: str, sizes: dict[str, int]) -> None:
    start, compiling, _, load, step = SPEEDS[port]
    found = costs_of(simulated(sizes=sizes), port, 1)
    assert set(found) == set(sizes)
    for case, cost in found.items():
        n = sizes[case]
        # what the first call took beside compiling is a step, which the steps count themselves
        assert cost.once(0.95).value == pytest.approx(start + compiling + load * n, rel=1e-9)
        assert cost.per_step(0.95).value == pytest.approx(step * n, rel=1e-9)
        assert cost.total(1e6, 0.95).value == pytest.approx(start + compiling + load * n + 1e6 * step * n, rel=1e-9)
        assert 0 not in cost.rounds.index  # its port compiled for all others


def test_where_one_pays_against_another() -> None:
    found = {port: costs_of(simulated(), port, 1)["middle"] for port in SPEEDS}
    assert found["julia"].pays(found["numpy"], 0.95) == (pytest.approx((5.0 - 0.2) / 9e-4), np.inf)
    assert found["spec"].pays(found["numpy"], 0.95) == (0, pytest.approx((0.21 - 0.1) / 1.9e-2))  # it need not load
    assert found["numba"].pays(found["spec"], 0.95)[1] == np.inf
    assert found["numba"].pays(found["julia"], 0.95) == (0, pytest.approx((5.0 - 0.3) / 1e-4))
    assert found["spec"].pays(found["julia"], 0.95)[0] == 0
    assert found["numpy"].pays(found["numpy"], 0.95) is None  # a tie is no gain
    rows = {r.port: r for r in costs.examine(simulated(), 1e6, None, ["middle"], "")}
    assert list(rows) == ["julia", "numba", "numpy", "spec"]
    assert rows["numpy"].pays is None
    document = simulated()
    document["ports"][-1]["missing"] = "it is not here"
    with pytest.raises(Refusal, match="--against numba: it has no figure here"):
        costs.examine(document, 1e6, None, [], "numba")


def test_cases_of_which_nothing_can_be_told_are_named() -> None:
    document = simulated()
    for kind in ("phases", "samples"):  # of the large one, which took too long, there is no second round
        document[kind] = [one for one in document[kind] if one["case"] != "large" or one["round"] == 0]
    found = costs.examine(document, 1e6, None, [], "")
    assert {r.case for r in found} == {"small", "middle"}
    missing = costs.untold(document, found, [])
    assert missing == ["large"]
    assert costs.untold(document, found, ["small"]) == []
    console = Console(file=StringIO(), width=200)
    costs.print_table(found, document, 1e6, "", missing, console)
    assert "not told: large: no port with a figure there has a second round" in console.file.getvalue()  # type: ignore[attr-defined]


def test_intervals_hold_the_truth_and_narrow_ones_are_not_claimed_from_two_rounds() -> None:
    """Of 40 sessions at least 34, and with noise that is another in each phase."""
    truth = 5.01 + 1e4 * 1e-4
    held = 0
    for seed in range(40):
        noisy = costs_of(simulated(rounds=9, noise=0.05, seed=seed), "julia", 1)["middle"].total(1e4, 0.95)
        held += noisy.low < truth < noisy.high
        assert 0.002 < noisy.uncertainty < 0.2
    assert held >= 34
    two = costs_of(simulated(rounds=2), "julia", 1)["middle"].total(1e5, 0.95)  # one of them warm
    assert two.high == np.inf


def test_sizes_between_those_measured() -> None:
    of_case = costs_of(simulated(), "numba", 1)
    of_size = {SIZES[case]: cost for case, cost in of_case.items()}
    assert at_size(3000, of_size).per_step(0.95).value == pytest.approx(3000 * 2e-7, rel=1e-6)
    for size in (99, 10001):
        with pytest.raises(ValueError, match="is not between 100 and 10,000"):
            at_size(size, of_size)
    with pytest.raises(Refusal, match="--size 99: 99 is not between"):
        costs.examine(simulated(), 1e5, 99, list(SIZES), "")
    with pytest.raises(Refusal, match="--size needs --cases"):
        costs.examine(simulated(), 1e5, 500, [], "")
    with pytest.raises(Refusal, match="nothing to tell"):
        costs.examine(simulated(rounds=1), 1e5, None, [], "")


PARTS = """
def parts(simulation):
    return {"host_to_device": 1000, "kernels": 2000000}
"""


def test_phases_of_a_real_session_and_the_parts_that_a_port_tells(portbench, tmp_path: Path) -> None:
    folder = tmp_path
    write(folder, "[check]\nsteps = {default = 2}\n[compare]\nbaseline = 'honest'\nsample = 0.03\n")
    (port,) = [f for f in folder.glob("*.py") if "def run(" in f.read_text()]
    port.write_text(port.read_text() + PARTS)
    done = portbench("compare", "--cases", "tiny", "--budget", "0", "--json", "--quiet")
    assert done.returncode == 0, done.stdout + done.stderr
    path = folder / json.loads(done.stdout)["session"]
    document = session.read(path)
    named = {(p["port"], p["phase"]) for p in document["phases"]}
    for phase in ("start", "import", "load", "first_call", "warm_up", "save", "teardown"):
        assert ("honest", phase) in named
    starts = [p for p in document["phases"] if p["phase"] == "start"]
    assert all(0.02e9 < p["cpu_nanoseconds"] < 1.5 * p["nanoseconds"] + 0.02e9 for p in starts)
    assert all(
        s["parts"] == {"host_to_device": 1000, "kernels": 2000000} for s in document["samples"] if "honest" in s["port"]
    )
    said = portbench("report", str(path), "--phases")
    assert said.returncode == 0, said.stderr
    assert "host to device" in said.stdout
    assert "teardown" in said.stdout
    rows = {r["port"]: r for r in json.loads(portbench("report", str(path), "--phases", "--json").stdout)["phases"]}
    assert rows["honest"]["phases"]["teardown"]["value"] > 0
    assert "kernels" in rows["honest"]["parts"]
    assert rows["spec"]["parts"] == {}
    said = portbench("cost", str(path), "--steps", "1000", "--against", "spec")
    assert said.returncode == 0, said.stderr
    assert "1,000 steps" in said.stdout
    for wrong in (["--steps", "inf"], ["--steps", "10", "--against", "nobody"], ["--steps", "10", "--cases", "no"]):
        done = portbench("cost", str(path), *wrong)
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr

"""make benchmarks: each port on each case of `portbench compare`, in pytest-benchmark, for people who live in pytest.

    make benchmarks BENCHMARK_FLAGS="--benchmark-autosave --benchmark-compare --benchmark-compare-fail=median:10%"

Times are seconds per step, by the port's own clock, of one process each, which is kept on one processor. A port that
holds no certificate is checked first, and fails if it does not agree. For ratios with intervals use `portbench bench`:
here nothing is paired, and one process says nothing about the next. PORTBENCH_MANIFEST names another portbench.toml.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import ROOT, need

from portbench import contract, hosts, manifest, run
from portbench.progress import Progress
from portbench.protocol import Exchange
from portbench.timing import conditions

FOUND = manifest.read(Path(os.environ.get("PORTBENCH_MANIFEST", ROOT / "portbench.toml")))
SPECIFICATION = contract.load(FOUND)
NAMES = list(FOUND.compare.cases) or list(SPECIFICATION.module.CASES)[:1]
CASES = {case.name: case for case in SPECIFICATION.cases(NAMES, dict(FOUND.cases))}
ROUNDS = 20
SAMPLE_SECONDS = 0.1

_seconds = 0.0


def by_the_ports_clock() -> float:
    """Seconds per step, summed over all samples so far."""
    return _seconds


@pytest.fixture(scope="session")
def one_cache() -> None:
    """Not that of the other tests, which is new each time: a certificate is good as long as nothing changes."""


@pytest.mark.benchmark(timer=by_the_ports_clock, disable_gc=False)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("port", [p.name for p in FOUND.choose_ports([])])
def test_speed(benchmark, port: str, case: str) -> None:
    need(FOUND, port)
    job = run.plan(FOUND, [port], [case], [1])
    with Progress(quiet=True) as progress:
        run.prepare(job, progress)
        run.certify(job, progress, remembered=True)
    (certificate,) = job.certificates
    assert certificate.holds, certificate.finding
    benchmark.group = case
    benchmark.extra_info = {"port": port, "case": case, "level": certificate.level, "threads": 1}
    (ready,) = job.ready
    started = hosts.start(ready, 1, 600, None, conditions.processors(1))
    with Exchange(started, SPECIFICATION, ready.port.precision) as x:
        x.port.hello()
        x.load(CASES[case].parameters, SPECIFICATION.initial_state(CASES[case].parameters))
        x.port.run(1)
        steps = _warm_up(x)

        def sample() -> None:
            global _seconds
            _seconds += x.port.run(steps) / 1e9 / steps

        benchmark.extra_info["steps"] = steps
        benchmark.pedantic(sample, rounds=ROUNDS, warmup_rounds=1)
        x.port.quit()


def _warm_up(x: Exchange) -> int:
    """The number of steps that make a sample long enough for any clock."""
    steps = 1
    while (seconds := x.port.run(steps) / 1e9) < SAMPLE_SECONDS / 2:
        steps *= 2
    return max(1, round(steps * SAMPLE_SECONDS / seconds))

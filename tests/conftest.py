"""What the tests share: the command line as a person runs it, and small projects made for one test."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from portbench import hosts, manifest
from portbench.manifest import Manifest

HERE = Path(__file__).parent
ROOT = HERE.parent
WAVE = HERE / "wave"
# Taken out of the environment: projects made for one test have not got these ports.
REQUIRED = os.environ.pop("PORTBENCH_REQUIRE", "").replace(",", " ").split()
os.environ.pop("PYTEST_XDIST_WORKER", None)  # what a test starts is no worker: pytest-benchmark would measure nothing


# Of tests that take long, and of which a shorter one looks at the same code.
LONG = pytest.mark.skipif(not os.environ.get("PORTBENCH_LONG"), reason="it takes long: PORTBENCH_LONG=1 asks for it")


@pytest.fixture(scope="session", autouse=True)
def one_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All tests of a process share a cache, those of `make test` too: twins and builds are made once."""
    os.environ.setdefault("PORTBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def bundled() -> Manifest:
    """The manifest of this repository."""
    return manifest.read(ROOT / "portbench.toml")


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The specification of the ring of springs, that a test may change for itself."""
    monkeypatch.syspath_prepend(HERE / "ring")  # else the folder is taken for a package
    return importlib.import_module("ring")


@pytest.fixture
def portbench(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """portbench("check", "--ports", "x", cwd=...) in a process of its own, as a person runs it."""

    def run(*arguments: str, cwd: Path | None = None, timeout: float = 240, **environment: str):
        return subprocess.run(
            [sys.executable, "-m", "portbench", *arguments],
            cwd=cwd or tmp_path,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **environment},
        )

    return run


def assert_same_motion(port: ModuleType, whole, small) -> None:
    """Boxes that were loaded, and a System of the same, whose arrays are too small and must grow."""
    from particles.boxes import Boxes

    small = Boxes([port.advance(small, 0)])
    for steps in (0, 40):
        port.run(whole, steps)
        port.run(small, steps)
        for name, array in port.state(whole).items():
            assert np.array_equal(array, port.state(small)[name]), name


def assert_nobody_is_out_of_reach(nobody: np.ndarray, box: Sequence[float], reach: float) -> None:
    """Nor so far that his force underflows: with all the lanes of his vector it took a hundred cycles."""
    number = nobody.dtype.type
    for corner in (np.zeros(3), box):
        r2 = np.sum((nobody - np.array(corner, number)) ** 2)
        assert r2 > reach**2
        assert (number(1.7) / r2) ** 7 > np.finfo(number).tiny


def need(bundled: Manifest, name: str) -> None:
    """Skip, with the reason, if this port's toolchain is not here; fail if PORTBENCH_REQUIRE names it."""
    lack = hosts.missing(bundled, bundled.ports[name])
    if not lack and name.startswith("cpp") and sys.platform == "darwin":
        lack = "Apple's c++ has no OpenMP"
    if not lack and name.partition(":")[0] == "cpp-simd" and _gcc_before_12():
        lack = bundled.ports[name].install
    if lack and name.partition(":")[0] in REQUIRED:
        pytest.fail(f"PORTBENCH_REQUIRE names {name}, and {lack}")
    if lack:
        pytest.skip(lack)


def _gcc_before_12() -> bool:
    said = subprocess.run(["c++", "-dM", "-E", "-x", "c++", os.devnull], capture_output=True, text=True).stdout
    macros = dict(line.split(maxsplit=2)[1:] for line in said.splitlines() if len(line.split()) > 2)
    return "__clang__" not in macros and int(macros.get("__GNUC__", 0)) < 12

"""The wheel works by itself: the Julia and Mojo sources are in it, and it compares outside the repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT, need

from portbench.manifest import Manifest


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


def test_it_carries_every_source(wheel: Path, bundled: Manifest) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for expected in (
        "portbench/cli.py",
        "particles/spec.py",
        "particles/portbench.toml",
        "particles/mojo/main.mojo",
        "particles/julia/Project.toml",
        "particles/julia/src/Particles.jl",
    ):
        assert expected in names
    assert not [name for name in names if "Manifest.toml" in name or "__pycache__" in name]


def test_it_compares_outside_the_repository(wheel: Path, bundled: Manifest, tmp_path: Path) -> None:
    """Unpacked where nothing else of ours can be seen; the ports come from it."""
    need(bundled, "mojo")
    site, here = tmp_path / "site", tmp_path / "here"
    here.mkdir()
    zipfile.ZipFile(wheel).extractall(site)
    # -S would hide the dependencies too: our own editable installation is hidden by standing first on the path
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "portbench", "compare", "--ports", "numpy,mojo", "--cases", "tiny"]
    done = subprocess.run(
        [*command, "--budget", "0.1", "--json", "--quiet"], cwd=here, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr + done.stdout
    rows = {row["port"]: row for row in json.loads(done.stdout)["rows"]}
    assert rows["numpy"]["level"] == rows["mojo"]["level"] == "A5"
    assert list((here / "results").glob("*.json"))
    shown = subprocess.run(
        [sys.executable, "-c", "import particles, portbench; print(particles.__file__, portbench.__file__)"],
        cwd=here, capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert str(site) in shown.stdout
    assert str(ROOT) not in shown.stdout

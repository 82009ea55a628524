"""A simulation that has nothing to do with particles, served by the same harness without an edit."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from conftest import WAVE


@pytest.fixture
def project(tmp_path: Path) -> Path:
    if not shutil.which("cc"):
        pytest.skip("no C compiler (cc) is here")
    shutil.copytree(WAVE, tmp_path / "wave")
    return tmp_path / "wave"


@pytest.mark.alone  # another test beside it slows one port more than the other
def test_both_ports_are_certified_and_timed(portbench, project: Path) -> None:
    done = portbench("compare", "--cases", "short,long", "--budget", "0", "--json", "--quiet", cwd=project)
    assert done.returncode == 0, done.stderr
    rows = {(r["case"], r["port"]): r for r in json.loads(done.stdout)["rows"]}
    assert set(rows) == {(case, port) for case in ("short", "long") for port in ("vectorised", "c", "spec")}
    for case in ("short", "long"):
        assert rows[case, "c"]["level"] == rows[case, "vectorised"]["level"] == "A5"
        assert rows[case, "c"]["over_spec"]["low"] > 2
        assert rows[case, "c"]["build"] > 0


def test_a_specification_of_which_one_step_is_asked_is_not_timed(portbench, project: Path) -> None:
    """Ports are then compared with each other, and a sentence says why there is no figure of it."""
    with (project / "portbench.toml").open("a") as manifest:
        manifest.write("\n[check]\nsteps = { default = 100, long = 1 }\n")
    arguments = ("bench", "--cases", "short,long", "--baseline", "vectorised", "--budget", "0", "--json", "--quiet")
    done = portbench(*arguments, cwd=project)
    assert done.returncode == 0, done.stderr
    rows = {(r["case"], r["port"]): r for r in json.loads(done.stdout)["rows"]}
    assert rows["short", "spec"]["time"] and not rows["short", "spec"]["refusal"]
    assert "one step only" in rows["long", "spec"]["refusal"]
    assert rows["long", "spec"]["time"] is rows["long", "c"]["over_spec"] is None
    assert rows["long", "c"]["level"] == "A5"
    assert rows["long", "c"]["over_baseline"]["value"] > 0


def test_a_wrong_port_of_it_dies(portbench, project: Path) -> None:
    """Right for one step at a time; but asked for more, it takes one too many."""
    with (project / "wave_port.py").open("a") as port:
        port.write("\n\nright_run = run\n\n\ndef run(simulation, steps):\n")
        port.write("    right_run(simulation, steps if steps < 2 else steps + 1)\n")
    done = portbench("check", "--json", "--quiet", "--ports", "vectorised", cwd=project)
    certificate = json.loads(done.stdout)["certificates"][0]
    assert done.returncode == 1
    assert certificate["verdicts"][-1]["level"] == "A3"
    guesses = certificate["verdicts"][-1]["evidence"]["microscope"]["guesses"]
    assert "off by one step" in [guess["cause"] for guess in guesses]


def test_two_at_once_build_once(portbench, project: Path, tmp_path: Path) -> None:
    """Neither meets the half of what the other builds."""
    (project / "compile").write_text(f'#!/bin/sh\necho once >> "{tmp_path}/builds"\nsleep 2\nexec cc "$@"\n')
    (project / "compile").chmod(0o755)
    manifest = (project / "portbench.toml").read_text().replace('build = ["cc"', f'build = ["{project}/compile"')
    (project / "portbench.toml").write_text(manifest)
    with ThreadPoolExecutor() as pool:
        check = partial(portbench, "check", "--ports", "c", "--quiet", cwd=project)
        done = [one.result() for one in [pool.submit(check), pool.submit(check)]]
    assert [one.returncode for one in done] == [0, 0], [one.stderr for one in done]
    assert (tmp_path / "builds").read_text().count("once") == 1


def test_the_harness_never_speaks_of_particles() -> None:
    from conftest import ROOT

    for file in (ROOT / "harness").rglob("*.py"):
        code = "\n".join(line for line in file.read_text().splitlines() if not line.strip().startswith("#"))
        assert "import particles" not in code
        assert "from particles" not in code

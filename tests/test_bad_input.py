"""What a person can get wrong: one clear sentence on standard error, exit status 2 (or 1 for a failed check)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from conftest import ROOT

PORT = """
[ports.honest]
host = "python"
module = "honest"
sources = ["honest.py"]
"""
HONEST = """
from particles import spec
def load(p, s): return {"p": p, "s": s}
def run(sim, steps): sim["s"] = spec.advance(sim["p"], sim["s"], steps)
def state(sim): return sim["s"] | spec.observe(sim["p"], sim["s"])
"""


def write(folder: Path, more: str = "", port: str = PORT, spec: str = "particles.spec") -> Path:
    (folder / "honest.py").write_text(HONEST)
    (folder / "portbench.toml").write_text(
        f"""
[project]
name = "mine"
spec = "{spec}"
python-path = [".", "{ROOT / "python"}"]
{port}
{more}
"""
    )
    return folder


def complaint(done) -> str:
    """The one sentence; and no traceback."""
    assert "Traceback" not in done.stderr, done.stderr
    lines = [line for line in done.stderr.strip().splitlines() if line.startswith("portbench: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.parametrize("command", ["check", "compare", "bench"])
def test_unknown_port_or_case(portbench, tmp_path: Path, command: str) -> None:
    write(tmp_path)
    done = portbench(command, "--ports", "honset")
    assert done.returncode == 2
    assert "There is no port 'honset': did you mean 'honest'?" in complaint(done)
    done = portbench(command, "--cases", "liquid-50")
    assert done.returncode == 2
    assert "There is no case 'liquid-50': did you mean 'liquid-500'?" in complaint(done)


def test_missing_manifest(portbench, tmp_path: Path) -> None:
    done = portbench("check", "--manifest", "nowhere.toml")
    assert done.returncode == 2
    assert "no manifest at nowhere.toml" in complaint(done)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[project\n", "not valid TOML"),
        ('[ports.a]\nhost = "python"\n', "project"),
        ('[project]\nname = "x"\nspec = "y"\n[ports.a]\nhost = "fortran"\nsources = ["a"]\n', "ports.a.host"),
        ('[project]\nname = "x"\nspec = "y"\n[ports.a]\nhost = "python"\nsources = ["a"]\n', "needs `module`"),
        ('[project]\nname = "x"\nspec = "y"\n[ports.a]\nhost="python"\nmodule="a"\nsources=["a"]\nspeed=9\n', "speed"),
        ('[project]\nname = "x"\nspec = "y"\nports = 3\n', "ports"),
        ('[project]\nname = "x"\nspec = "y"\n[compare]\nports = ["b"]\n[ports]\n', "There is no port 'b'"),
        ('[project]\nname = "x"\nspec = "y"\n[ports.spec]\nhost = "python"\n', "may not be called 'spec'"),
    ],
)
def test_broken_manifest(portbench, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "portbench.toml").write_text(text)
    done = portbench("check")
    assert done.returncode == 2
    assert words in complaint(done)


def test_specification_that_is_none(portbench, tmp_path: Path) -> None:
    write(tmp_path, spec="nothing_here")
    done = portbench("check")
    assert done.returncode == 2
    assert "cannot be imported" in complaint(done)
    (tmp_path / "half.py").write_text("NAME = 'half'\nSTATE = {}\n")
    write(tmp_path, spec="half")
    done = portbench("check")
    assert done.returncode == 2
    assert "lacks DERIVED, WORK" in complaint(done)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ('base = "liquid-500"\ncutoff = 4.3', "over half the shortest side"),
        ('base = "liquid-500"\nboundary = "torus"', 'must be "periodic" or "walls"'),
        ('base = "liquid-500"\ndensity = nan', "not a finite number"),
        ('base = "liquid-500"\ndensity = -1', "above 0"),
        ('base = "liquid-500"\ncells = [0, 1, 1]', "whole numbers of at least 1"),
        ('base = "liquid-500"\nviscosity = 1', "viscosity"),
        ("cells = [3, 3, 3]", "missing"),
        ('base = "mine"', "built on itself"),
        ('base = "solid"', "There is no case 'solid'"),
    ],
)
def test_impossible_case(portbench, tmp_path: Path, case: str, words: str) -> None:
    write(tmp_path, f"[cases.mine]\n{case}\n")
    done = portbench("check", "--cases", "mine")
    assert done.returncode == 2
    assert words in complaint(done)


def test_a_case_of_ones_own(portbench, tmp_path: Path) -> None:
    """The tests above fail for the reason that they name: a sensible case works."""
    write(tmp_path, '[check]\nsteps = {default = 5}\n[cases.mine]\nbase = "tiny"\ntemperature = 1.0\n')
    done = portbench("check", "--cases", "mine", "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["certificates"][0]["level"] == "A5"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("state['position'][0, 1] = state['position'][0, 0]", "at the same point"),
        ("state['velocity'][0, 3, 2] = float('nan')", "velocity of particle 3 in box 0 is not a finite number"),
        ("state['position'][0, 0, 0] = -1", "outside the box"),
        ("state['position'] = state['position'][:, 1:]", "has shape (1, 63, 3)"),
    ],
)
def test_impossible_state(portbench, tmp_path: Path, change: str, words: str) -> None:
    """A specification whose initial state is not legal."""
    (tmp_path / "bad.py").write_text(
        f"from particles.spec import *\nfrom particles import spec\n"
        f"def disordered_state(p):\n    state = spec.disordered_state(p)\n    {change}\n    return state\n"
    )
    write(tmp_path, spec="bad")
    done = portbench("check", "--cases", "tiny")
    assert done.returncode == 2
    assert words in complaint(done)


def test_missing_program_and_compiler(portbench, tmp_path: Path) -> None:
    """Named ports that are missing fail the run; unnamed ones are a line and no more."""
    (tmp_path / "x.c").write_text("int main(void) { return 0; }\n")
    more = """
[ports.gone]
host = "executable"
run = ["./no-such-program"]
sources = ["x.c"]
[ports.compilerless]
host = "executable"
build = ["no-such-compiler", "x.c", "-o", "{output}"]
run = ["{output}"]
sources = ["x.c"]
install = "apt-get install no-such-compiler"
[ports.packageless]
host = "python"
module = "honest"
requires = ["no_such_package"]
sources = ["honest.py"]
[check]
steps = {default = 2}
"""
    write(tmp_path, more)
    done = portbench("check", "--cases", "tiny", "--json", "--quiet")
    said = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert said["missing"]["gone"] == "the program ./no-such-program is not on the PATH"
    assert "compiler no-such-compiler is not on the PATH: apt-get install" in said["missing"]["compilerless"]
    assert "Python package no_such_package is not installed" in said["missing"]["packageless"]
    assert portbench("check", "--cases", "tiny", "--ports", "honest,gone").returncode == 1
    assert portbench("check", "--cases", "tiny", PORTBENCH_REQUIRE="compilerless").returncode == 1
    shown = portbench("doctor")
    assert shown.returncode == 0
    assert "no-such-compiler" in shown.stdout


def test_build_that_fails(portbench, tmp_path: Path) -> None:
    (tmp_path / "x.c").write_text("int main(void) { return zero; }\n")
    more = '[ports.broken]\nhost="executable"\nbuild=["cc","x.c","-o","{output}"]\nrun=["{output}"]\nsources=["x.c"]\n'
    write(tmp_path, more)
    done = portbench("check", "--cases", "tiny", "--ports", "broken", "--json", "--quiet")
    assert done.returncode == 1
    assert "zero" in json.loads(done.stdout)["missing"]["broken"]


def test_a_port_whose_module_is_broken(portbench, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "honest.py").write_text("import no_such_thing\n")
    done = portbench("check", "--cases", "tiny", "--json", "--quiet")
    assert done.returncode == 1
    assert "No module named 'no_such_thing'" in json.loads(done.stdout)["certificates"][0]["finding"]


def test_threads_and_results_that_cannot_be(portbench, tmp_path: Path) -> None:
    write(tmp_path)
    for threads, words in (("two", "whole numbers"), ("0", "at least 1")):
        done = portbench("check", "--threads", threads)
        assert done.returncode == 2
        assert words in complaint(done)
    (tmp_path / "file").write_text("")
    done = portbench("bench", "--cases", "tiny", "--results", "file")
    assert done.returncode == 2
    assert "No session can be written" in complaint(done)
    done = portbench("report", "file")
    assert done.returncode == 2
    assert "cannot be read as a session" in complaint(done)


def test_the_environment_is_left_alone(tmp_path: Path) -> None:
    """Hosting a port changes its environment, not ours."""
    from portbench import hosts, manifest

    write(tmp_path)
    mine = manifest.read(tmp_path / "portbench.toml")
    before = dict(os.environ)
    assert hosts.prepare(mine, mine.ports["honest"]).environment(2)["PORTBENCH_THREADS"] == "2"
    assert dict(os.environ) == before

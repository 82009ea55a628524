"""A precision class of a port's own: what rounds to a fixed number of places is judged by twins that are as far off."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from test_histories import project

PLACES = "rounds to forty binary places"
OWN = "{ epsilon = 1e-11 }"


def judged(portbench: Callable, folder: Path, fault: str, precision: str) -> dict:
    """The certificate of a port with this fault as one of this class."""
    project(folder, fault)
    manifest = folder / "portbench.toml"
    manifest.write_text(manifest.read_text().replace("threads = false", f"threads = false\nprecision = {precision}"))
    done = portbench("check", "--cases", "short", "--json", "--quiet", cwd=folder)
    assert done.stdout, done.stderr
    (certificate,) = json.loads(done.stdout)["certificates"]
    assert done.returncode == (0 if certificate["holds"] else 1)
    return certificate


def test_fixed_point_is_right_in_a_class_of_its_own_alone(portbench: Callable, tmp_path: Path) -> None:
    right = judged(portbench, tmp_path, PLACES, OWN)
    assert right["holds"], right["finding"]
    assert right["precision"] == "epsilon 1e-11"
    timed = portbench("bench", "--cases", "short", "--budget", "0", "--json", "--quiet", cwd=tmp_path)
    assert timed.returncode == 0, timed.stderr
    session = tmp_path / json.loads(timed.stdout)["session"]
    assert " (epsilon 1e-11) |" in portbench("report", str(session), "--markdown", cwd=tmp_path).stdout
    manifest = tmp_path / "portbench.toml"
    manifest.write_text(manifest.read_text().replace(OWN, '"float64"'))
    timed = portbench("bench", "--cases", "short", "--budget", "0", "--json", "--quiet", cwd=tmp_path)
    assert timed.returncode == 1, "the certificate is of the other class"
    refused = next(row for row in json.loads(timed.stdout)["rows"] if row["port"] != "spec")
    assert "times the tolerance" in refused["refusal"]


def test_a_class_of_its_own_hides_no_fault_that_is_larger(portbench: Callable, tmp_path: Path) -> None:
    wrong = judged(portbench, tmp_path, "has a spring that is a little off", OWN)
    assert not wrong["holds"]
    assert "times the tolerance" in wrong["finding"]


@pytest.mark.parametrize("precision", ['"float16"', "{ epsilon = 0.5 }", "{ epsilon = 1e-17 }", "{ eps = 1e-9 }", "8"])
def test_what_is_no_class_is_refused(precision: str, portbench: Callable, tmp_path: Path) -> None:
    project(tmp_path, "")
    manifest = tmp_path / "portbench.toml"
    manifest.write_text(manifest.read_text().replace("threads = false", f"precision = {precision}"))
    done = portbench("check", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "precision" in done.stderr and "{ epsilon = 1e-12 }" in done.stderr

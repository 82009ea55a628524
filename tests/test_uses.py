"""A certificate is of all that runs: helpers, files and packages that the manifest's `sources` do not name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from test_bad_input import HONEST, write

from portbench import contract, hosts, manifest
from portbench.contract import Specification
from portbench.hosts import Ready, uses
from portbench.protocol import Exchange

PORT = (
    "import helper\n"
    + HONEST.replace(
        "def load(p, s): ",
        'def load(p, s):\n    import lazy\n    open("table.txt").read(); open("log.txt", "w").close()\n    ',
    )
)  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write(tmp_path)
    for name, text in (("honest.py", PORT), ("helper.py", ""), ("lazy.py", ""), ("table.txt", "1"), ("other.py", "")):
        (tmp_path / name).write_text(text)
    return tmp_path


def prepared(project: Path) -> tuple[Ready, Specification]:
    found = manifest.read(project / "portbench.toml")
    return hosts.prepare(found, found.ports["honest"]), contract.load(found)


def test_what_a_port_uses_belongs_to_its_certificate(project: Path) -> None:
    ready, specification = prepared(project)
    assert [path.name for path in ready.uses.imported] == ["helper.py"]  # and the specification's have their own hash
    case = specification.cases(["tiny"], {})[0]
    with Exchange(hosts.start(ready, 1, 60, witness=True), specification) as x:
        x.load(case.parameters, specification.initial_state(case.parameters))
    proved = ready.identity()
    read = [Path(name).name for name, _ in json.loads(proved["files that it reads"])]
    assert read == ["lazy.py", "table.txt"]
    assert "numpy " in proved["packages"] and "portbench" not in proved["packages"]

    def changed() -> list[str]:
        now = prepared(project)[0].identity(proved)
        return [name for name in now if now[name] != proved[name]]

    (project / "other.py").write_text("x = 1")
    assert changed() == []
    (project / "lazy.py").write_text("x = 1")
    assert changed() == ["files that it reads"]
    (project / "lazy.py").write_text("")
    (project / "table.txt").unlink()
    assert changed() == ["files that it reads"]
    (project / "table.txt").write_text("1")
    (project / "helper.py").write_text("import other")
    assert changed() == ["sources"]
    assert [path.name for path in prepared(project)[0].uses.imported] == ["helper.py", "other.py"]


def test_another_version_of_a_package_makes_a_certificate_stale(project: Path) -> None:
    ready, _ = prepared(project)
    before = ready.identity()
    assert ready.identity(before) == before
    other = before | {"packages": before["packages"].replace("numpy ", "numpy 1.")}
    assert ready.identity(other)["packages"] != other["packages"]
    gone = before | {"packages": "no-such-package 1.0"}
    assert ready.identity(gone)["packages"] == "no-such-package gone"


def test_a_file_that_changed_is_checked_again(portbench, project: Path) -> None:
    """And a certificate of the same files stands in the next process."""
    more = "[check]\nsteps = {default = 2}\nlong = {default = 0}\n[compare]\nsample = 0.02\ncases = ['tiny']\n"
    (project / "portbench.toml").write_text((project / "portbench.toml").read_text() + more)
    assert portbench("check", "--quiet").returncode == 0
    again = portbench("bench", "--budget", "0.1", "--json")
    assert again.returncode == 0 and "stale" not in again.stderr
    document = json.loads((project / json.loads(again.stdout)["session"]).read_text())
    assert document["ports"][1]["imported"] == ["helper.py"]
    (project / "table.txt").write_text("2")
    stale = portbench("bench", "--budget", "0.1")
    assert "its certificate on tiny is stale: the files that it reads changed; it is checked again" in stale.stderr


def test_what_the_bundled_ports_import_is_among_their_sources() -> None:
    bundled = manifest.read(ROOT / "portbench.toml")
    imported = hosts.prepare(bundled, bundled.ports["numpy"]).uses.imported
    assert [path.name for path in imported] == []


def test_an_import_that_was_interrupted_is_made_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By Ctrl-C, after the port's worker has said what it imported; and no file of a process that ended stays."""
    import_it = uses._imported

    def interrupted(*arguments: Any) -> None:
        import_it(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setenv("PORTBENCH_CACHE", str(project / "cache"))
    monkeypatch.setattr(uses, "_imported", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepared(project)
    assert not list((project / "cache" / "uses").glob("*"))
    monkeypatch.setattr(uses, "_imported", import_it)
    assert [path.name for path in prepared(project)[0].uses.imported] == ["helper.py"]
    (record,) = (project / "cache" / "uses").glob("*.json")
    record.write_text(json.dumps({"files": [], "packages": []}))  # as an earlier portbench left it
    assert [path.name for path in prepared(project)[0].uses.imported] == ["helper.py"]

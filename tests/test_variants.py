"""Variants of a port: what each freedom buys, by its absence; and speed-ups over the port that a person names."""

from __future__ import annotations

import json
from pathlib import Path

from test_misbehaviour import project, wave_on_the_path  # noqa: F401 (a fixture)

from portbench import hosts, manifest, session

VARIANTS = """
[ports.right.variants.slow]
summary = "the same, in a slow way"
environment = { SLOWLY = "yes" }
[ports.right.variants.wrong]
precision = "float32"
"""


def with_variants(folder: Path) -> Path:
    path = project(folder, "") / "portbench.toml"
    path.write_text(path.read_text() + VARIANTS)
    return path


def test_a_variant_is_its_port_but_for_its_keys(tmp_path: Path) -> None:
    found = manifest.read(with_variants(tmp_path))
    right, slow, wrong = (found.ports[name] for name in ("right", "right:slow", "right:wrong"))
    assert slow == right.model_copy(
        update={"name": "right:slow", "variant_of": "right", "summary": slow.summary, "environment": {"SLOWLY": "yes"}}
    )
    assert (wrong.precision, wrong.run) == ("float32", right.run)
    assert found.with_variants([]) == ["right", "right:slow", "right:wrong"]
    assert [port.name for port in found.choose_ports([])] == ["right"]  # unless they are asked for


def test_its_environment_reaches_it(tmp_path: Path) -> None:
    found = manifest.read(with_variants(tmp_path))
    said = {}
    for name in ("right", "right:slow"):
        with hosts.start(hosts.prepare(found, found.ports[name]), 1, 60) as port:
            said[name] = port.hello()["device"]
    assert said == {"right": "cpu", "right:slow": "yes"}


def test_they_are_checked_and_timed_beside_their_port(portbench, tmp_path: Path) -> None:
    """One that is wrong is refused like any port; speed-ups are over the port itself."""
    with_variants(tmp_path)
    done = portbench("bench", "right", "--variants", "--budget", "0", "--json", "--quiet")
    said = json.loads(done.stdout)
    rows = {row["port"]: row for row in said["rows"]}
    assert done.returncode == 1
    assert set(rows) >= {"right", "right:slow", "right:wrong"}
    assert "declares float32 and the port says float64" in rows["right:wrong"]["refusal"]
    assert not rows["right:slow"]["refusal"]
    assert rows["right:slow"]["level"] == "A5"
    document = session.read(tmp_path / said["session"])
    assert document["baseline"] == "right"
    assert rows["right:slow"]["over_baseline"]["low"] <= 1.3
    one = portbench("check", "right:slow", "--quiet", "--json")
    assert [c["port"] for c in json.loads(one.stdout)["certificates"]] == ["right:slow"]


def test_what_is_wrong_is_said(portbench, tmp_path: Path) -> None:
    path = with_variants(tmp_path)
    for arguments, words in (
        (["bench", "right", "--baseline", "left"], "There is no port 'left'"),
        (["bench", "right:slow", "--variants"], "right:slow has no variants"),
        (["bench", "right", "--baseline", "right:slow"], "right:slow is not among the ports that are timed"),
    ):
        done = portbench(*arguments, "--quiet")
        assert done.returncode == 2
        assert words in done.stderr
    path.write_text((project(tmp_path, "") / "portbench.toml").read_text() + '[ports.right.variants]\nhasty = "yes"\n')
    done = portbench("check", "--quiet")
    assert done.returncode == 2
    assert "variants must hold tables" in done.stderr

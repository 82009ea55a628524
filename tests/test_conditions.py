"""What the machine did to a session: quotas, slow cores, idle threads, heat; and what is said of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from portbench import session
from portbench.report.remarks import remarks
from portbench.report.summary import rows
from portbench.report.table import cells, markdown
from portbench.timing import conditions
from portbench.timing.conditions import Watch


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


@pytest.fixture
def laptop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two fast cores of two threads each, processors 0 to 3, and four slow ones, 4 to 7."""
    for n in range(8):
        fast = n < 4
        put(tmp_path / f"cpu{n}/topology/physical_package_id", "0")
        put(tmp_path / f"cpu{n}/topology/core_id", str(n // 2 if fast else n))
        put(tmp_path / f"cpu{n}/cpufreq/cpuinfo_max_freq", "4800000" if fast else "3600000")
    monkeypatch.setattr(conditions, "_CPU", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    return tmp_path


def test_fast_cores_are_taken_first(laptop: Path) -> None:
    assert conditions.processors(1) == [3]
    assert conditions.processors(2) == [1, 3]
    assert conditions.processors(3) == [1, 3, 7]
    assert conditions.speeds([3, 7]) == {3: 1.0, 7: 0.75}
    put(laptop / "cpu0/cpu_capacity", "100")  # of one processor alone it tells nothing
    assert conditions.processors(1) == [3]


def document(**changes: Any) -> dict[str, Any]:
    """The published session, with these fields in its samples' records."""
    made = session.read(ROOT / "results" / "readme.json")
    made["samples"] = [{**s, **changes} for s in made["samples"]]
    return made


def test_the_kind_of_core_is_said(laptop: Path) -> None:
    """Where only slow ones are given, where both are, and where there are fewer than threads."""
    for threads, given, words in (
        (1, [7], "On 1 thread ports ran on efficiency cores only: processor 7 has 75% of the fastest core's speed"),
        (2, [3, 7], "On 2 threads ports ran on cores of unlike speed: processor 7"),
        (4, [1, 3], "On 4 threads ports ran on 2 processors, which is fewer than threads"),
        (2, [1, 3], ""),
    ):
        speeds = list(conditions.speeds(given).values())
        made = document()
        made["conditions"] = [{"round": 0, "processors": [{"threads": threads, "given": given, "speeds": speeds}]}]
        said = [r for r in conditions.remarks(made) if "ports ran on" in r]
        assert [words in r for r in said] == [True] * bool(words)
    (told,) = conditions.of_the_machine([1])["processors"]
    assert told == {"threads": 1, "given": [3], "speeds": [1.0]}


@pytest.mark.parametrize(
    ("cgroup", "folders"),
    [
        ("4:cpu,cpuacct:/pod/box", ["cpu,cpuacct/pod/box", "cpu,cpuacct/pod", "cpu,cpuacct"]),
        ("1:cpu:/not/mounted/here", ["cpu"]),
        ("0::/slice/box", ["slice/box", "slice"]),
        ("0::/\n2:memory:/box", [""]),
        ("2:memory:/box", []),
    ],
)
def test_the_control_groups_of_a_process_are_found(cgroup: str, folders: list[str], tmp_path: Path) -> None:
    for folder in folders:
        put(tmp_path / folder / "cpu.stat", "nr_throttled 1")
    assert conditions.control_groups(cgroup, tmp_path) == [tmp_path / folder for folder in folders]


def test_throttling_is_read_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In version 1 and in version 2."""
    monkeypatch.setattr(conditions, "_groups", lambda: [tmp_path])
    put(tmp_path / "cpu.stat", "nr_periods 9\nnr_throttled 0\nthrottled_time 1000000000")
    before = Watch.now([])
    put(tmp_path / "cpu.stat", "nr_periods 19\nnr_throttled 5\nthrottled_time 1250000000")
    assert before.until(Watch.now([]), 0.5)["throttled"] == pytest.approx(0.5)
    put(tmp_path / "cpu.stat", "usage_usec 1\nnr_throttled 5\nthrottled_usec 250000")
    assert conditions.throttled() == 0.25
    assert conditions.quota() is None
    put(tmp_path / "cpu.max", "max 100000")
    assert conditions.quota() is None
    put(tmp_path / "cpu.max", "50000 100000")
    assert conditions.quota() == 0.5
    made = document(throttled=0.5)
    made["conditions"] = [{"round": 0, "quota": 0.5}]
    assert (
        "the CPU quota of 0.5 processors of this container (its cgroup) throttled 0.50 processors" in remarks(made)[0]
    )


def test_a_ratio_of_which_one_port_was_throttled_is_undecided() -> None:
    made = document()
    for s in made["samples"]:
        s["throttled"] = 0.4 if s["port"] == "numba" else 0.0
    for row in rows(made):
        assert row.unlike == {"numba": ["numpy", "spec"], "numpy": [], "spec": []}.get(row.port, [])
        if row.port == "numba":
            assert cells(row, made)[3:5] == ["undecided", "undecided"]
            assert row.over_spec and row.over_spec.high == float("inf")
    assert "numba over spec on liquid-500 is undecided: a CPU quota stopped one of them" in markdown(made)
    alike = document(throttled=0.4)
    assert not any(row.unlike for row in rows(alike))


def test_idle_threads_are_said() -> None:
    """Of a port that says that it uses them; not where others had the processors."""
    for used, others, said in ((1.0, 0.0, True), (1.9, 0.0, False), (1.0, 1.0, False)):
        made = document(cpu=used, threads=2, others=others)
        made["conditions"] = [{"round": 0, "processors": [{"threads": 2, "given": [0, 1], "speeds": []}]}]
        found = [r for r in conditions.remarks(made) if "OMP_THREAD_LIMIT" in r]
        assert bool(found) == said
        ports = {p["name"] for p in made["ports"] if p["uses_threads"]}
        assert {r.split(" on ")[0] for r in found} == (ports & {s["port"] for s in made["samples"]} if said else set())


def test_frequency_heat_and_governor_are_said() -> None:
    made = document()
    for s in made["samples"]:
        s["megahertz"] = 4800.0 if s["round"] == 0 else 3000.0
    made["samples"][0]["overheated"] = 2.0
    made["conditions"] = [{"round": 0, "governor": "powersave", "driver": "acpi-cpufreq"}]
    said = " ".join(conditions.remarks(made))
    assert "frequency fell from 4,800 MHz in the first round to 3,000 MHz" in said
    assert "too hot in 1 of" in said
    assert "governor was powersave" in said
    made = document(megahertz=4000.0)
    made["conditions"] = [{"round": 0, "governor": "powersave", "driver": "intel_pstate"}]
    assert conditions.remarks(json.loads(json.dumps(made))) == conditions.remarks(document())

"""Nothing is lost and nobody is left behind: sessions that are killed, interrupted, or run to the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from statistics import median

import psutil
import pytest
from conftest import ROOT
from rich.console import Console
from test_bad_input import write

import portbench as package
from portbench import hosts, session
from portbench.errors import Refusal
from portbench.report import summary, table


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    write(folder, "[check]\nsteps = {default = 2}\n[compare]\nbaseline = 'honest'\nsample = 0.03\n")
    command = [sys.executable, "-m", "portbench", "bench", "--cases", "tiny", "--budget", "60", "--quiet", *arguments]
    return subprocess.Popen(
        command, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=heed_signals
    )


def heed_signals() -> None:
    """In the child: a shell's background job starts with SIGINT ignored, and what runs under nohup with SIGHUP."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def wait_for_samples(folder: Path, count: int) -> Path:
    for _ in range(600):
        for journal in (folder / "results").glob("*.jsonl"):
            if journal.read_text().count('"kind": "sample"') >= count:
                return journal
        time.sleep(0.1)
    pytest.fail("no samples after a minute")


def gone(processes: list[psutil.Process]) -> bool:
    """None of them runs any more; one whose new parent has not yet asked how it ended is gone too."""
    return all(p.status() == psutil.STATUS_ZOMBIE for p in psutil.wait_procs(processes, timeout=10)[1])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a port whose harness was killed in mid-command")
def test_a_killed_harness_loses_nothing_and_leaves_nobody(tmp_path: Path) -> None:
    harness = start(tmp_path)
    journal = wait_for_samples(tmp_path, 3)
    children = psutil.Process(harness.pid).children(recursive=True)
    assert children
    harness.kill()
    harness.wait()
    assert gone(children)
    frame = package.load_results(journal)
    assert len(frame) >= 3
    assert set(frame["port"]) == {"honest", "honest again", "spec"}


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_ctrl_c_and_a_polite_kill_end_in_good_order(number: int, status: int, tmp_path: Path) -> None:
    harness = start(tmp_path)
    wait_for_samples(tmp_path, 1)
    children = psutil.Process(harness.pid).children(recursive=True)
    harness.send_signal(number)
    _, said = harness.communicate(timeout=20)
    assert harness.returncode == status
    assert gone(children)
    assert "every finished sample is in" in said
    assert ("interrupted" in said) == (number == signal.SIGINT)
    assert "Traceback" not in said


@pytest.mark.parametrize("seconds", [0.3, 1.5, 4.0])
def test_ctrl_c_leaves_nothing_that_the_next_command_meets(seconds: float, portbench, tmp_path: Path) -> None:
    """While the command is imported, while ports are made ready, while the specification's processes start: as from a
    terminal, which tells all of them.
    """
    cache = {"PORTBENCH_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "portbench", "check", "--ports", "numpy,cpp", "--cases", "tiny"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **cache},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=heed_signals,
    ) as check:
        time.sleep(seconds)
        os.killpg(check.pid, signal.SIGINT)
        said, _ = check.communicate(timeout=60)
    # python -m ends by the signal itself where the interrupt came inside an exec, as of a dataclass: a shell's 130 too.
    assert check.returncode in (130, -signal.SIGINT), said
    assert said.splitlines()[-1] == "portbench: interrupted"
    assert "Traceback" not in said
    assert portbench("doctor", cwd=ROOT, **cache).returncode == 0


def test_json_is_one_document_and_the_session_holds_it_all(portbench, tmp_path: Path) -> None:
    write(tmp_path, "[check]\nsteps = {default = 2}\n[compare]\nbaseline = 'honest'\nsample = 0.03\n")
    done = portbench("compare", "--cases", "tiny", "--budget", "0", "--json", "--quiet", "--threads", "1,2")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["schema"] == "portbench-output/1"
    assert said["ok"] is True
    rows = {(r["port"], r["threads"]): r for r in said["rows"]}
    assert set(rows) == {("honest", 1), ("honest", 2), ("spec", 1), ("spec", 2)}
    row = rows["honest", 1]
    assert row["level"] == "A5"
    assert row["time"]["low"] <= row["time"]["value"] <= row["time"]["high"]
    assert 0.5 < row["over_spec"]["value"] < 2  # it is the specification
    assert row["memory"] > 1e7
    assert row["start"] > 0.05
    document = session.read(tmp_path / said["session"])
    assert not list((tmp_path / "results").glob("*.jsonl"))
    assert document["machine"]["processor"]
    assert document["certificates"][0]["holds"]
    frame = package.load_results(tmp_path / "results")
    assert len(frame) == len(document["samples"])
    assert set(frame.columns) >= {"port", "case", "threads", "round", "ns_per_unit", "level", "certified"}
    assert frame[frame.port == "honest"]["certified"].all()
    per_unit = frame["nanoseconds"] / frame["steps"] / 64
    assert (abs(frame["ns_per_unit"] / per_unit - 1) < 1e-12).all()
    shown = portbench("report", said["session"])
    assert "tiny: 64 particles, 1 thread" in shown.stdout
    assert "| honest | A5/2 |" in portbench("report", said["session"], "--markdown").stdout


def test_bench_trusts_only_a_certificate_that_fits(portbench, tmp_path: Path) -> None:
    """After an edit of the port's source its old certificate does not count, and a line says why."""
    write(tmp_path, "[check]\nsteps = {default = 2}\n[compare]\nsample = 0.03\n")
    cache = {"PORTBENCH_CACHE": str(tmp_path / "cache")}
    arguments = ("bench", "--cases", "tiny", "--budget", "0.1", "--json")
    assert "rounding twins" in portbench(*arguments, **cache).stderr
    (kept,) = (tmp_path / "cache" / "certificates").rglob("*.json")
    made = kept.stat().st_mtime_ns
    assert "stale" not in portbench(*arguments, **cache).stderr
    assert kept.stat().st_mtime_ns == made  # it was believed, and not proved again
    text = (tmp_path / "honest.py").read_text()
    (tmp_path / "honest.py").write_text(text.replace('sim["p"], sim["s"], steps', 'sim["p"], sim["s"], 2 * steps'))
    done = portbench(*arguments, **cache)
    row = next(r for r in json.loads(done.stdout)["rows"] if r["port"] == "honest")
    assert done.returncode == 1
    assert row["time"] is None
    assert row["refusal"].startswith("A3: ")
    assert "honest: its certificate on tiny is stale: the sources changed; it is checked again" in done.stderr
    assert not kept.exists()  # a failure is not remembered: the next time may show another


def test_a_report_believes_no_certificate_of_other_sources() -> None:
    """Nor, for two threads, one that was made with one thread."""
    document = session.read(ROOT / "results" / "readme.json")
    assert all(row.time for row in summary.rows(document))
    for port in document["ports"]:
        port["sources_hash"] = "another"
    rows = [row for row in summary.rows(document) if row.port != "spec"]
    assert not any(row.time for row in rows)
    assert {row.refusal for row in rows} == {"its certificate is stale: it is of other sources than those that ran"}
    assert session.certificate(document, "numpy", "melt-4k", 2)
    assert not session.certificate(document, "mojo", "melt-4k", 2)


def test_a_file_that_is_no_session(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"schema": "other"}')
    with pytest.raises(Refusal, match="no session of schema"):
        package.load_results(tmp_path / "x.json")
    with pytest.raises(Refusal, match="There is no session in"):
        package.load_results(tmp_path / "empty")
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_the_readme_quotes_its_session() -> None:
    """Each figure in the README's table comes from the committed session file."""
    document = session.read(ROOT / "results" / "readme.json")
    assert table.markdown(document).strip() in (ROOT / "README.md").read_text()
    assert all(c["holds"] for c in document["certificates"])


@pytest.mark.parametrize("name", ["tuned", "variants", "avx2", "threads", "walls", "ensemble"])
def test_the_page_on_performance_quotes_its_sessions(name: str) -> None:
    document = session.read(ROOT / "results" / f"{name}.json")
    assert table.markdown(document).strip() in (ROOT / "docs" / "performance.md").read_text()


def test_the_page_on_performance_quotes_the_busy_program() -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    rows = json.loads((ROOT / "results" / "contention.json").read_text())["rows"]
    assert {row["port"] for row in rows} >= {"cpp-simd", "mojo-simd", "julia-simd", "numba-simd"}
    for row in rows:
        two, busy = (
            f"{e['value']:.2f} ({e['low']:.2f} to {e['high']:.2f})"
            for e in (row["two_over_one"], row["two_while_busy_over_one_alone"])
        )
        assert f"| {row['port']} | {two} | {busy} |" in page


def test_the_page_on_performance_quotes_sizes_and_cycles() -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    session = json.loads((ROOT / "results" / "sizes.json").read_text())
    assert f"over {session['steps']} steps" in page
    rows = session["rows"]
    sizes = sorted({row["particles"] for row in rows})
    assert (sizes[0], sizes[-1]) == (108, 1_000_000)
    for port in {row["port"] for row in rows}:
        mine = [row for row in rows if row["port"] == port]
        assert max(row.get("worst", 0) for row in mine) < 1
        medians = [median(row["nanoseconds"] for row in mine if row["particles"] == n) for n in sizes]
        most = max(row["bytes"] for row in mine if row["particles"] == sizes[-1])
        assert most < 1500
        assert f"| {port} | {' | '.join(f'{m:.0f}' for m in medians)} | {most:,.0f} |" in page
    for row in json.loads((ROOT / "results" / "cycles.json").read_text())["rows"]:
        assert f"| {row['liquid']['cycles']:.1f} | {row['long_lists']['cycles']:.1f} |" in page


def test_lines_of_code_are_counted_without_what_is_said_about_them(tmp_path: Path) -> None:
    texts = {
        "a.py": '"""Doc."""\n\n# comment\ndef f():\n    """More\n    of it."""\n    return 1  # why\n',
        "b.jl": '"Doc."\nf(x) =\n    x^2\n#= a\nblock =#\n',
        "c.hpp": "// comment\n#pragma once\nint f() { return 1; } // why\n/* a\nblock */\n",
        "d.mojo": '"""Doc."""\ndef f() -> Int:\n    # comment\n    return 1\n',
        "e.unknown": "nobody knows\n",
        "Project.toml": "name = 1\n",
    }
    counts = {}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        counts[name] = hosts.code_lines([tmp_path / name])
    assert counts == {"a.py": 2, "b.jl": 2, "c.hpp": 2, "d.mojo": 2, "e.unknown": 0, "Project.toml": 0}
    assert hosts.code_lines(sorted(tmp_path.iterdir())) == 8


def test_no_figure_is_cut_off_on_a_narrow_terminal() -> None:
    """Nor where ports have long names."""
    document = session.read(ROOT / "results" / "readme.json")
    for name in ("mojo", "mojo-simd:unsorted"):
        renamed = json.loads(json.dumps(document).replace('"mojo"', f'"{name}"'))
        console = Console(width=80, file=StringIO(), force_terminal=False)
        table.print_tables(renamed, console)
        assert isinstance(console.file, StringIO)
        shown = console.file.getvalue()
        assert "…" not in shown
        assert max(len(line) for line in shown.split("note")[0].splitlines()) <= 80

"""Other tools read what `portbench export` writes, and find the session's own figures in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from test_bad_input import complaint

from portbench import load_results, session
from portbench.errors import Refusal
from portbench.report import summary
from portbench.report.export import FORMATS, export

SESSION = ROOT / "results" / "readme.json"


def tool(*arguments: str | Path) -> str:
    done = subprocess.run([sys.executable, "-m", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def changed(folder: Path, **fields: object) -> Path:
    """The README's session with some fields replaced."""
    path = folder / "changed.json"
    path.write_text(json.dumps(session.read(SESSION) | fields))
    return path


def seconds_per_step(port: str, case: str) -> pd.DataFrame:
    frame = load_results(SESSION)
    return frame[(frame["port"] == port) & (frame["case"] == case)].assign(seconds=lambda f: f["ns_per_step"] / 1e9)


def test_pytest_benchmark_reads_it(tmp_path: Path) -> None:
    assert export(SESSION, "pytest-benchmark", tmp_path / "out.json") == []
    shown = tool(
        "pytest_benchmark", "compare", tmp_path / "out.json", "--csv", tmp_path / "out.csv", "--columns=median"
    )
    assert "benchmark 'liquid-500, 1 thread': 5 tests" in shown
    assert shown.count("mojo[melt-4k-1]") == 1
    table = pd.read_csv(tmp_path / "out.csv").set_index("name")["median"]
    assert table["portbench::julia[walls-500-1]"] == seconds_per_step("julia", "walls-500")["seconds"].median()
    grouped = tool("pytest_benchmark", "compare", tmp_path / "out.json", "--group-by=param:case")
    assert "benchmark 'case=melt-4k': 5 tests" in grouped


def test_it_has_the_keys_that_pytest_benchmark_writes_itself(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(benchmark): benchmark(lambda: None)\n")
    real, ours = tmp_path / "real.json", tmp_path / "ours.json"
    tool("pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", tmp_path, f"--benchmark-json={real}")
    export(SESSION, "pytest-benchmark", ours)
    theirs, mine = (json.loads(path.read_text()) for path in (real, ours))
    assert mine.keys() == theirs.keys()
    for part in ("machine_info", "commit_info"):
        assert mine[part].keys() == theirs[part].keys()
    (one,) = theirs["benchmarks"]
    for benchmark in mine["benchmarks"]:
        assert benchmark.keys() == one.keys()
        assert benchmark["stats"].keys() == one["stats"].keys()
        assert len(benchmark["stats"]["data"]) == len(benchmark["extra_info"]["round"]) == benchmark["stats"]["rounds"]


def test_pyperf_reads_it_with_a_run_for_each_round(tmp_path: Path) -> None:
    import pyperf

    assert export(SESSION, "pyperf", tmp_path / "out.json") == []
    suite = pyperf.BenchmarkSuite.load(str(tmp_path / "out.json"))
    assert len(suite) == len(summary.rows(session.read(SESSION)))
    numba = suite.get_benchmark("numba[melt-4k-1]")
    rounds = seconds_per_step("numba", "melt-4k").groupby("round")["seconds"]
    assert [run.values for run in numba.get_runs()] == [tuple(values) for _, values in rounds]
    (toolchain,) = (p["toolchain"] for p in session.read(SESSION)["ports"] if p["name"] == "numba")
    assert numba.get_metadata()["toolchain"] == toolchain
    assert f"Number of run with values: {len(rounds)}" in tool("pyperf", "stats", tmp_path / "out.json")
    assert "numpy[liquid-500-1]" in tool("pyperf", "compare_to", tmp_path / "out.json", tmp_path / "out.json")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables_hold_every_sample(kind: str, tmp_path: Path) -> None:
    assert export(SESSION, kind, tmp_path / "out") == []
    read = pd.read_csv(tmp_path / "out", keep_default_na=False) if kind == "csv" else pd.read_parquet(tmp_path / "out")
    want = load_results(SESSION)
    assert list(read.columns) == list(want.columns)
    for name in want.columns:
        assert np.array_equal(read[name].to_numpy(), want[name].to_numpy()), name


def test_what_has_no_figure_goes_into_no_other_tool_either(portbench, tmp_path: Path) -> None:
    """A port whose certificate is of other sources: its samples are kept, where `certified` says what they are."""
    ports = session.read(SESSION)["ports"]
    next(p for p in ports if p["name"] == "mojo")["sources_hash"] = "another"
    path = changed(tmp_path, ports=ports)
    done = portbench("export", str(path), "--format", "pyperf", "--output", "out.json")
    assert done.returncode == 0
    assert "left out: mojo: its certificate is stale" in done.stderr
    assert "mojo[" not in (tmp_path / "out.json").read_text()
    assert export(path, "csv", tmp_path / "out.csv") == []
    assert "mojo" in set(pd.read_csv(tmp_path / "out.csv")["port"])


def test_a_journal_is_exported(tmp_path: Path) -> None:
    document = session.read(SESSION)
    header = {name: value for name, value in document.items() if name not in session.KINDS.values()}
    records = [{"kind": "header", **header}]
    records += [{"kind": kind, **r} for kind, name in session.KINDS.items() for r in document[name]]
    journal = tmp_path / "x.jsonl"
    journal.write_text("".join(json.dumps(r) + "\n" for r in records))
    for kind in FORMATS:
        export(journal, kind, tmp_path / f"journal.{kind}")
        export(SESSION, kind, tmp_path / f"whole.{kind}")
    for kind in ("pyperf", "pytest-benchmark"):
        assert (tmp_path / f"journal.{kind}").read_text() == (tmp_path / f"whole.{kind}").read_text()


def test_bad_input_gets_a_sentence(portbench, tmp_path: Path) -> None:
    empty = changed(tmp_path, samples=[])
    nowhere = tmp_path / "no" / "out"
    for path, kind, output, words in [
        (empty, "csv", tmp_path / "x", "holds no samples"),
        (tmp_path / "none.json", "csv", tmp_path / "x", "cannot be read as a session"),
        *((SESSION, kind, nowhere, f"{nowhere} cannot be written") for kind in FORMATS),
    ]:
        with pytest.raises(Refusal, match=words):
            export(path, kind, output)
    done = portbench("export", str(SESSION), "-f", "pyprof", "-o", "x")
    assert done.returncode == 2
    assert "There is no format 'pyprof': did you mean 'pyperf'?" in complaint(done)
    assert [p.name for p in tmp_path.iterdir()] == ["changed.json"]


def test_the_session_is_not_written_over(tmp_path: Path) -> None:
    path = changed(tmp_path)
    before = path.read_bytes()
    with pytest.raises(Refusal, match="is the session itself"):
        export(path, "csv", path)
    assert path.read_bytes() == before


def test_a_session_that_lacks_its_lists(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps({"schema": session.SCHEMA}))
    with pytest.raises(Refusal, match="no whole session: it lacks cases, threads, machine, baseline, unit, ports"):
        export(tmp_path / "x.json", "csv", tmp_path / "x.csv")


@pytest.mark.parametrize(
    ("kind", "module", "package"),
    [
        ("parquet", "pyarrow", "pyarrow"),
        ("pyperf", "pyperf", "pyperf"),
        ("pytest-benchmark", "pytest_benchmark.stats", "pytest-benchmark"),
    ],
)
def test_an_absent_library_is_named(
    kind: str, module: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(Refusal, match=f"{kind} needs {package}: install it with `pip install {package}`"):
        export(SESSION, kind, tmp_path / "out")
    assert not list(tmp_path.iterdir())

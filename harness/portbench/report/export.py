"""A session's samples in the formats of other tools: pytest-benchmark's and pyperf's JSON, CSV and Parquet.

The first two get what has a figure in the table, in seconds per step; the last two get every sample. A library
is asked for only by the format that needs it.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portbench import session
from portbench.errors import Refusal, known
from portbench.report import summary, table
from portbench.report.summary import Row

if TYPE_CHECKING:  # importing pandas takes longer than most commands
    import pandas as pd


def export(path: Path, kind: str, output: Path) -> list[str]:
    """Write the session at `path` to `output`; returns, each in a sentence, what has no figure and is left out."""
    known("format", [kind], FORMATS)
    document = session.read(path)
    if not document["samples"]:
        raise Refusal(f"{path} holds no samples to export: nothing was timed")
    if output.exists() and output.samefile(path):
        raise Refusal(f"{output} is the session itself: give another --output")
    try:
        FORMATS[kind](path, document, output)
    except OSError as error:
        raise Refusal(f"{output} cannot be written: {error.strerror or error}") from None
    return table.refusals(summary.rows(document)) if kind in ("pytest-benchmark", "pyperf") else []


def _pytest_benchmark(path: Path, document: dict[str, Any], output: Path) -> None:
    """As `pytest --benchmark-json` writes. Its statistics take all samples for independent: `round` says which are."""
    stats = _library("pytest_benchmark.stats", "pytest-benchmark")
    machine = document["machine"]
    benchmarks = []
    for row, port, samples in _timed(document, "pytest-benchmark"):
        made = stats.Stats()
        for nanoseconds in samples["ns_per_step"]:
            made.update(nanoseconds / 1e9)
        param = f"{row.case}-{row.threads}"
        benchmarks.append(
            {
                "group": f"{row.case}, {row.threads} thread{'s' * (row.threads > 1)}",
                "name": f"{row.port}[{param}]",
                "fullname": f"portbench::{row.port}[{param}]",
                "params": {"case": row.case, "threads": row.threads},
                "param": param,
                "extra_info": {
                    **{name: port[name] for name in ("language", "precision", "toolchain", "sources_hash")},
                    "agrees": row.level,
                    "work": document["cases"][row.case]["work"],
                    "unit": document["unit"],
                    # of each number in `data`: its round of fresh processes, and the steps that it is the mean of
                    **{name: samples[name].tolist() for name in ("round", "steps")},
                },
                "options": {"timer": "portbench", "disable_gc": False, "warmup": True},
                "stats": {**made.as_dict(), "data": made.data, "iterations": int(samples["steps"].median())},
            }
        )
    text = {
        "machine_info": {
            # what a session does not say is empty, and not taken from where the export is made
            **dict.fromkeys(("node", "python_compiler", "python_implementation", "release"), ""),
            "python_build": [],
            "system": machine["system"],
            "machine": machine["architecture"],
            "processor": machine["processor"],
            "python_version": machine["python"],
            "python_implementation_version": machine["python"],
            "cpu": {
                "brand_raw": machine["processor"],
                "arch_string_raw": machine["architecture"],
                "count": machine["logical_cores"],
                "flags": machine["vectors"],
            },
        },
        "commit_info": {
            "id": "unversioned",
            "time": None,
            "author_time": None,
            "dirty": False,
            "project": document["project"],
            "branch": "(unknown)",
        },
        "benchmarks": benchmarks,
        "datetime": document["started"],
        "version": importlib.import_module("pytest_benchmark").__version__,
    }
    output.write_text(json.dumps(session.plain(text), indent=1) + "\n", encoding="utf-8")


def _pyperf(path: Path, document: dict[str, Any], output: Path) -> None:
    """A Run is a round, as both are fresh processes."""
    pyperf = _library("pyperf", "pyperf")
    machine = document["machine"]
    benchmarks = []
    for row, port, samples in _timed(document, "pyperf"):
        about = {
            "name": f"{row.port}[{row.case}-{row.threads}]",
            "unit": "second",
            "date": document["started"].split("+")[0].replace("T", " "),  # pyperf knows no time zones
            "portbench_version": document["portbench"],
            "cpu_model_name": machine["processor"],
            "cpu_count": machine["logical_cores"],
            "platform": machine["system"],
            "python_version": machine["python"],
            "agrees": row.level,
            **{name: port[name] for name in ("precision", "toolchain", "sources_hash")},
        }
        told = {name: value for name, value in about.items() if value}  # pyperf takes no empty ones
        runs = [
            pyperf.Run(
                (some["ns_per_step"] / 1e9).tolist(),
                metadata={**told, "round": int(some["round"].iloc[0]), "loops": int(some["steps"].median())},
                collect_metadata=False,
            )
            for _, some in samples.groupby("round")
        ]
        benchmarks.append(pyperf.Benchmark(runs))
    suite = pyperf.BenchmarkSuite(benchmarks)
    with output.open("w", encoding="utf-8") as file:
        suite.dump(file)


def _csv(path: Path, document: dict[str, Any], output: Path) -> None:
    session.load_results(path).to_csv(output, index=False)


def _parquet(path: Path, document: dict[str, Any], output: Path) -> None:
    _library("pyarrow", "parquet")
    session.load_results(path).to_parquet(output, index=False, engine="pyarrow")


FORMATS: dict[str, Callable[[Path, dict[str, Any], Path], None]] = {
    "pytest-benchmark": _pytest_benchmark,
    "pyperf": _pyperf,
    "csv": _csv,
    "parquet": _parquet,
}


def _timed(document: dict[str, Any], kind: str) -> Iterator[tuple[Row, dict[str, Any], pd.DataFrame]]:
    """What has a figure in the table, with its port and its samples; Refusal if nothing has one."""
    samples = session.samples(document)
    ports = {p["name"]: p for p in document["ports"]}
    timed = [row for row in summary.rows(document) if row.time is not None]
    if not timed:
        raise Refusal(f"Nothing in this session has a figure to export as {kind}: every sample goes into csv")
    for row in timed:
        mine = (samples["port"] == row.port) & (samples["case"] == row.case) & (samples["threads"] == row.threads)
        yield row, ports[row.port], samples[mine]


def _library(module: str, kind: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.split(".")[0].replace("_", "-")
        raise Refusal(f"Format {kind} needs {package}: install it with `pip install {package}`") from None

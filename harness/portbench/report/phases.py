"""Where the time of a port's processes goes, from its build to its end, and what memory they take."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from portbench import session
from portbench.report import summary
from portbench.timing.statistics import Estimate, confidence_of
from portbench.timing.statistics import estimate as of_rounds

# In the order of a process's life; build and the cold ones are paid once for all runs.
PHASES = ("start", "import", "load", "first_call", "warm_up", "save", "teardown")
PERCENTILES = (5, 50, 95)


@dataclass(frozen=True)
class Row:
    """Seconds. Phases are those of processes whose port had compiled before, and that had served no other case."""

    case: str
    threads: int
    port: str
    build: float | None
    cold_start: float | None  # the very first process
    cold_first_call: float | None  # its load and first step; of the port's first case only
    phases: dict[str, Estimate]
    parts: dict[str, float]  # seconds of a step, by the port's own account (device transfers, kernels); medians
    step: Estimate
    percentiles: dict[int, float]  # of the samples' seconds per step, over their median
    cpu: float | None  # processors that the port used on average while it was stepping
    rest: int | None  # bytes before the first load
    peak: int | None

    def as_json(self) -> dict[str, Any]:
        return session.plain(asdict(self))


def rows(document: dict[str, Any]) -> list[Row]:
    """Of every port that has a figure, fastest first within each case and thread count."""
    samples = session.samples(document)
    made = []
    for one in summary.rows(document):
        if one.time is not None:
            mine = (samples["port"] == one.port) & (samples["case"] == one.case) & (samples["threads"] == one.threads)
            made.append(_row(document, one, samples[mine]["ns_per_step"].to_numpy() / 1e9))
    return made


def _row(document: dict[str, Any], one: summary.Row, steps: np.ndarray) -> Row:
    here = {"port": one.port, "case": one.case, "threads": one.threads}
    confidence = confidence_of(document)
    phases = [p for p in document["phases"] if p["port"] == one.port and p["threads"] == one.threads]
    cold = [p for p in phases if p["cold"]]
    warm: dict[str, list[float]] = {}
    for p in phases:
        process_wide = p["phase"] in ("start", "import", "teardown")
        if not p["cold"] and p["nanoseconds"] and (process_wide or (p["case"] == one.case and p.get("fresh", True))):
            warm.setdefault(p["phase"], []).append(p["nanoseconds"] / 1e9)
    taken = [s for s in document["samples"] if here.items() <= s.items()]
    parts: dict[str, list[float]] = {}
    for s in taken:
        for name, nanoseconds in s.get("parts", {}).items():
            parts.setdefault(name, []).append(nanoseconds / s["steps"] / 1e9)
    starts = [p["nanoseconds"] / 1e9 for p in cold if p["phase"] == "start"]
    of_units = document["cases"][one.case]["work"] / 1e9
    assert one.time is not None
    return Row(
        case=one.case,
        threads=one.threads,
        port=one.port,
        build=one.build,
        cold_start=starts[0] if starts else None,
        cold_first_call=one.first_call,
        phases={name: of_rounds(np.array(warm[name]), confidence) for name in PHASES if name in warm},
        parts={name: float(np.median(values)) for name, values in parts.items()},
        step=Estimate(*(of_units * v for v in (one.time.value, one.time.low, one.time.high))),
        percentiles={q: float(np.percentile(steps, q) / np.median(steps)) for q in PERCENTILES},
        cpu=float(np.median([s["cpu"] for s in taken])) if taken and "cpu" in taken[0] else None,
        rest=max((m["rest"] for m in document["memory"] if here.items() <= m.items()), default=0) or None,
        peak=one.memory,
    )


def print_tables(found: list[Row], console: Console) -> None:
    """One table per case and thread count: a column for each port, from its build to its end."""
    for case, threads in dict.fromkeys((r.case, r.threads) for r in found):
        some = [r for r in found if (r.case, r.threads) == (case, threads)]
        title = f"{case}, {threads} thread{'s' * (threads > 1)}"
        shown = Table(
            title=escape(title), title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
        )
        for k, name in enumerate(["", *(r.port for r in some)]):
            shown.add_column(escape(name), justify="right" if k else "left", no_wrap=True)
        for name, of_port in _lines(some).items():
            if any(of_port):
                shown.add_row(escape(name), *of_port)
        console.print(shown)
    console.print(
        "Medians over processes. Cold: of the very first process, with nothing compiled. load, first call, warm-up:\n"
        "where this case came first in a process. cpus: used on average while stepping. MB: children included.",
        style="dim",
        highlight=False,
        soft_wrap=True,
    )


def _lines(some: list[Row]) -> dict[str, list[str]]:
    """What is said, in order, and a text for each port."""
    lines = {
        "build": [_time(r.build) for r in some],
        "cold start": [_time(r.cold_start) for r in some],
        "cold load and first call": [_time(r.cold_first_call) for r in some],
    }
    for phase in PHASES:
        lines[phase.replace("_", " ")] = [_time(r.phases[phase].value if phase in r.phases else None) for r in some]
    lines["a step"] = [_time(r.step.value) for r in some]
    for part in dict.fromkeys(part for r in some for part in r.parts):
        lines[f"  {part.replace('_', ' ')}"] = [_time(r.parts.get(part)) for r in some]
    lines["95th percentile over median"] = [f"{r.percentiles[95]:.2f}" for r in some]
    lines["cpus"] = ["" if r.cpu is None else f"{r.cpu:.2f}" for r in some]
    lines["MB before the first load"] = [_megabytes(r.rest) for r in some]
    lines["MB at most"] = [_megabytes(r.peak) for r in some]
    return lines


def _time(seconds: float | None) -> str:
    """Three significant digits, in a unit that fits."""
    if seconds is None:
        return ""
    for unit, length in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= length:
            return f"{seconds / length:#.3g}".rstrip(".") + f" {unit}" if seconds < 1000 else f"{seconds:.0f} s"
    return f"{seconds * 1e9:.0f} ns"


def _megabytes(size: int | None) -> str:
    return "" if size is None else f"{size / 1e6:.0f}"

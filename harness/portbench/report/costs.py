"""What a run of so many steps takes with each port, from its start to its end, and from where on a port pays."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from portbench import session
from portbench.errors import Refusal, known
from portbench.report import summary
from portbench.report.table import estimate
from portbench.timing.cost import Cost, at_size, costs
from portbench.timing.statistics import Estimate, confidence_of


@dataclass(frozen=True)
class Row:
    """Seconds. `pays`: the numbers of steps between which this port takes less time than the base."""

    port: str
    case: str  # or several, for a size between them
    size: float  # units of work in a step
    threads: int
    once: Estimate
    per_step: Estimate
    total: Estimate
    pays: tuple[float, float] | None  # None for the base itself, or if it is not known which steps faster


def examine(document: dict[str, Any], steps: float, size: float | None, cases: list[str], base: str) -> list[Row]:
    """Of every port that has a figure, the fastest over the whole run first. With a `size`, `cases` are one problem in
    several sizes, and the cost is that between them; only whoever chose the cases knows that they are.
    """
    known("case", cases, document["cases"])
    known("port", [base] if base else [], {p["name"]: p for p in document["ports"]})
    chosen = cases or list(document["cases"])
    works = {document["cases"][name]["work"]: name for name in chosen}
    if size is not None and (len(cases) < 2 or len(works) < len(set(cases))):
        raise Refusal("--size needs --cases: one problem in two sizes or more, between which it lies")
    timed: dict[tuple[str, int], list[str]] = {}
    for row in summary.rows(document):
        if row.time is not None and row.case in chosen:
            timed.setdefault((row.port, row.threads), []).append(row.case)
    found: dict[tuple[str, float, int], dict[str, Cost]] = {}
    for (port, threads), here in timed.items():
        of_case = {case: c for case, c in costs(document, port, threads).items() if case in here}
        if size is None:
            for case, cost in of_case.items():
                found.setdefault((case, document["cases"][case]["work"], threads), {})[port] = cost
        elif len(of_case) == len(works):
            of_size = {document["cases"][case]["work"]: c for case, c in of_case.items()}
            try:
                cost = at_size(size, of_size)
            except ValueError as error:
                raise Refusal(f"--size {size:g}: {error}") from None
            if len(cost.rounds):
                found.setdefault((", ".join(cases), size, threads), {})[port] = cost
    if not found:
        whole = " on all of these cases" if size is not None else ""
        raise Refusal(
            f"There is nothing to tell: no port with a figure{whole} has a second round, whose start is warm: give a "
            "larger --budget"
        )
    if base and not any(base in of_port for of_port in found.values()):
        raise Refusal(f"--against {base}: it has no figure here to compare with")
    return [row for where, of_port in found.items() for row in _rows(document, where, of_port, steps, base)]


def untold(document: dict[str, Any], rows: list[Row], cases: list[str]) -> list[str]:
    """Cases of which nothing can be told: none of their ports has a figure and a second round, whose start is warm."""
    told = {name for r in rows for name in r.case.split(", ")}
    return [name for name in cases or document["cases"] if name not in told]


def _rows(
    document: dict[str, Any], where: tuple[str, float, int], of_port: dict[str, Cost], steps: float, base: str
) -> list[Row]:
    case, size, threads = where
    confidence = confidence_of(document)
    other = of_port.get(base or document["baseline"])
    rows = [
        Row(
            port=port,
            case=case,
            size=size,
            threads=threads,
            once=cost.once(confidence),
            per_step=cost.per_step(confidence),
            total=cost.total(steps, confidence),
            pays=None if other is None or other is cost else cost.pays(other, confidence),
        )
        for port, cost in of_port.items()
    ]
    return sorted(rows, key=lambda r: r.total.value)


def as_json(rows: list[Row]) -> list[dict[str, Any]]:
    return [session.plain(asdict(r)) for r in rows]


def print_table(
    rows: list[Row], document: dict[str, Any], steps: float, base: str, missing: list[str], console: Console
) -> None:
    base = base or document["baseline"]
    unit, between = document["unit"], any(r.case not in document["cases"] for r in rows)
    for where in dict.fromkeys((r.case, r.size, r.threads) for r in rows):
        case, size, threads = where
        title = f"{case}: {size:,g} {unit}s, {steps:,g} steps, {threads} thread{'s' * (threads > 1)}"
        shown = Table(
            title=escape(title), title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
        )
        for k, name in enumerate(["port", "once s", "step ms", "run s", *([f"pays against {base}"] if base else [])]):
            shown.add_column(escape(name), justify="left" if k < 1 else "right", no_wrap=True)
        for r in rows:
            if (r.case, r.size, r.threads) == where:
                step = Estimate(*(1e3 * v for v in (r.per_step.value, r.per_step.low, r.per_step.high)))
                some = [estimate(e, ratio=False) for e in (r.once, step, r.total)]
                shown.add_row(escape(r.port), *some, *([_pays(r, base)] if base else []))
        console.print(shown)
    if missing:
        why = "no port with a figure there has a second round, whose start is warm"
        console.print(escape(f"not told: {', '.join(missing)}: {why}"), highlight=False, soft_wrap=True)
    console.print(
        "once: start, compile what is not kept, load, end. run: once and all steps; builds and first compilations,\n"
        "paid once for all runs, are not in it. ± is half the 95 % interval, over rounds of fresh processes."
        + ("\nBetween sizes a power law is held to hold: what a port departs from it is not in ±." if between else ""),
        style="dim",
        highlight=False,
        soft_wrap=True,
    )


def _pays(row: Row, base: str) -> str:
    if row.port == base:
        return ""
    if row.pays is None:
        return "undecided"
    low, high = row.pays
    if high == 0:
        return "never"
    if math.isinf(high):
        return f"from {low:,.0f} steps" if low else "always"
    return f"up to {high:,.0f} steps"

"""The table: on a terminal, as plain text, and as Markdown for a README."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from portbench.report.summary import Row, rows
from portbench.timing.statistics import Estimate

_KEY = (
    "Agreement is the highest rung reached with all below it (A4/n: a free run of n steps inside the envelope of the "
    "rounding twins). Times are medians; intervals are 95 %; a ratio whose interval holds 1 is a tie (=)."
)


def columns(document: dict[str, Any]) -> list[str]:
    unit = document["unit"]
    base = f"x {document['baseline']}" if document["baseline"] else ""
    return [c for c in ["port", "agreement", f"ns/{unit}/step", "x spec", base, "start s", "first call s", "build s",
                        "peak MB"] if c]


def cells(row: Row, document: dict[str, Any]) -> list[str]:
    """The text of one row, in the order of columns()."""
    level = f"{row.level}/{row.horizon}" if row.level == "A4" else row.level or "none"
    shown = [row.port, level, _estimate(row.time, ratio=False), _estimate(row.over_spec)]
    if document["baseline"]:
        shown.append(_estimate(row.over_baseline))
    shown += [_number(row.start), _number(row.first_call), _number(row.build)]
    return [*shown, _number(row.memory / 1e6 if row.memory else None)]


def _estimate(e: Estimate | None, ratio: bool = True) -> str:
    if e is None:
        return ""
    tie = " =" if ratio and e.tie else ""
    return f"{_number(e.value)} [{_number(e.low)}, {_number(e.high)}]{tie}"


def _number(value: float | None) -> str:
    """Three significant digits, without an exponent."""
    if value is None:
        return ""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".")


def print_tables(document: dict[str, Any], console: Console) -> None:
    """One table per case and thread count, then what was refused or missing, each in a sentence."""
    every = rows(document)
    for case, threads in dict.fromkeys((r.case, r.threads) for r in every):
        some = [r for r in every if (r.case, r.threads) == (case, threads)]
        title = _title(document, case, threads)
        table = Table(title=title, title_justify="left", title_style="bold")
        for k, name in enumerate(columns(document)):
            table.add_column(name, justify="left" if k < 2 else "right", no_wrap=True)
        for row in some:
            if row.time is not None:
                table.add_row(*cells(row, document))
        if table.row_count:
            console.print(table)
    for sentence in refusals(every):
        console.print(f"[yellow]no figure[/yellow] {sentence}", highlight=False)
    console.print(_KEY, style="dim", highlight=False)


def markdown(document: dict[str, Any]) -> str:
    """The same as Markdown."""
    every = rows(document)
    lines = []
    for case, threads in dict.fromkeys((r.case, r.threads) for r in every):
        names = columns(document)
        lines += [f"**{_title(document, case, threads)}**", "", "| " + " | ".join(names) + " |"]
        lines += ["|" + "---|" * 2 + "---:|" * (len(names) - 2)]
        for row in every:
            if (row.case, row.threads) == (case, threads) and row.time is not None:
                lines.append("| " + " | ".join(cells(row, document)) + " |")
        lines.append("")
    lines += [f"* no figure: {s}" for s in refusals(every)]
    return "\n".join(lines).rstrip() + "\n"


def refusals(every: list[Row]) -> list[str]:
    """Each reason once, with the cases that it holds for."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in every:
        if row.refusal:
            found.setdefault((row.port, row.refusal), []).append(row.case)
    total = len({r.case for r in every})
    return [
        f"{port}{'' if len(set(cases)) == total else ' (' + ', '.join(dict.fromkeys(cases)) + ')'}: {why}"
        for (port, why), cases in found.items()
    ]


def _title(document: dict[str, Any], case: str, threads: int) -> str:
    work = document["cases"][case]["work"]
    return f"{case}: {work:,} {document['unit']}s, {threads} thread{'s' * (threads > 1)}"

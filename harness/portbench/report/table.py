"""The table: on a terminal, as plain text, and as Markdown for a README."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from portbench.manifest import OWN, SPEC_PORT
from portbench.report.remarks import remarks
from portbench.report.summary import Row, rows
from portbench.timing.statistics import Estimate

_KEY = (
    "agrees: the highest rung reached with all below it; /n is a free run of n steps inside the envelope of the\n"
    "rounding twins. Times are medians; x is how many times faster than; ± is half the 95 % interval; = is a tie;\n"
    "undecided: the interval is wider than the figure, or the conditions were unlike.\n"
    "start: until the process answers. first: load and step once, nothing compiled before (of the case that came\n"
    "first). MB: peak of the process."
)


def columns(document: dict[str, Any]) -> list[str]:
    """On a terminal all but the last, which has no room there."""
    base = [f"x {document['baseline']}"] if document["baseline"] else []
    time = f"ns/{document['unit']}/step"
    return ["port", "agrees", time, "x spec", *base, "start s", "first s", "build s", "MB", "lines"]


def cells(row: Row, document: dict[str, Any]) -> list[str]:
    """The text of one row, in the order of columns()."""
    classes = {port["name"]: port["precision"] for port in document["ports"]}
    agrees = agreement(row.level, row.horizon, classes[row.port])
    shown = [row.port, agrees, estimate(row.time, ratio=False)]
    for base, over in ((SPEC_PORT, row.over_spec), (document["baseline"], row.over_baseline)):
        if base:
            shown.append("undecided" if base in row.unlike else estimate(over))
    shown += [_seconds(row.start), _seconds(row.first_call), _seconds(row.build)]
    return [*shown, f"{row.memory / 1e6:.0f}" if row.memory else "", f"{row.code_lines}" if row.code_lines else ""]


def agreement(level: str, horizon: int, precision: str) -> str:
    """The level that was reached, the steps of the free run, and what may be wrong in a class of the port's own."""
    reached = f"{level}/{horizon}" if horizon else level or "none"
    return f"{reached} ({precision})" if level and precision.startswith(OWN) else reached


def estimate(e: Estimate | None, ratio: bool = True) -> str:
    """A figure with its interval; "undecided" if that says nothing, and ±? if there is none, as of one round."""
    if e is None:
        return ""
    if e.high == float("inf"):
        return f"{_number(e.value)} ±?"
    if e.says_nothing:
        return "undecided"
    tie = "=" if ratio and e.tie else ""
    return f"{tie}{_number(e.value)} ±{max(1, round(100 * e.uncertainty))}%"


def _narrow(heading: str) -> str:
    """On two lines, so that the table fits 80 columns."""
    if heading.startswith("x "):
        return heading.replace(":", "\n:")
    return heading.replace("/step", "\n/step").replace(" s", "\ns")


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


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
        table = Table(
            title=escape(title), title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
        )
        for k, name in enumerate(columns(document)[:-1]):
            # a long name of a port takes two lines
            table.add_column(
                escape(_narrow(name)), justify="left" if k < 2 else "right", no_wrap=k > 0, overflow="fold"
            )
        for row in some:
            if row.time is not None:
                name, *others = cells(row, document)[:-1]
                table.add_row(escape(name.replace(":", "\n:")), *others)
        if table.row_count:
            console.print(table)
    for sentence in refusals(every):
        console.print(f"[yellow]no figure[/yellow] {escape(sentence)}", highlight=False, soft_wrap=True)
    for sentence in remarks(document):
        console.print(f"[yellow]note[/yellow] {escape(sentence)}", highlight=False, soft_wrap=True)
    console.print(_KEY, style="dim", highlight=False, soft_wrap=True)


def markdown(document: dict[str, Any]) -> str:
    """The same as Markdown."""
    every = rows(document)
    lines = []
    for case, threads in dict.fromkeys((r.case, r.threads) for r in every):
        names = columns(document)
        title = _title(document, case, threads)
        lines += [f"**{title}**", "", "| " + " | ".join(map(_in_markdown, names)) + " |"]
        lines += ["|" + "---|" * 2 + "---:|" * (len(names) - 2)]
        for row in every:
            if (row.case, row.threads) == (case, threads) and row.time is not None:
                lines.append("| " + " | ".join(_in_markdown(cell) for cell in cells(row, document)) + " |")
        lines.append("")
    lines += [f"* no figure: {s}" for s in refusals(every)]
    lines += [f"* {s}" for s in remarks(document)]
    return "\n".join(lines).rstrip() + "\n"


def _in_markdown(cell: str) -> str:
    return cell.replace("|", "\\|")


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

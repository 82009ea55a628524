"""The kill matrix: which wrong port died by which level, as a table or as Markdown."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from portbench.agreement.mutants import Outcome

_COLUMNS = ("wrong port", "what is wrong", "must die by", "died by")


def print_table(outcomes: list[Outcome], console: Console) -> None:
    """Every mutant, the count, and what there is to say of those that did not do as they should."""
    shown = Table(*_COLUMNS)
    for o in outcomes:
        colour = "green" if o.as_it_should else "red"
        shown.add_row(escape(o.name), escape(o.what), o.level or "-", f"[{colour}]{_fate(o)}[/{colour}]")
    console.print(shown)
    console.print(count(outcomes), highlight=False)
    for o in outcomes:
        if not o.as_it_should:
            console.print(f"[red]{escape(o.name)}[/red]: {escape(o.finding)}", highlight=False, soft_wrap=True)


def markdown(outcomes: list[Outcome]) -> str:
    """The same as Markdown."""
    lines = ["| " + " | ".join(_COLUMNS) + " |", "|" + "---|" * len(_COLUMNS)]
    for o in outcomes:
        lines.append(f"| {o.name} | {o.what.replace('|', chr(92) + '|')} | {o.level or '-'} | {_fate(o)} |")
    return "\n".join([*lines, "", count(outcomes)]) + "\n"


def count(outcomes: list[Outcome]) -> str:
    """How many did as they should, in a line."""
    wrong, right = [o for o in outcomes if o.level], [o for o in outcomes if not o.level]
    died, live = sum(o.as_it_should for o in wrong), sum(o.as_it_should for o in right)
    return f"{died} of {len(wrong)} wrong ports died in time; {live} of {len(right)} right ones live"


def _fate(outcome: Outcome) -> str:
    return outcome.killed_by or ("lives, as it should" if not outcome.level else "LIVES")

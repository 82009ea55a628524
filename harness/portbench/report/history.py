"""What changed between two sessions: which ports became faster or slower, and what else did.

Two machines have speeds of their own, and so has one on two days: beside each ratio stands the same normalised by
the specification, which took turns with the port in every round. Where the machines differ, that one decides.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from portbench import session
from portbench.errors import Refusal
from portbench.manifest import SPEC_PORT
from portbench.report import summary
from portbench.report.table import estimate
from portbench.timing.statistics import Estimate, change, change_beside, confidence_of

SLOWER = 1.10  # so many times as long, with 1 outside the interval, is named
_MACHINE = ("processor", "architecture", "vectors", "cores", "logical_cores", "system")
_PORT = ("precision", "allowed", "toolchain", "sources_hash", "build_command")
_KEY = (
    "x: how many times faster than in the first session, and the same beside the specification in the same rounds;\n"
    "± is half the 95 % interval; = is a tie. Undecided: fewer than two rounds, or another machine and no\n"
    "specification to stand beside."
)
Key = tuple[str, int, str]  # case, threads, port
Changes = dict[str, tuple[Any, Any]]  # of what: before and after


@dataclass(frozen=True)
class Row:
    """`over` says how many times faster the second session is, `normalised` the same beside the specification."""

    case: str
    threads: int
    port: str
    rounds: tuple[int, int]
    over: Estimate
    normalised: Estimate | None
    same_machine: bool

    @property
    def judged(self) -> Estimate | None:
        return self.over if self.same_machine else self.normalised

    @property
    def verdict(self) -> str:
        if self.judged is None or self.judged.high == float("inf"):
            return "undecided"
        if self.judged.tie:
            return "no difference seen"
        return "faster" if self.judged.low > 1 else "slower"

    @property
    def named(self) -> bool:
        """Slower by so much that somebody must be told."""
        return self.verdict == "slower" and self.judged is not None and self.judged.value * SLOWER <= 1

    def sentence(self) -> str:
        assert self.judged is not None
        value, low, high = (1 / x for x in (self.judged.value, self.judged.high, self.judged.low))
        return (
            f"{self.port} on {_where(self.case, self.threads)} takes {value:.3g} times as long as before "
            f"(95 %: {low:.3g} to {high:.3g}{'' if self.same_machine else ', beside the specification'})"
        )

    def as_json(self) -> dict[str, Any]:
        made = asdict(self)
        del made["same_machine"]
        return {**made, "verdict": self.verdict, "named": self.named}


@dataclass(frozen=True)
class History:
    machine: Changes  # empty: the same machine, as far as the sessions tell
    software: Changes
    ports: dict[str, Changes]
    rows: list[Row]
    not_compared: list[dict[str, Any]]

    @property
    def ok(self) -> bool:
        return not any(row.named for row in self.rows)

    def as_json(self) -> dict[str, Any]:
        return {
            "same_machine": not self.machine,
            "changed": {"machine": self.machine, "software": self.software, "ports": self.ports},
            "rows": [row.as_json() for row in self.rows],
            "not_compared": self.not_compared,
        }


def compare(before: dict[str, Any], after: dict[str, Any]) -> History:
    """Two sessions' documents; Refusal if nothing was timed in both."""
    machine = _changes(before["machine"], after["machine"], _MACHINE)
    both, not_compared = _both(before, after)
    if not both:
        raise Refusal("No port was timed on the same case and number of threads in both sessions")
    samples = [
        dict(iter(session.samples(document).groupby(["case", "threads", "port"]))) for document in (before, after)
    ]
    confidence = max(map(confidence_of, (before, after)))
    rows = []
    for case, threads, port in both:
        old, new = (some[case, threads, port] for some in samples)
        spec_old, spec_new = (some.get((case, threads, SPEC_PORT)) for some in samples)
        normalised = None
        if port != SPEC_PORT and spec_old is not None and spec_new is not None:
            normalised = change_beside(old, spec_old, new, spec_new, confidence)
        rows.append(
            Row(
                case=case,
                threads=threads,
                port=port,
                rounds=(old["round"].nunique(), new["round"].nunique()),
                over=change(old, new, confidence),
                normalised=normalised,
                same_machine=not machine,
            )
        )
    old_facts, new_facts = (
        {**document["machine"], **document, "specification": _specification(document)} for document in (before, after)
    )
    software = _changes(old_facts, new_facts, ("python", "numpy", "specification", "portbench"))
    old_ports, new_ports = ({p["name"]: p for p in document["ports"]} for document in (before, after))
    ports = {name: _changes(old_ports[name], new_ports[name], _PORT) for name in old_ports if name in new_ports}
    return History(machine, software, {name: c for name, c in ports.items() if c}, rows, not_compared)


def _both(before: dict[str, Any], after: dict[str, Any]) -> tuple[list[Key], list[dict[str, Any]]]:
    """What has a figure in both sessions, in the first one's order; and what has one in one of them only, and why."""
    rows = [{(r.case, r.threads, r.port): r for r in summary.rows(document)} for document in (before, after)]
    timed = [[key for key, r in some.items() if r.time is not None] for some in rows]
    both, alone = [], []

    def leave(key: Key, where: str, why: str) -> None:
        alone.append({"case": key[0], "threads": key[1], "port": key[2], "only_in": where, "why": why})

    for mine, other, where in ((0, 1, "first"), (1, 0, "second")):
        for key in timed[mine]:
            if key not in timed[other]:
                leave(key, where, rows[other][key].refusal if key in rows[other] else "")
            elif before["cases"][key[0]] != after["cases"][key[0]]:
                leave(key, where, "the case has other parameters in the other session")
            elif mine == 0:
                both.append(key)
    return both, alone


def _changes(before: dict[str, Any], after: dict[str, Any], names: tuple[str, ...]) -> Changes:
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


def _specification(document: dict[str, Any]) -> str:
    """The hash of the specification, of which every certificate knows."""
    return ", ".join(sorted({str(c["identity"].get("specification")) for c in document["certificates"]}))


def print_history(history: History, console: Console) -> None:
    """First of all whether the machine is the same; last of all what became slower."""

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    if history.machine:
        say(f"[bold red]ANOTHER MACHINE[/bold red]: {_told(history.machine)}; judged beside the specification")
    else:
        say("[bold]the same machine[/bold], as far as the sessions tell")
    if history.software:
        doubt = ": the specification may run at another speed itself" if history.software.keys() - {"portbench"} else ""
        say(f"[yellow]changed[/yellow] {_told(history.software)}{doubt}")
    for name, changes in history.ports.items():
        say(f"[yellow]changed[/yellow] {escape(name)}: {_told(changes)}")
    for case, threads in dict.fromkeys((r.case, r.threads) for r in history.rows):
        table = Table(
            title=escape(_where(case, threads)),
            title_justify="left",
            title_style="bold",
            box=SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
        )
        for k, name in enumerate(("port", "x", "x beside spec", "rounds", "verdict")):
            table.add_column(escape(name), justify="right" if 0 < k < 4 else "left", no_wrap=True)
        for row in history.rows:
            if (row.case, row.threads) == (case, threads):
                colour = {"slower": "red", "faster": "green"}.get(row.verdict, "default")
                rounds = f"{row.rounds[0]}, {row.rounds[1]}"
                verdict = f"[{colour}]{row.verdict}[/{colour}]"
                table.add_row(escape(row.port), estimate(row.over), estimate(row.normalised), rounds, verdict)
        console.print(table)
    alone: dict[tuple[str, str], list[str]] = {}
    for one in history.not_compared:
        what = f"{one['port']} on {_where(one['case'], one['threads'])}"
        alone.setdefault((one["only_in"], one["why"]), []).append(what)
    for (where, why), some in alone.items():
        say(f"[yellow]only in the {where} session[/yellow] {'; '.join(some)}{escape(f' ({why})' if why else '')}")
    console.print(_KEY, style="dim", highlight=False, soft_wrap=True)
    for row in history.rows:
        if row.port == SPEC_PORT and row.same_machine and row.verdict in ("faster", "slower"):
            say(
                f"[yellow]note[/yellow] on {_where(row.case, row.threads)} the specification itself is {row.verdict}: "
                "if nobody changed it, the machine was, and the ratios beside it are the fair ones"
            )
    for row in history.rows:
        if row.named:
            say(f"[bold red]SLOWER[/bold red] {row.sentence()}")


def _told(changes: Changes) -> str:
    """Of hashes the beginning."""

    def short(name: str, value: Any) -> str:
        text = ", ".join(value) if isinstance(value, list) else str(value)
        return (text[:8] if name in ("sources_hash", "specification") else text) or "none"

    return escape("; ".join(f"{n.replace('_', ' ')} {short(n, a)} -> {short(n, b)}" for n, (a, b) in changes.items()))


def _where(case: str, threads: int) -> str:
    return f"{case}, {threads} thread{'s' * (threads > 1)}"

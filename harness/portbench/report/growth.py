"""How the times of a session grow with the size of a case and fall with the threads, as tables."""

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
from portbench.timing.scaling import Growth, Scaling, growth, strong_scaling
from portbench.timing.statistics import Estimate, confidence_of

WIDEST_SERIAL = 0.5  # of an interval within 0 to 1: a wider one does not say whether threads help


@dataclass(frozen=True)
class Sizes:
    """Of one port on one number of threads, over cases of several sizes."""

    port: str
    threads: int
    smallest: int
    largest: int
    growth: Growth


@dataclass(frozen=True)
class Threads:
    """Of one port on one case, over several numbers of threads."""

    port: str
    case: str
    scaling: Scaling


@dataclass(frozen=True)
class Found:
    sizes: list[Sizes]
    threads: list[Threads]

    def as_json(self) -> dict[str, Any]:
        return session.plain(asdict(self))


def examine(document: dict[str, Any], cases: list[str]) -> Found:
    """The exponents of these cases, which must be one problem in several sizes (or else an exponent means nothing:
    only whoever chose the cases knows); and the speed-ups of every case. Only of ports that have a figure.
    """
    known("case", cases, document["cases"])
    samples = session.samples(document)
    timed = [(r.port, r.case, r.threads) for r in summary.rows(document) if r.time is not None]
    threaded = {p["name"] for p in document["ports"] if p["uses_threads"]}
    sizes, threads, confidence = [], [], confidence_of(document)
    if cases:
        works = {document["cases"][name]["work"] for name in cases}
        if len(works) < len(set(cases)):
            raise Refusal(f"Two of {', '.join(cases)} have the same size: name one problem in several sizes")
        if len(works) < 3:
            raise Refusal(f"{', '.join(cases)} are {len(works)} sizes, and an exponent needs three")
        for port, count in dict.fromkeys((p, t) for p, _, t in timed):
            here = [c for p, c, t in timed if (p, t) == (port, count) and c in cases]
            mine = samples[(samples["port"] == port) & (samples["threads"] == count) & samples["case"].isin(here)]
            try:
                fitted = growth(mine, confidence)
            except ValueError:  # it failed on some of the sizes
                continue
            sizes.append(Sizes(port, count, int(mine["work"].min()), int(mine["work"].max()), fitted))
    for port, case in dict.fromkeys((p, c) for p, c, _ in timed):
        counts = [t for p, c, t in timed if (p, c) == (port, case)]
        if len(counts) > 1 and 1 in counts and port in threaded:
            mine = samples[(samples["port"] == port) & (samples["case"] == case) & samples["threads"].isin(counts)]
            threads.append(Threads(port, case, strong_scaling(mine, confidence=confidence)))
    if not sizes and not threads:
        raise Refusal(
            "There is nothing to fit: name three cases or more, one problem in several sizes (--cases), or give a "
            "session that was made on 1 and more threads (--threads 1,2)"
        )
    return Found(sizes, threads)


def print_tables(found: Found, console: Console) -> None:
    """One table for sizes and one for threads, as far as there is something in them."""
    if found.sizes:
        shown = Table("port", "threads", "N", "time ~ N^", "break", box=SIMPLE_HEAD)
        for s in found.sizes:
            e, b = s.growth.exponent, s.growth.broken
            bent = f"at {b.size:,.0f}: {b.before:.2f}, then {b.after:.2f} (p = {b.p:.1g})" if b else "none seen"
            # an interval that holds two whole exponents tells neither from the other
            interval = f"{e.value:.3f}  {e.low:.3f} to {e.high:.3f}" if e.high - e.low < 2 else "undecided"
            shown.add_row(escape(s.port), str(s.threads), f"{s.smallest:,} to {s.largest:,}", interval, bent)
        console.print(shown)
    if found.threads:
        shown = Table("port", "case", "threads", "x 1 thread", "efficiency", "serial part", box=SIMPLE_HEAD)
        for t in found.threads:
            part = _serial(t.scaling.serial)
            for one in t.scaling.speed_ups:
                times = estimate(one.speed_up)
                share = times if one.speed_up.says_nothing else f"{one.efficiency.value:.0%}"
                shown.add_row(escape(t.port), escape(t.case), str(one.threads), times, share, part)
        console.print(shown)
    console.print(
        "Intervals are 95 %. Serial part: of Amdahl's law, fitted to each round. Breaks need five sizes to be seen.\n"
        "Undecided: the interval is too wide to say anything; more rounds (--budget) make it narrower.",
        style="dim",
        soft_wrap=True,
    )


def _serial(part: Estimate | None) -> str:
    """As a part, which lies between 0 and 1, or what it means where it does not."""
    if part is None:
        return ""
    if part.low > 1:
        return "threads make it slower"
    if part.high < 0:
        return "none: threads help more than their number"
    low, value, high = (min(1.0, max(0.0, v)) for v in (part.low, part.value, part.high))
    if math.isinf(part.high) or high - low > WIDEST_SERIAL:
        return "undecided"
    return f"{value:.3f}  {low:.3f} to {high:.3f}"

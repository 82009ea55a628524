"""What a reader must know before believing a session's figures: its own false-alarm check, and its conditions."""

from __future__ import annotations

from typing import Any

from portbench import session
from portbench.report.summary import rows
from portbench.timing import conditions
from portbench.timing.scheduler import AGAIN
from portbench.timing.statistics import confidence_of, ratio


def remarks(document: dict[str, Any]) -> list[str]:
    """Each a sentence; the loudest first."""
    bad = conditions.remark(document)
    return [*([bad] if bad else []), *beside_itself(document), *unsteady(document), *undecided(document)]


def beside_itself(document: dict[str, Any]) -> list[str]:
    """The port that ran twice under two names: what differs between the two is chance."""
    samples = session.samples(document)
    said = []
    for case, threads in samples[["case", "threads"]].drop_duplicates().itertuples(index=False):
        block = samples[(samples["case"] == case) & (samples["threads"] == threads)]
        for again in sorted({name for name in block["port"] if name.endswith(AGAIN)}):
            name = again.removesuffix(AGAIN)
            one, other = block[block["port"] == name], block[block["port"] == again]
            same = ratio(one, other, confidence_of(document)) if len(one) else None
            if same is None or same.high == float("inf"):
                continue
            where = f"{name} beside itself on {case}" + (f", {threads} threads" if threads > 1 else "")
            figure = f"{same.value:.3f} times as fast, {same.low:.3f} to {same.high:.3f}"
            verdict = (
                "no difference, as it should be" if same.tie else "a FALSE ALARM: do not trust small differences here"
            )
            said.append(f"{where}: {figure}: {verdict}")
    return said


def unsteady(document: dict[str, Any]) -> list[str]:
    """Ports whose processes did not settle at their fastest, each kind once."""
    found: dict[str, list[str]] = {}
    for row in rows(document):
        if row.warm_up in ("slowdown", "no steady state", "inconsistent"):
            found.setdefault(row.warm_up, []).append(f"{row.port} on {row.case}")
    means = {
        "slowdown": "became slower while they ran",
        "no steady state": "reached no steady speed in the warm-up",
        "inconsistent": "warmed up in one way in one process and in another in the next",
    }
    return [f"{', '.join(some)} {means[kind]}" for kind, some in found.items()]


def undecided(document: dict[str, Any]) -> list[str]:
    """Ratios that were still uncertain when the time was up."""
    if not document["measured"]:
        return []
    last = document["measured"][-1]
    wide = last.get("undecided", [])
    if not wide:
        return []
    worst = max(wide, key=lambda w: float("inf") if w["known"] is None else w["known"])
    known = "not at all" if worst["known"] is None else f"to ±{100 * worst['known']:.2g}%"
    return [
        f"When the time was up, {len(wide)} ratio{'s were' * (len(wide) > 1) or ' was'} not known to "
        f"±{100 * last['precision']:.2g}%, the least {worst['port']} over {worst['base']} on {worst['case']}, "
        f"{known}: a larger --budget narrows them"
    ]

"""What a reader must know before believing a session's figures: its own false-alarm check, and its conditions."""

from __future__ import annotations

import math
from typing import Any

from portbench import session
from portbench.manifest import SPEC_PORT
from portbench.report.summary import Row, rows
from portbench.timing import conditions
from portbench.timing.scheduler import AGAIN
from portbench.timing.statistics import Estimate, confidence_of, ratio


def remarks(document: dict[str, Any]) -> list[str]:
    """Each a sentence; the loudest first."""
    bad = conditions.remark(document)
    return [
        *([bad] if bad else []),
        *beside_itself(document),
        *unsteady(document),
        *undecided(document),
        *lost(document),
    ]


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
            where = f"{name} beside itself on {_where(case, threads)}"
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
            found.setdefault(row.warm_up, []).append(f"{row.port} on {_where(row.case, row.threads)}")
    means = {
        "slowdown": "became slower while they ran",
        "no steady state": "reached no steady speed in the warm-up",
        "inconsistent": "warmed up in one way in one process and in another in the next",
    }
    return [f"{', '.join(some)} {means[kind]}" for kind, some in found.items()]


def undecided(document: dict[str, Any]) -> list[str]:
    """Ratios of the table that were still uncertain when the time was up."""
    if not document["measured"] or "precision" not in document["measured"][-1]:
        return []
    precision = document["measured"][-1]["precision"]
    every = [(r, base, e) for r in rows(document) for base, e in _ratios(document, r) if e is not None]
    wide = [(e.uncertainty, r, base) for r, base, e in every if not e.uncertainty <= precision]
    if not wide:
        return []
    known, row, base = max(wide, key=lambda w: w[0])
    return [
        f"When the time was up, {len(wide)} ratio{'s were' * (len(wide) > 1) or ' was'} not known to "
        f"±{100 * precision:.2g}%, the least {row.port} over {base} on {_where(row.case, row.threads)}, "
        + (f"to ±{100 * known:.2g}%" if math.isfinite(known) else "not at all")
        + ": a larger --budget narrows them"
    ]


def _ratios(document: dict[str, Any], row: Row) -> list[tuple[str, Estimate | None]]:
    if row.port == SPEC_PORT:
        return []
    return [(SPEC_PORT, row.over_spec), (document["baseline"], row.over_baseline)]


def lost(document: dict[str, Any]) -> list[str]:
    """The second process of a port that failed is no port of the table."""
    return [f["sentence"] for f in document["failures"] if f["port"].endswith(AGAIN)]


def _where(case: str, threads: int) -> str:
    return case + (f", {threads} threads" if threads > 1 else "")

"""One row per port, case and thread count: everything the table shows, as plain data."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from portbench import session
from portbench.manifest import SPEC_PORT
from portbench.timing import conditions
from portbench.timing.statistics import Estimate, confidence_of, median_time, ratio

if TYPE_CHECKING:  # importing pandas takes longer than most commands
    import pandas as pd

SAME_LEVEL = 0.03  # relative: what differs by less in the warm-up is the same speed


@dataclass(frozen=True)
class Row:
    """`time` is in nanoseconds per unit of work and step; ratios say how many times faster this port is."""

    case: str
    threads: int
    port: str
    level: str  # agreement reached; "-" for the specification, which defines it
    horizon: int
    time: Estimate | None
    over_spec: Estimate | None
    over_baseline: Estimate | None
    start: float | None  # seconds, median over the warm rounds
    first_call: float | None  # seconds to load and step once with nothing compiled; of the port's first case only
    build: float | None  # seconds
    code_lines: int | None  # of its sources, what it shares with other ports too
    memory: int | None  # bytes, peak
    unlike: list[str]  # ports whose samples were taken under other conditions: the ratio to them is undecided
    warm_up: str  # "flat", "warm-up", "slowdown", "no steady state", "inconsistent"; empty where steps take too long
    refusal: str  # why there is no figure

    def as_json(self) -> dict[str, Any]:
        return session.plain(asdict(self))


def rows(document: dict[str, Any]) -> list[Row]:
    """Fastest first within each case and thread count; refused and missing ports last."""
    samples = session.samples(document)
    made = []
    blocks = dict.fromkeys((c, t) for c in document["cases"] for t in document["threads"])
    for case, threads in blocks:
        block = samples[(samples["case"] == case) & (samples["threads"] == threads)]
        some = [_row(document, block, case, threads, port) for port in document["ports"]]
        made += sorted(some, key=lambda r: (r.time is None, r.time.value if r.time else 0))
    return made


def _not_covered(certificate: dict[str, Any] | None, port: dict[str, Any]) -> str:
    """Why this certificate does not stand for what ran; empty if it does."""
    if not certificate:
        return "it was not checked"
    if certificate["identity"].get("sources") != port["sources_hash"]:
        return "its certificate is stale: it is of other sources than those that ran"
    return "" if certificate["holds"] else str(certificate["finding"])


def _row(document: dict[str, Any], block: pd.DataFrame, case: str, threads: int, port: dict[str, Any]) -> Row:
    name = port["name"]
    certificate = session.certificate(document, name, case, threads)
    refusal = port["missing"] or port.get("broken", "")
    if not refusal and name != SPEC_PORT:
        refusal = _not_covered(certificate, port)
    here = {"port": name, "case": case, "threads": threads}
    if not refusal:
        died = [f["sentence"] for f in document["failures"] if here.items() <= f.items()]
        refusal = died[0] if died else ""
    mine = block[block["port"] == name]
    if name == SPEC_PORT and len(block) and mine.empty:
        refusal = refusal or "not timed: [check] steps asks it for one step only, so long does it take"
    disturbed = any(here.items() <= d.items() for d in document["disturbed"])
    if not refusal and mine.empty and disturbed:
        refusal = "each of its samples was held up by something else: measure again when the machine is less busy"
    if not refusal and len(mine) and name != SPEC_PORT and (document.get("sealed") or document["seals"]):
        sealed = [s["round"] for s in document["seals"] if here.items() <= s.items() and s["passed"]]
        refusal = "" if sealed else "the session ended before the run that was timed could be checked"
        mine = mine[mine["round"].isin(sealed)]  # others are of a round in which the session was killed
    timed = not refusal and len(mine) > 0
    taken = {
        one: [s for s in document["samples"] if {**here, "port": one}.items() <= s.items()]
        for one in {name, SPEC_PORT, document["baseline"]}
    }
    unlike = [one for one in taken if timed and taken[one] and conditions.unlike(taken[name], taken[one])]

    def against(other: str) -> Estimate | None:
        base = block[block["port"] == other]
        if not (timed and other and other != name and len(base)):
            return None
        found = ratio(base, mine, confidence_of(document))
        return Estimate(found.value, 0.0, math.inf) if found and other in unlike else found

    phases = [p for p in document["phases"] if p["port"] == name]
    warm_starts = [
        p["nanoseconds"] for p in phases if p["phase"] == "start" and not p["cold"] and p["threads"] == threads
    ]
    # A port may compile when it loads or when it first runs: both count.
    first = [
        p["nanoseconds"]
        for p in phases
        if p["phase"] in ("load", "first_call") and p["cold"] and here.items() <= p.items()
    ]
    here_peaks = [m for m in document["memory"] if here.items() <= m.items()]
    # A process that has served other cases keeps what they needed: where no other saw this case first, the least.
    alone = [m["peak"] for m in here_peaks if m.get("fresh", True)]
    peak = max(alone) if alone else min((m["peak"] for m in here_peaks), default=0)
    return Row(
        case=case,
        threads=threads,
        port=name,
        level="-" if name == SPEC_PORT else certificate["level"] if certificate else "",
        horizon=certificate["horizon"] if certificate else 0,
        time=median_time(mine, confidence_of(document)) if timed else None,
        over_spec=against(SPEC_PORT),
        over_baseline=against(document["baseline"]),
        start=float(np.median(warm_starts)) / 1e9 if timed and warm_starts else None,
        first_call=sum(first) / 1e9 if timed and first else None,
        build=port["build_seconds"],
        code_lines=port.get("code_lines"),
        memory=peak if timed and peak else None,
        unlike=sorted(unlike),
        warm_up=_warm_up(document, here) if timed else "",
        refusal=refusal,
    )


def _warm_up(document: dict[str, Any], here: dict[str, Any]) -> str:
    """How this port's processes became steady, by the runs before its samples."""
    from portbench.timing import warmup  # which needs packages that take longest to import

    every = [s["nanoseconds"] for s in document["series"] if here.items() <= s.items()]
    long_enough = [np.array(one) / 1e9 for one in every if len(one) >= warmup.LEAST_SAMPLES]
    if not long_enough or len(long_enough) < len(every):
        return ""
    return warmup.classify_processes(long_enough, absolute=0.0, relative=SAME_LEVEL).kind

"""What a reader must know before believing a session's figures: its own false-alarm check, and its conditions."""

from __future__ import annotations

import math
from collections import Counter
from statistics import median
from typing import Any

import numpy as np

from portbench import session
from portbench.agreement import sensitivity
from portbench.manifest import SPEC_PORT
from portbench.report.summary import Row, rows
from portbench.timing import conditions
from portbench.timing.scheduler import AGAIN, CHANGES
from portbench.timing.statistics import LEAST_ROUNDS, Estimate, confidence_of, ratio
from portbench.timing.statistics import estimate as of_rounds

NOTHING_SEEN = 0.2  # half the interval of a ratio that tells nothing of small differences
_BARS = "▁▂▃▄▅▆▇█"


def remarks(document: dict[str, Any]) -> list[str]:
    """Each a sentence; the loudest first."""
    return [
        *conditions.remarks(document),
        *along_the_run(document),
        *subnormal(document),
        *coarse(document),
        *disturbed(document),
        *unlike(document),
        *left_behind(document),
        *beside_itself(document),
        *unsteady(document),
        *too_few_rounds(document),
        *undecided(document),
        *lost(document),
        *excluded(document),
    ]


def left_behind(document: dict[str, Any]) -> list[str]:
    """Variables that were set and would have changed what runs, and that no port got."""
    dropped = document.get("environment", {}).get("dropped", [])
    if not dropped:
        return []
    were = "were set and" if len(dropped) > 1 else "was set and"
    return [f"{', '.join(dropped)} {were} kept from the ports: what they need, `environment` of the manifest gives"]


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
            verdict = "no difference, as it should be"
            if not same.tie:
                verdict = "a FALSE ALARM: do not trust small differences here"
            elif same.uncertainty > NOTHING_SEEN:
                verdict = "too uncertain to show a difference: a larger --budget narrows it"
            said.append(f"{where}: {figure}: {verdict}")
    return said


def excluded(document: dict[str, Any]) -> list[str]:
    """How small a wrong parameter the checks would have seen, of each case and precision class."""
    proved = [c for c in document["certificates"] if c["holds"]]
    said = [sensitivity.sentence(c["case"], c["precision"], c.get("sensitivity", {})) for c in proved]
    return [f"A wrong parameter would have been {sentence}" for sentence in dict.fromkeys(said) if sentence]


def along_the_run(document: dict[str, Any]) -> list[str]:
    """Ports whose steps take another time at the end of the run that was timed than at its beginning."""
    of_port: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for one in document["courses"]:
        if not one["port"].endswith(AGAIN) and min(one["nanoseconds"]) > 0:
            of_port.setdefault((one["port"], one["case"], one["threads"]), []).append(one)
    said = []
    for (port, case, threads), every in of_port.items():
        samples = _by_port(document, case, threads)
        pieces = int(np.median([len(one["steps"]) for one in every]))
        some = [one for one in every if len(one["steps"]) == pieces]
        if not some or port not in samples:
            continue
        times = np.array([np.divide(one["nanoseconds"], one["steps"]) for one in some])
        first_over_last = of_rounds(times[:, 0] / times[:, -1], confidence_of(document))
        if first_over_last.tie or max(first_over_last.value, 1 / first_over_last.value) < CHANGES:
            continue
        busy = float(np.mean([s.get("others", 0.0) for s in samples[port]])) > conditions.BUSY
        if busy and first_over_last.value < 1:  # others hold up the long pieces, and seldom a short one
            continue
        middle = np.median(times, axis=0)
        first, last, steps = (int(np.median([f(one["steps"]) for one in some])) for f in (min, max, sum))
        runs = {name: round(median(s["steps"] / s["runs"] for s in mine)) for name, mine in samples.items()}
        why = "" if "run" in document["cases"][case] else _set_run(runs)
        said.append(
            f"{port} on {_where(case, threads)}: the time of a step changes along the run, from {_time(middle[0])} in "
            f"the first {first:,} of {steps:,} steps to {_time(middle[-1])} in the last {last:,} {_bars(middle)}{why}"
        )
    return said


def subnormal(document: dict[str, Any]) -> list[str]:
    """Ports that were timed on numbers so small that processors take another way for them."""
    most: dict[tuple[str, int], dict[str, Any]] = {}
    for one in document["seals"]:
        if one.get("subnormal", 0) > most.get((one["case"], one["threads"]), {"subnormal": 0})["subnormal"]:
            most[one["case"], one["threads"]] = one
    return [
        f"{one['port'].removesuffix(AGAIN)} on {_where(*where)}: after {one['steps']:,} timed steps "
        f"{one['subnormal']:.0%} of the numbers of its state were subnormal, with which processors are many times "
        "slower, so that ports that come further look slower: set [compare] run to the steps of your own run"
        for where, one in most.items()
    ]


def _by_port(document: dict[str, Any], case: str, threads: int) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for s in document["samples"]:
        if (s["case"], s["threads"]) == (case, threads) and not s["port"].endswith(AGAIN):
            found.setdefault(s["port"], []).append(s)
    return found


def _set_run(runs: dict[str, int]) -> str:
    """Why, and how, to say how long a run is."""
    told = ", ".join(f"{port} {steps:,}" for port, steps in sorted(runs.items(), key=lambda r: r[1]))
    return (
        f"; the ports were timed over unlike numbers of steps ({told}), and their ratios are of unlike work: set "
        "[compare] run in the manifest to the steps of the run that you make"
    )


def _time(nanoseconds: float) -> str:
    for unit, length in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= length:
            return f"{nanoseconds / length:.3g} {unit}"
    return f"{nanoseconds:.3g} ns"


def _bars(values: np.ndarray) -> str:
    """Bars from nothing to the largest value."""
    return "".join(_BARS[round((len(_BARS) - 1) * float(v / values.max()))] for v in values)


def coarse(document: dict[str, Any]) -> list[str]:
    """Ports whose samples were made longer for the sake of their clocks."""
    found: dict[str, tuple[float, float]] = {}
    for s in document["samples"]:
        if s.get("tick") and not s["port"].endswith(AGAIN):
            part = s["tick"] * s["runs"] / (s["nanoseconds"] / 1e9) if s["nanoseconds"] else 1.0
            found[s["port"]] = (s["tick"], max(part, found.get(s["port"], (0.0, 0.0))[1]))
    return [
        f"{port} has a clock that ticks every {1e3 * tick:.3g} ms, up to {100 * part:.2g}% of a sample"
        for port, (tick, part) in found.items()
    ]


def disturbed(document: dict[str, Any]) -> list[str]:
    """Samples that were made again."""
    counts = Counter(d["port"] for d in document["disturbed"])
    if not counts:
        return []
    told = ", ".join(f"{port} {count}" for port, count in counts.most_common())
    return [
        f"{counts.total()} sample{'s were' * (counts.total() > 1) or ' was'} made again, because the harness "
        f"waited much longer than the port says that it ran, as on a busy machine, or where a port's clock counts "
        f"processor time: {told}"
    ]


def unlike(document: dict[str, Any]) -> list[str]:
    """Ratios of ports of which only one was throttled."""
    return [
        f"{row.port} over {base} on {_where(row.case, row.threads)} is undecided: a CPU quota stopped one of them for "
        "longer than the other"
        for row in rows(document)
        for base in row.unlike
    ]


def too_few_rounds(document: dict[str, Any]) -> list[str]:
    """An explicit budget may have had no room for three."""
    if not document["measured"] or document["measured"][-1]["rounds"] >= LEAST_ROUNDS or not document["rounds"]:
        return []
    made, budget = document["measured"][-1]["rounds"], document["measured"][-1]["budget"]
    longest = max(r["seconds"] for r in document["rounds"])
    what = "there are no intervals (±?)" if made < 2 else "intervals are very wide"
    return [
        f"The budget of {budget:g} s had no room for {LEAST_ROUNDS} rounds, of which one took {longest:.0f} s: after "
        f"{made} {what}; --budget 0 makes just these, however long they take"
    ]


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
    every = [
        (r, base, e)
        for r in rows(document)
        for base, e in _ratios(document, r)
        if e is not None and base not in r.unlike
    ]
    wide = [(e.uncertainty, r, base) for r, base, e in every if not e.uncertainty <= precision]
    if not wide:
        return []
    known, row, base = max(wide, key=lambda w: w[0])
    return [
        f"When the time was up, {len(wide)} ratio{'s were' * (len(wide) > 1) or ' was'} not known to "
        f"±{100 * precision:.2g}%, the least {row.port} over {base} on {_where(row.case, row.threads)}, "
        + (f"to ±{100 * known:{'.0f' if known >= 0.1 else '.2g'}}%" if math.isfinite(known) else "not at all")
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

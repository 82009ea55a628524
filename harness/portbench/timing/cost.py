"""What a whole run costs: time(N, steps) = once(N) + steps * per_step(N), from a session's phases and samples.

`once` is what every run pays before its first step: the process starts, compiles what it does not keep, and loads.
Each round has fresh processes and so a time of its own for all of it; the interval is that of the rounds' totals.
A process serves several cases, and only the first of them pays for compiling: what that case took longer than in
rounds where another came first is held to be the same for all cases. What is paid once for all runs, a build and the
very first compilation, is not in it: a port's first round is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from portbench import session
from portbench.timing.statistics import Estimate, estimate


@dataclass(frozen=True)
class Cost:
    """`rounds` has a row for each round of fresh processes, and the columns once and per_step, in seconds."""

    rounds: pd.DataFrame

    def once(self, confidence: float) -> Estimate:
        return estimate(self.rounds["once"].to_numpy(), confidence)

    def per_step(self, confidence: float) -> Estimate:
        return estimate(self.rounds["per_step"].to_numpy(), confidence)

    def total(self, steps: float, confidence: float) -> Estimate:
        return estimate((self.rounds["once"] + steps * self.rounds["per_step"]).to_numpy(), confidence)

    def pays_from(self, other: Cost) -> float:
        """The number of steps from which a run takes less time than with `other`, by the medians: 0 if always,
        infinite if never or only for short runs.
        """
        mine, others = self.rounds.median(), other.rounds.median()
        gain = others["per_step"] - mine["per_step"]
        return max(0.0, (mine["once"] - others["once"]) / gain) if gain > 0 else np.inf


def costs(document: dict[str, Any], port: str, threads: int) -> dict[str, Cost]:
    """By case; only of cases that ran in a round where the port's compiled code was kept from an earlier one."""
    phases = pd.DataFrame(
        document["phases"], columns=["port", "threads", "round", "case", "phase", "nanoseconds", "cold", "fresh"]
    )
    phases = phases[(phases["port"] == port) & (phases["threads"] == threads)]
    phases = phases[~phases["round"].isin(phases[phases["cold"].astype(bool)]["round"])]
    if phases.empty:
        return {}
    seconds = phases["nanoseconds"] / 1e9
    start = seconds[phases["phase"] == "start"].groupby(phases["round"]).first()
    ready = phases["phase"].isin(["load", "first_call"])
    fresh = ready & phases["fresh"].astype(bool)
    loading = seconds[ready & ~fresh].groupby([phases["case"], phases["round"]]).sum().groupby("case").median()
    first = seconds[fresh].groupby([phases["round"], phases["case"]]).sum().reset_index("case")
    compiling = first.iloc[:, 1] - first["case"].map(loading).fillna(0.0)
    begun = start + compiling.clip(lower=0.0).groupby("round").first()
    samples = session.samples(document)
    samples = samples[(samples["port"] == port) & (samples["threads"] == threads)]
    found = {}
    for case, mine in samples.groupby("case"):
        per_step = mine.groupby("round")["ns_per_step"].median() / 1e9
        once = (begun + loading.get(case, 0.0) - per_step).clip(lower=1e-9)  # the first call took a step
        rounds = pd.DataFrame({"once": once, "per_step": per_step}).dropna()
        if len(rounds):
            found[str(case)] = Cost(rounds)
    return found


def at_size(size: float, known: dict[int, Cost]) -> Cost:
    """Between two sizes that were measured, along a power law in each round; ValueError outside them."""
    sizes = sorted(known)
    if not sizes[0] <= size <= sizes[-1]:
        raise ValueError(f"{size:g} is not between {sizes[0]:,} and {sizes[-1]:,}")
    shared = set.intersection(*(set(known[n].rounds.index) for n in sizes))
    rounds = sorted(shared)
    if not rounds:
        raise ValueError("no round has all sizes")
    least = np.finfo(float).tiny

    def between(name: str) -> list[float]:
        table = np.log([[max(known[n].rounds[name][r], least) for n in sizes] for r in rounds])
        return [float(np.exp(np.interp(np.log(size), np.log(sizes), one))) for one in table]

    return Cost(pd.DataFrame({"once": between("once"), "per_step": between("per_step")}, index=rounds))

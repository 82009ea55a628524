"""What a whole run costs: time(N, steps) = once(N) + steps * per_step(N), from a session's phases and samples.

`once` is what every run pays beside its steps: the process starts, compiles what it does not keep, loads, and ends;
to save what came of it is not in it. Each round has fresh processes, and so a time of its own for all of it; the
interval is that of the rounds' totals. A process serves several cases, and only the first of them pays for compiling:
what that one took longer to load and make a step than in the median of the rounds where another came first, is added
to all that come after it. What is paid once for all runs, a build and the very first compilation, is not in it: a
port's first round is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from portbench import session
from portbench.timing.statistics import Estimate, estimate

if TYPE_CHECKING:  # importing pandas takes longer than most commands
    import pandas as pd


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

    def pays(self, other: Cost, confidence: float) -> tuple[float, float] | None:
        """The numbers of steps between which a run takes less time than with `other`, by the medians of the rounds
        that both have: from 0 if always, to infinity; twice 0 if never. None if it is not known which steps faster.
        """
        both = self.rounds.join(other.rounds.add_suffix(" of the other"), how="inner")
        if both.empty:
            return None
        ratio = estimate((both["per_step of the other"] / both["per_step"]).to_numpy(), confidence)
        if ratio.tie:
            return None
        later = float((both["once"] - both["once of the other"]).median())
        gain = float((both["per_step of the other"] - both["per_step"]).median())
        meet = max(0.0, later / gain)
        return (meet, np.inf) if ratio.low > 1 else (0.0, meet)


def costs(document: dict[str, Any], port: str, threads: int) -> dict[str, Cost]:
    """By case; only of cases that ran in a round where the port's compiled code was kept from an earlier one."""
    import pandas as pd

    phases = pd.DataFrame(
        document["phases"], columns=["port", "threads", "round", "case", "phase", "nanoseconds", "cold", "fresh"]
    )
    phases = phases[(phases["port"] == port) & (phases["threads"] == threads)]
    phases = phases[~phases["round"].isin(phases[phases["cold"].astype(bool)]["round"])]
    if phases.empty:
        return {}
    seconds = phases["nanoseconds"] / 1e9
    here = phases["phase"].isin(["start", "teardown"])
    around = seconds[here].groupby([phases["round"], phases["phase"]]).first().groupby("round").sum()
    ready = phases["phase"].isin(["load", "first_call"])
    fresh = ready & phases["fresh"].astype(bool)
    loading = seconds[ready].groupby([phases["case"], phases["round"]]).sum()
    after = seconds[ready & ~fresh].groupby([phases["case"], phases["round"]]).sum().groupby("case").median()
    first = seconds[fresh].groupby([phases["round"], phases["case"]]).sum().reset_index("case")
    compiling = (first.iloc[:, 1] - first["case"].map(after)).clip(lower=0.0).groupby("round").first()
    came_first = first["case"].groupby("round").first()
    samples = session.samples(document)
    samples = samples[(samples["port"] == port) & (samples["threads"] == threads)]
    found = {}
    for case, mine in samples.groupby("case"):
        if case not in loading:
            continue  # timed in rounds alone in which something was compiled
        per_step = mine.groupby("round")["ns_per_step"].median() / 1e9
        compiled_before = compiling.where(came_first != case, 0.0)
        once = around + loading[case] + compiled_before - per_step  # the first call took a step
        rounds = pd.DataFrame({"once": once.clip(lower=1e-9), "per_step": per_step}).dropna()
        if len(rounds):
            found[str(case)] = Cost(rounds)
    return found


def at_size(size: float, known: dict[int, Cost]) -> Cost:
    """Between two sizes that were measured, along a power law in each round that has all of them; ValueError outside
    them."""
    import pandas as pd

    sizes = sorted(known)
    if not sizes[0] <= size <= sizes[-1]:
        raise ValueError(f"{size:g} is not between {sizes[0]:,} and {sizes[-1]:,}")
    rounds = sorted(set.intersection(*(set(known[n].rounds.index) for n in sizes)))
    least = np.finfo(float).tiny

    def between(name: str) -> list[float]:
        table = np.log([[max(known[n].rounds[name][r], least) for n in sizes] for r in rounds])
        return [float(np.exp(np.interp(np.log(size), np.log(sizes), one))) for one in table]

    return Cost(pd.DataFrame({"once": between("once"), "per_step": between("per_step")}, index=rounds))

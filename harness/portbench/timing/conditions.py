"""What the machine did while a sample was taken, and the processors that every port is kept on.

All is read before and after a run, never during one, so that it costs the measured port nothing.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from portbench.protocol import RunningPort

_CPU = Path("/sys/devices/system/cpu")
_CGROUPS = Path("/sys/fs/cgroup")
# What tells fast cores from slow ones, the best first: of ARM's kinds, of firmware's ranks, of all others.
_SPEEDS = ("cpu_capacity", "acpi_cppc/highest_perf", "cpufreq/cpuinfo_max_freq")
SLOW = 0.9  # of the fastest core's speed: one below it is of another kind
BUSY = 0.25  # processors that others keep busy, from which on a figure deserves a remark
STOLEN = 0.02  # processors that the hypervisor takes away
THROTTLED = 0.02  # processors that a quota takes away
UNLIKE = 0.1  # processors by which two ports' throttling may differ
FELL = 0.9  # of the frequency of the first round
IDLE = 0.6  # of its threads' processors: a port that uses less has fewer threads, or waits
# Drivers under which the governor "powersave" does not mean the lowest frequency.
_SELF_GOVERNED = ("intel_pstate", "amd-pstate-epp")


def processors(threads: int) -> list[int]:
    """The processors for a port of so many threads, alike for all ports: one a core as long as there are cores, fast
    cores first, and of equal ones the first core last, since systems like to work there. Empty where processes cannot
    be kept on processors (macOS).
    """
    if not hasattr(os, "sched_getaffinity"):
        return []
    here = sorted(os.sched_getaffinity(0), reverse=True)
    if threads >= len(here):
        return here
    cores: dict[str, list[int]] = {}
    for one in here:
        where = [_read(_CPU / f"cpu{one}/topology/{name}") for name in ("physical_package_id", "core_id")]
        cores.setdefault("/".join(where) if all(where) else str(one), []).append(one)
    speed = speeds(here)
    fast_first = sorted(cores.values(), key=lambda core: -speed.get(core[0], 1.0))
    siblings_last = [one[k] for k in range(max(map(len, fast_first))) for one in fast_first if k < len(one)]
    return sorted(siblings_last[:threads])


def speeds(some: list[int]) -> dict[int, float]:
    """Of processors, as a part of the fastest one's of this machine; empty where the system does not tell."""
    for name in _SPEEDS:
        every = {path.name[3:]: _read(path / name) for path in _CPU.glob("cpu[0-9]*")}
        told = {int(number): float(text) for number, text in every.items() if number.isdecimal() and text.isdecimal()}
        if all(one in told for one in some) and max(told.values(), default=0) > 0:
            return {one: told[one] / max(told.values()) for one in some}
    return {}


def family(port: RunningPort) -> list[psutil.Process]:
    """A port's process and its children. To find them takes milliseconds: not for every sample."""
    with suppress(psutil.Error):
        process = psutil.Process(port.process.pid)
        return [process, *process.children(recursive=True)]
    return []


def spent(processes: list[psutil.Process]) -> float:
    """Seconds of processor time so far, with that of their children that have ended; in steps of 0.01 s on Linux."""
    total = 0.0
    for one in processes:
        with suppress(psutil.Error):
            times = one.cpu_times()
            total += times.user + times.system
            total += getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return total


def strayed(processes: list[psutil.Process], given: list[int]) -> list[int]:
    """Processors beside the given ones on which a thread of these processes may run."""
    found: set[int] = set()
    for one in processes if given else []:
        with suppress(psutil.Error, OSError):
            for thread in one.threads():
                found |= os.sched_getaffinity(thread.id)
    return sorted(found - set(given))


@dataclass(frozen=True)
class Watch:
    """The clocks of the machine and of a port's processes at one moment, in seconds; or what passed between two."""

    port: float = 0.0
    harness: float = 0.0
    busy: float = 0.0
    stolen: float = 0.0
    throttled: float = 0.0  # by the quota of this control group
    overheated: float = 0.0  # times that the processors slowed down because of heat

    @classmethod
    def now(cls, processes: list[psutil.Process], given: list[int] | None = None) -> Watch:
        """`given`: the processors of which heat is asked."""
        of_port = spent(processes)
        all_of_them, own = psutil.cpu_times(), os.times()
        idle = all_of_them.idle + getattr(all_of_them, "iowait", 0.0)
        stolen = getattr(all_of_them, "steal", 0.0)
        # guests are counted in user already
        every = sum(all_of_them) - getattr(all_of_them, "guest", 0.0) - getattr(all_of_them, "guest_nice", 0.0)
        hot = sum(float(_read(_CPU / f"cpu{n}/thermal_throttle/core_throttle_count") or 0) for n in given or [])
        return cls(of_port, own.user + own.system, every - idle - stolen, stolen, throttled(), hot)

    def __sub__(self, before: Watch) -> Watch:
        return Watch(*(a - b for a, b in zip(astuple(self), astuple(before))))

    def __add__(self, more: Watch) -> Watch:
        return Watch(*(a + b for a, b in zip(astuple(self), astuple(more))))

    def until(self, later: Watch, seconds: float) -> dict[str, float]:
        return (later - self).over(seconds)

    def over(self, seconds: float) -> dict[str, float]:
        """Processors that this port, all others, and the hypervisor used in so many seconds, and that a quota took
        away, on average; and how often it became too hot.
        """
        others = self.busy - self.port - self.harness
        return {
            "cpu": self.port / seconds,
            "others": max(0.0, others / seconds),
            "stolen": max(0.0, self.stolen / seconds),
            "throttled": max(0.0, self.throttled / seconds),
            **({"overheated": self.overheated} if self.overheated > 0 else {}),
        }


def disturbed(used: dict[str, float]) -> bool:
    """Whether others, the hypervisor or a quota took processors away: of what Watch.over() says."""
    return used["others"] > BUSY or used["stolen"] > STOLEN or used["throttled"] > THROTTLED


def throttled() -> float:
    """Seconds for which the quotas of this process's control groups have stopped processors so far."""
    total = 0.0
    for file in _groups():
        said = dict(line.split(maxsplit=1) for line in _read(file / "cpu.stat").splitlines() if " " in line)
        # in microseconds in version 2, in nanoseconds in version 1
        total += float(said.get("throttled_usec", 0)) / 1e6 + float(said.get("throttled_time", 0)) / 1e9
    return total


def quota() -> float | None:
    """Processors that the control groups of this process may use on average; None without a limit."""
    found = []
    for file in _groups():
        limit = _read(file / "cpu.max").split() or [_read(file / f"cpu.cfs_{n}_us") for n in ("quota", "period")]
        if len(limit) == 2 and all(one.isdecimal() for one in limit) and int(limit[1]):
            found.append(int(limit[0]) / int(limit[1]))
    return min(found, default=None)


@cache
def _groups() -> list[Path]:
    return control_groups(_read(Path("/proc/self/cgroup")), _CGROUPS)


def control_groups(said: str, mounted: Path) -> list[Path]:
    """The folders, of version 1 or 2, in which the quotas of a process are: its own group and all above it."""
    found = []
    for line in said.splitlines():
        _, controllers, inside = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        for top in (mounted / controllers, mounted / "cpu") if controllers else (mounted, mounted / "unified"):
            group = top / inside.strip("/")
            found += [g for g in [group, *group.parents] if g.is_relative_to(top) and (g / "cpu.stat").is_file()]
    return list(dict.fromkeys(found))


def megahertz(given: list[int]) -> float | None:
    """Of the first of these processors, at this moment; None where the system does not tell."""
    text = _read(_CPU / f"cpu{given[0]}/cpufreq/scaling_cur_freq") if given else ""
    return float(text) / 1e3 if text.isdecimal() else None


def of_the_machine(threads: list[int]) -> dict[str, Any]:
    """What changes slowly: read once a round. What this system does not tell is left out."""
    found: dict[str, Any] = {"load": psutil.getloadavg()[0]}
    given = [(count, processors(count)) for count in threads]
    found["processors"] = [
        {"threads": count, "given": some, "speeds": list(speeds(some).values())} for count, some in given if some
    ]
    allowed = quota()
    if allowed is not None:
        found["quota"] = allowed
    first = next((some[0] for _, some in given if some), 0)
    driver = _read(_CPU / f"cpu{first}/cpufreq/scaling_driver")
    if driver:
        found["driver"] = driver
    governor = _read(_CPU / f"cpu{first}/cpufreq/scaling_governor")
    boost = _read(_CPU / "cpufreq/boost")
    no_turbo = _read(_CPU / "intel_pstate/no_turbo")
    running = _read(Path("/proc/loadavg"))
    if governor:
        found["governor"] = governor
    if boost or no_turbo:
        found["turbo"] = boost == "1" or no_turbo == "0"
    if running:
        found["runnable"] = int(running.split()[3].split("/")[0])
    with suppress(OSError, RuntimeError, AttributeError, NotImplementedError):
        frequency = psutil.cpu_freq()
        if frequency and frequency.current:
            found["megahertz"] = frequency.current
    with suppress(OSError, RuntimeError, AttributeError):
        warmest = [s.current for some in psutil.sensors_temperatures().values() for s in some if s.current]
        if warmest:
            found["celsius"] = max(warmest)
    return found


def remarks(document: dict[str, Any]) -> list[str]:
    """Sentences on conditions that make the figures of a session doubtful."""
    return [
        sentence
        for sentence in (
            _disturbance(document),
            *_cores(document),
            *_idle_threads(document),
            _frequency(document),
            _heat(document),
            _governor(document),
        )
        if sentence
    ]


def unlike(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> bool:
    """Whether a quota stopped one of these two ports' samples and not the other's: then their ratio is of the quota."""
    some, more = (float(np.median([s.get("throttled", 0.0) for s in samples])) for samples in (one, other))
    return abs(some - more) > UNLIKE


def _disturbance(document: dict[str, Any]) -> str:
    samples = [s for s in document["samples"] if "others" in s]
    if not samples:
        return ""
    others, stolen, stopped = (
        float(np.mean([s.get(name, 0.0) for s in samples])) for name in ("others", "stolen", "throttled")
    )
    complaints = []
    if others > BUSY:
        complaints.append(f"other programs kept {others:.1f} processors busy")
    if stolen > STOLEN:
        complaints.append(f"the hypervisor took {stolen:.2f} processors away")
    if stopped > THROTTLED:
        allowed = [c["quota"] for c in document["conditions"] if "quota" in c]
        limit = f" of {allowed[-1]:.3g} processors" if allowed else ""
        complaints.append(f"the CPU quota{limit} of this container (its cgroup) throttled {stopped:.2f} processors")
    return f"Conditions were bad: {' and '.join(complaints)}" if complaints else ""


def _cores(document: dict[str, Any]) -> list[str]:
    """Slow cores, cores of several kinds, and more threads than processors."""
    said = []
    for one in _processors(document):
        count, given, speed = one["threads"], one["given"], one["speeds"]
        where = f"On {count} thread{'s' * (count > 1)} ports ran"
        if count > len(given):
            said.append(f"{where} on {len(given)} processor{'s' * (len(given) > 1)}, which is fewer than threads")
        if speed and min(speed) < SLOW:
            slow = [number for number, part in zip(given, speed) if part < SLOW]
            kind = "efficiency cores only" if len(slow) == len(given) else "cores of unlike speed"
            listed = ", ".join(map(str, slow))
            said.append(f"{where} on {kind}: processor {listed} has {min(speed):.0%} of the fastest core's speed")
    return said


def _idle_threads(document: dict[str, Any]) -> list[str]:
    """Ports that left most of the processors of their threads idle."""
    uses = {p["name"] for p in document["ports"] if p["uses_threads"]}
    said = []
    for one in _processors(document):
        count, most = one["threads"], min(one["threads"], len(one["given"]))
        of_port: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for s in document["samples"]:
            if s["threads"] == count > 1 and s["port"] in uses and "cpu" in s:
                of_port.setdefault((s["port"], s["case"]), []).append(s)
        for (port, case), some in of_port.items():
            used = float(np.median([s["cpu"] for s in some]))
            if used < IDLE * most and not any(s["others"] > BUSY or s.get("throttled", 0) > THROTTLED for s in some):
                said.append(
                    f"{port} on {case}, {count} threads, kept {used:.1f} of {most} processors busy: its threads wait "
                    "for one another, or it has fewer than it says (an OMP_THREAD_LIMIT?)"
                )
    return said


def _processors(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Of the last round that has each thread count; empty in sessions of an earlier portbench."""
    found = {one["threads"]: one for c in document["conditions"] for one in c.get("processors", [])}
    return list(found.values())


def _frequency(document: dict[str, Any]) -> str:
    rounds: dict[int, list[float]] = {}
    for s in document["samples"]:
        if "megahertz" in s:
            rounds.setdefault(s["round"], []).append(s["megahertz"])
    medians = [float(np.median(rounds[n])) for n in sorted(rounds)]
    if not medians or min(medians) >= FELL * medians[0]:
        return ""
    return f"The processor's frequency fell from {medians[0]:,.0f} MHz in the first round to {min(medians):,.0f} MHz"


def _heat(document: dict[str, Any]) -> str:
    hot = [s for s in document["samples"] if s.get("overheated")]
    if not hot:
        return ""
    return f"The processor was too hot in {len(hot)} of {len(document['samples'])} samples, and slowed itself down"


def _governor(document: dict[str, Any]) -> str:
    slow = [c for c in document["conditions"] if c.get("governor") == "powersave" and "driver" in c]
    if not any(c["driver"] not in _SELF_GOVERNED for c in slow):
        return ""
    return "The frequency governor was powersave, which keeps the processor at its lowest frequency"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""

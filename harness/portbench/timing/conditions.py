"""What the machine did while a sample was taken, and the processors that every port is kept on.

All is read before and after a run, never during one, so that it costs the measured port nothing.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from portbench.protocol import RunningPort

_CPU = Path("/sys/devices/system/cpu")
BUSY = 0.25  # processors that others keep busy, from which on a figure deserves a remark
STOLEN = 0.02  # processors that the hypervisor takes away


def processors(threads: int) -> list[int]:
    """The processors for a port of so many threads, alike for all ports: one a core as long as there are cores, the
    first core last, since systems like to work there. Empty where processes cannot be kept on processors (macOS).
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
    siblings_last = [one[k] for k in range(max(map(len, cores.values()))) for one in cores.values() if k < len(one)]
    return sorted(siblings_last[:threads])


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
    """The clocks of the machine and of a port's processes at one moment, in seconds."""

    port: float
    harness: float
    busy: float
    stolen: float

    @classmethod
    def now(cls, processes: list[psutil.Process]) -> Watch:
        of_port = spent(processes)
        all_of_them, own = psutil.cpu_times(), os.times()
        idle = all_of_them.idle + getattr(all_of_them, "iowait", 0.0)
        stolen = getattr(all_of_them, "steal", 0.0)
        # guests are counted in user already
        every = sum(all_of_them) - getattr(all_of_them, "guest", 0.0) - getattr(all_of_them, "guest_nice", 0.0)
        return cls(of_port, own.user + own.system, every - idle - stolen, stolen)

    def until(self, later: Watch, seconds: float) -> dict[str, float]:
        """Processors that this port, all others, and the hypervisor used meanwhile, on average."""
        of_port = later.port - self.port
        others = later.busy - self.busy - of_port - (later.harness - self.harness)
        return {
            "cpu": of_port / seconds,
            "others": max(0.0, others / seconds),
            "stolen": max(0.0, (later.stolen - self.stolen) / seconds),
        }


def of_the_machine() -> dict[str, Any]:
    """What changes slowly: read once a round. What this system does not tell is left out."""
    found: dict[str, Any] = {"load": psutil.getloadavg()[0]}
    governor = _read(_CPU / "cpu0/cpufreq/scaling_governor")
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


def remark(document: dict[str, Any]) -> str:
    """A sentence on conditions that make the figures of a session doubtful; empty if there is none."""
    samples = [s for s in document["samples"] if "others" in s]
    if not samples:
        return ""
    others, stolen = (float(np.mean([s[name] for s in samples])) for name in ("others", "stolen"))
    complaints = []
    if others > BUSY:
        complaints.append(f"other programs kept {others:.1f} processors busy")
    if stolen > STOLEN:
        complaints.append(f"the hypervisor took {stolen:.2f} processors away")
    return f"Conditions were bad: {' and '.join(complaints)}" if complaints else ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""

"""What is usable here, what is missing or broken, and how to get it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

from portbench import hosts
from portbench.errors import PortFailure
from portbench.hosts import environment
from portbench.manifest import Manifest, Port
from portbench.session import machine

PATIENCE = 600  # seconds for a port's start


@dataclass(frozen=True)
class Finding:
    what: str
    usable: bool
    detail: str
    broken: bool = False  # what it needs is there, and does not work


def examine(manifest: Manifest) -> list[Finding]:
    """One finding per port, and a few about the machine."""
    facts = machine()
    vectors = ", ".join(facts["vectors"][:1]) or "no vector extensions known"
    found = [
        Finding("machine", True, f"{facts['processor']}, {facts['logical_cores']} cores, {vectors}"),
        Finding("python", True, f"Python {facts['python']}, NumPy {facts['numpy']}"),
    ]
    linker = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    needs = [p.name for p in manifest.ports.values() if p.host == "executable"]
    if needs:
        found.append(
            Finding("C compiler", bool(linker), linker or f"none on the PATH, and {', '.join(needs)} cannot be linked")
        )
    kept = environment.dropped()
    if kept:
        found.append(Finding("environment", True, f"kept from the ports: {', '.join(kept)}"))
    # without a Julia of one's own, a first start downloads packages: that is for `compare` to do
    quick = [p for p in manifest.choose_ports([]) if p.host != "julia" or os.environ.get("PYTHON_JULIACALL_EXE")]
    for port in manifest.ports.values():
        if port.variant_of:
            continue
        found.append(_of_port(manifest, port, tried=port in quick))
    return found


def _of_port(manifest: Manifest, port: Port, tried: bool) -> Finding:
    """What `compare` would time is built, imported and asked for its `hello`; of other ports, that their tools run."""
    what = f"port {port.name}"
    try:
        if not tried:
            return Finding(what, True, hosts.toolchain_of(manifest, port))
        ready = hosts.prepare(manifest, port)
        with hosts.start(ready, 1, PATIENCE) as running:
            running.hello()
        return Finding(what, True, ready.toolchain)
    except PortFailure as failure:
        return Finding(what, False, failure.sentence, broken=failure.kind != "missing")

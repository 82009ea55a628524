"""What is usable here, what is missing, and how to get it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from portbench import hosts
from portbench.errors import PortFailure
from portbench.manifest import Manifest
from portbench.session import machine


@dataclass(frozen=True)
class Finding:
    what: str
    usable: bool
    detail: str


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
    for port in manifest.ports.values():
        if port.variant_of:
            continue
        lack = hosts.missing(manifest, port)
        try:
            detail = lack or hosts.toolchain_version(manifest, port)
        except PortFailure as failure:
            lack = detail = failure.sentence
        found.append(Finding(f"port {port.name}", not lack, detail))
    return found

"""The main job, step by step: make the ports ready, climb the ladder, take the samples."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from portbench import contract, hosts, session
from portbench.agreement import reference
from portbench.agreement.certificate import Certificate, check
from portbench.contract import Case, Specification
from portbench.errors import PortFailure, Refusal, known
from portbench.hosts import Ready
from portbench.manifest import Manifest, Port, spec_port
from portbench.progress import Progress
from portbench.session import Session
from portbench.timing.scheduler import Block, measure


@dataclass
class Job:
    """What a person asked for, checked against the manifest, and what came of it."""

    manifest: Manifest
    specification: Specification
    ports: list[Port]
    cases: list[Case]
    threads: list[int]
    asked_for: list[str]  # ports that must be there: named on the command line or in PORTBENCH_REQUIRE
    ready: list[Ready] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    certificates: list[Certificate] = field(default_factory=list)

    @property
    def held(self) -> bool:
        """Whether everything that was asked for is so."""
        return all(c.holds for c in self.certificates) and not set(self.missing) & set(self.asked_for)


def plan(manifest: Manifest, ports: list[str], cases: list[str], threads: list[int]) -> Job:
    """Refusal, in one sentence, if any of it cannot be."""
    specification = contract.load(manifest)
    if not manifest.ports:
        raise Refusal(f"{manifest.path} has no [ports.NAME] table: there is nothing to compare")
    names = cases or manifest.compare.cases or list(specification.module.CASES)[:1]
    required = os.environ.get("PORTBENCH_REQUIRE", "").replace(",", " ").split()
    known("port", required, manifest.ports)
    chosen = manifest.choose_ports(ports)
    if any(n < 1 for n in threads):
        raise Refusal(f"--threads {min(threads)} must be at least 1")
    return Job(
        manifest=manifest,
        specification=specification,
        ports=chosen,
        cases=specification.cases(names, manifest.cases),
        threads=list(dict.fromkeys(threads)) or [1],
        asked_for=[*ports, *(name for name in required if name in [p.name for p in chosen])],
    )


def prepare(job: Job, progress: Progress) -> None:
    """Build and find; a missing toolchain is a line, never the end."""
    with progress.task("preparing the ports", len(job.ports)) as task:
        for port in job.ports:
            task.now(port.name)
            try:
                job.ready.append(hosts.prepare(job.manifest, port))
            except PortFailure as failure:
                job.missing[port.name] = failure.sentence
                progress.line(f"{port.name}: {failure.sentence}")
            task.step()


def certify(job: Job, progress: Progress, journal: Session | None = None, remembered: bool = False) -> None:
    """Climb the ladder with every port, on every case and thread count; `remembered` trusts matching certificates."""
    for case in job.cases:
        made: reference.Reference | None = None
        todo = [
            (ready, n)
            for ready in job.ready
            for n in dict.fromkeys(n if ready.port.threads else 1 for n in job.threads)
        ]
        with progress.task(f"checking on {case.name}", len(todo)) as task:
            for ready, threads in todo:
                file = _certificate_file(job, ready, case, threads)
                certificate = _remembered(file) if remembered else None
                if certificate is None:
                    if made is None:
                        with progress.task(f"rounding twins of {case.name}", 1.0) as twin_task:
                            try:
                                made = reference.make(job.manifest, job.specification, case, twin_task.set)
                            finally:
                                reference.release()
                    task.now(f"{ready.port.name}, {threads} threads" if threads > 1 else ready.port.name)
                    certificate = check(ready, job.specification, made, threads)
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(json.dumps(session.plain(certificate.as_json())))
                    if not certificate.holds:
                        progress.line(f"{ready.port.name} fails on {case.name}: {certificate.finding}")
                job.certificates.append(certificate)
                if journal:
                    journal.record("certificate", **certificate.as_json(), finding=certificate.finding)
                task.step()


def _certificate_file(job: Job, ready: Ready, case: Case, threads: int) -> Path:
    """Named by everything that a certificate depends on: another source, case or thread count has another file."""
    digest = hosts.build.hash_text(
        ready.sources_hash,
        job.specification.source.read_text(encoding="utf-8"),
        session.plain(case.parameters),
        job.manifest.check.steps,
        threads,
    )
    return hosts.build.cache_folder() / "certificates" / f"{ready.port.name}-{case.name}-{digest[:16]}.json"


def _remembered(file: Path) -> Certificate | None:
    try:
        return Certificate.from_json(json.loads(file.read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def take_samples(job: Job, journal: Session, progress: Progress, budget: float, seed: int) -> None:
    """Time the specification and every port that holds a certificate."""
    spec = hosts.prepare(job.manifest, spec_port(job.manifest, job.specification.source))
    holds = {(c.port, c.case, c.threads) for c in job.certificates if c.holds}
    blocks = []
    for case in job.cases:
        for threads in job.threads:
            ports = [r for r in job.ready if (r.port.name, case.name, threads if r.port.threads else 1) in holds]
            if ports:
                blocks.append(Block(case, threads, [spec, *ports]))
    if not blocks:
        return
    with progress.task(f"taking samples for {budget:g} s", 1.0) as task:

        def tell(share: float, text: str) -> None:
            task.set(share)
            task.now(text)

        measure(blocks, job.specification, journal, budget, seed, tell)


def header(job: Job, command: str) -> dict[str, Any]:
    """What a session says before its first record."""
    return {
        "command": command,
        "project": job.manifest.project.name,
        "baseline": job.manifest.compare.baseline,
        "unit": job.specification.work_name,
        "threads": job.threads,
        "cases": {
            c.name: {"parameters": c.parameters, "work": job.specification.work(c.parameters)} for c in job.cases
        },
        "machine": session.machine(),
    }


def record_ports(job: Job, journal: Session) -> None:
    """What each port is and was allowed, and what it lacks."""
    ready = {r.port.name: r for r in job.ready}
    for port in [spec_port(job.manifest, job.specification.source), *job.ports]:
        made = ready.get(port.name)
        journal.record(
            "port",
            name=port.name,
            host=port.host,
            language=port.language,
            summary=port.summary,
            precision=port.precision,
            allowed=port.allowed,
            uses_threads=port.threads,
            missing=job.missing.get(port.name, ""),
            toolchain=made.toolchain if made else "",
            sources_hash=made.sources_hash if made else "",
            build_command=made.build_command if made else "",
            build_seconds=made.build_seconds if made else None,
        )

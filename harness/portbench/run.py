"""The main job, step by step: make the ports ready, climb the ladder, take the samples."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from portbench import __version__, cache, contract, examination, hosts, places, session
from portbench.agreement import certificate, equivalence, faults, invariants, mutants, races, reference, twins
from portbench.agreement.certificate import Certificate
from portbench.agreement.equivalence import Ensemble
from portbench.agreement.invariants import Invariants
from portbench.agreement.levels import Verdict
from portbench.agreement.mutants import Outcome
from portbench.agreement.races import Hunt
from portbench.agreement.reference import Oracle, Reference
from portbench.agreement.sensitivity import sensitivity
from portbench.contract import Case, Specification
from portbench.errors import PortFailure, Refusal, known
from portbench.hosts import Ready, environment
from portbench.manifest import Manifest, Port, check_names, spec_port
from portbench.progress import Progress
from portbench.protocol import Exchange
from portbench.session import Session
from portbench.timing import selfcheck
from portbench.timing.scheduler import Block, Plan, measure


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
    missing: dict[str, str] = field(default_factory=dict)  # what is not installed, by port
    broken: dict[str, str] = field(default_factory=dict)  # why what is there cannot be built or started, by port
    certificates: list[Certificate] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)  # on the specification, for the reader
    level: str = certificate.NEEDED  # to which the ladder is climbed

    @property
    def held(self) -> bool:
        """Whether everything that was asked for is so."""
        return all(c.holds for c in self.certificates) and self.all_there

    @property
    def all_there(self) -> bool:
        """What is not installed is no failure, unless it was asked for by name; what is broken is one."""
        return not self.broken and not set(self.missing) & set(self.asked_for)


def plan(
    manifest: Manifest,
    ports: list[str],
    cases: list[str],
    threads: list[int],
    seeds: int = 0,
    variants: bool = False,
    quiet: bool = True,
) -> Job:
    """Refusal, in one sentence, if any of it cannot be. With `seeds`, each case with seed = 1 ... seeds; with
    `variants`, each port with its own.
    """
    cache.hold()
    specification = contract.load(manifest)
    if not manifest.ports:
        raise Refusal(f"{manifest.path} has no [ports.NAME] table: there is nothing to compare")
    check_names("case", specification.module.CASES)
    _know_its_cases(manifest, specification)
    names = cases or manifest.compare.cases or list(specification.module.CASES)[:1]
    own = dict(manifest.cases)
    if seeds:
        known("case", names, {**specification.module.CASES, **own})
        names = [f"{name}#{seed}" for name in names for seed in range(1, seeds + 1)]
        own |= {name: {"base": name.partition("#")[0], "seed": int(name.partition("#")[2])} for name in names}
    required = os.environ.get("PORTBENCH_REQUIRE", "").replace(",", " ").split()
    known("port", required, manifest.ports)
    chosen = manifest.choose_ports(manifest.with_variants(ports) if variants else ports)
    for port in chosen:
        for name in port.refuses:
            if name not in specification.probes(float):
                raise Refusal(f"[ports.{port.name}] refuses the probe '{name}', which the specification does not have")
    if any(n < 1 for n in threads):
        raise Refusal(f"--threads {min(threads)} must be at least 1")
    asked = specification.cases(names, own)
    with Progress(quiet) as progress, progress.task("examining the specification", 1, short=True):
        remarks = examination.examine(specification, asked)
    return Job(
        manifest=manifest,
        specification=specification,
        ports=chosen,
        cases=asked,
        threads=list(dict.fromkeys(threads)) or [1],
        asked_for=[*ports, *(name for name in required if name in [p.name for p in chosen])],
        remarks=remarks,
    )


def _know_its_cases(manifest: Manifest, specification: Specification) -> None:
    """Refusal of a case that the manifest names and that is nowhere: what it says of it would never be heeded."""
    run = manifest.compare.run
    named: dict[str, Iterable[str]] = {
        "[compare] cases": manifest.compare.cases,
        "[compare] run": run if isinstance(run, dict) else [],
        "[check] steps": manifest.check.steps,
        "[check] long": manifest.check.long,
        "[mutants] cases": manifest.mutants.cases,
        **{f"[cases.{n}] base": [str(case["base"])] for n, case in manifest.cases.items() if "base" in case},
    }
    for where, names in named.items():
        try:
            known("case", [n for n in names if n != "default"], {**specification.module.CASES, **manifest.cases})
        except Refusal as error:
            raise Refusal(f"{manifest.path}: {where}: {error}") from None


def prepare(job: Job, progress: Progress) -> None:
    """Build and find; a port that is missing or broken is a line, never the end."""
    for remark in job.remarks:
        progress.line(remark)
    with progress.task("preparing the ports", len(job.ports)) as task:
        for port in job.ports:
            task.now(port.name)
            try:
                job.ready.append(hosts.prepare(job.manifest, port))
            except PortFailure as failure:
                (job.missing if failure.kind == "missing" else job.broken)[port.name] = failure.sentence
                progress.line(f"{port.name}: {failure.sentence}")
            task.step()


def certify(job: Job, progress: Progress, journal: Session | None = None, remembered: bool = False) -> None:
    """Climb the ladder with every port, on every case and thread count; `remembered` trusts matching certificates."""
    asked: dict[tuple[str, str], Asked] = {}
    todo = [
        (ready, n) for ready in job.ready for n in dict.fromkeys(n if ready.port.threads else 1 for n in job.threads)
    ]
    recorded = journal.so_far()["certificates"] if journal else []
    shown = progress.task("checking", len(todo) * len(job.cases))
    with Oracle(job.manifest, job.specification) as oracle, shown as task:
        for ready, threads in todo:
            with certificate.Connection(ready, job.specification, threads) as connection:
                for case in job.cases:
                    task.now(f"{ready.port.name} on {case.name}" + (f", {threads} threads" if threads > 1 else ""))
                    proof = _remembered(job, ready, case, threads, progress) if remembered else None
                    if proof is None:
                        key = case.name, ready.port.precision
                        if key not in asked:
                            asked[key] = _questions(job, oracle, case, ready.port.precision, progress)
                        proof = _prove(job, connection, case, asked[key], progress)
                        if not proof.holds:
                            progress.line(f"{ready.port.name} fails on {case.name}: {proof.finding}")
                    job.certificates.append(proof)
                    record = session.plain({**proof.as_json(), "finding": proof.finding})
                    if journal and record not in recorded:
                        journal.record("certificate", **record)
                    task.step()


@dataclass(frozen=True)
class Asked:
    """All that a port of one precision class is asked about one case."""

    reference: Reference
    invariants: Invariants
    sensitivity: dict[str, float | None]
    ensemble: Ensemble | None = None


def _questions(job: Job, oracle: Oracle, case: Case, precision: str, progress: Progress) -> Asked:
    """What the ladder asks a port of this class: from the specification and its twins."""
    kind, name = twins.precision_class(precision), f"{case.name}, {precision}"
    steps, long = job.manifest.check.steps_of(case.name), job.manifest.check.long_of(case.name)

    def make() -> Asked:
        with progress.task(f"rounding twins of {name}", 1.0) as task:
            made = reference.make(oracle, case, kind, steps, task.set)
        with progress.task(f"invariants of {name}", 1.0) as task:
            more = invariants.make(oracle, case, made.precision, steps, long, task.set)
        seen = sensitivity(job.specification, str(job.manifest.path), made)
        if job.level != "A6":
            return Asked(made, more, seen)
        with progress.task(f"statistics of {name}", 1.0) as task:
            return Asked(made, more, seen, equivalence.make(oracle, case, kind, long, task.set))

    return oracle.remember(make, case.name, session.plain(case.parameters), precision, steps, long, job.level)


def kill(job: Job, port: str, names: list[str], progress: Progress) -> list[Outcome]:
    """The kill matrix: of the project's catalogue, or of generic faults in the stream of one port."""
    there_are = faults.FAULTS if port else mutants.catalogue(job.manifest)
    known("fault" if port else "mutant", names, there_are)  # before the specification is asked for minutes
    ready = hosts.prepare(job.manifest, job.ports[0]) if port else None
    kinds = [ready.port.precision] if ready else [mutants.precision_of(there_are[name]) for name in names or there_are]
    asked: dict[str, mutants.Asked] = {}
    with Oracle(job.manifest, job.specification) as oracle:
        for kind in dict.fromkeys(kinds):
            every = [(case, _questions(job, oracle, case, kind, progress)) for case in job.cases]
            six = job.level == "A6"
            asked[kind] = [(c, a.reference, a.invariants, partial(_statistics, a) if six else None) for c, a in every]
    with progress.task("wrong ports", len(names or there_are)) as task:
        if ready:
            return mutants.run_faults(ready, job.specification, asked[ready.port.precision], names, task.step)
        return mutants.run_catalogue(job.manifest, job.specification, asked, names, task.step)


def _statistics(asked: Asked, x: Exchange) -> Verdict:
    return equivalence.a6_equivalence(x, asked.ensemble)


def hunt(job: Job, runs: int, progress: Progress) -> list[Hunt]:
    """The race hunter, with every port on every case."""
    found = []
    for case in job.cases:
        with Oracle(job.manifest, job.specification) as oracle:
            kinds = dict.fromkeys(ready.port.precision for ready in job.ready)
            asked = {kind: _questions(job, oracle, case, kind, progress) for kind in kinds}
        with progress.task(f"hunting races on {case.name}", len(job.ready) * runs * len(job.threads)) as task:
            for ready in job.ready:
                task.now(ready.port.name)
                asked_of_it = asked[ready.port.precision].reference
                found.append(races.hunt(ready, job.specification, asked_of_it, job.threads, runs, task.step))
    return found


def _prove(job: Job, connection: certificate.Connection, case: Case, asked: Asked, progress: Progress) -> Certificate:
    ready = connection.ready

    def statistics(x: Exchange) -> Verdict:
        with progress.task(f"statistics of {ready.port.name} on {case.name}", 1.0) as task:
            return equivalence.a6_equivalence(x, asked.ensemble, task.set)

    more = statistics if job.level == "A6" else None
    made = certificate.check(connection, case, asked.reference, asked.invariants, {}, statistics=more)
    made = replace(made, sensitivity=asked.sensitivity)
    made = replace(made, identity=_identity(job, ready, case))  # now it is known what it used while it ran
    file = _certificate_file(job, ready, case, connection.threads)
    if made.holds:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(session.plain(made.as_json())))
    else:
        file.unlink(missing_ok=True)  # what failed may have been the machine's fault: it is tried again
    return made


def _identity(job: Job, ready: Ready, case: Case, before: dict[str, str] | None = None) -> dict[str, str]:
    length = [job.manifest.check.steps_of(case.name), job.manifest.check.long_of(case.name)]
    return certificate.identity(ready, job.specification, case, length, before)


def _certificate_file(job: Job, ready: Ready, case: Case, threads: int) -> Path:
    project = hosts.build.hash_text(str(job.manifest.root))[:8]
    name = hosts.build.file_name(ready.port.name, case.name, threads)
    return places.cache_folder() / "certificates" / project / f"{name}.json"


def _remembered(job: Job, ready: Ready, case: Case, threads: int, progress: Progress) -> Certificate | None:
    """The certificate from an earlier check, if it is of what would run now; a line says why where it is not."""
    try:
        file = _certificate_file(job, ready, case, threads)
        found = Certificate.from_json(json.loads(file.read_text()))
        cache.used(file)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    now = _identity(job, ready, case, found.identity)
    changed = [name for name in now if found.identity.get(name) != now[name]]
    if changed:
        what = " and ".join(changed)
        progress.line(
            f"{ready.port.name}: its certificate on {case.name} is stale: the {what} changed; it is checked again"
        )
        return None
    return found


def take_samples(job: Job, journal: Session, progress: Progress, plan: Plan) -> None:
    """Time every port that holds a certificate, and the specification where more than one step can be asked of it."""
    spec = hosts.prepare(job.manifest, spec_port(job.manifest, job.specification.source))
    holds = {(c.port, c.case, c.threads) for c in job.certificates if c.holds}
    blocks = []
    for case in job.cases:
        for threads in job.threads:
            ports = [r for r in job.ready if (r.port.name, case.name, threads if r.port.threads else 1) in holds]
            quick = job.manifest.check.steps_of(case.name) > 1
            if ports:
                run = job.manifest.compare.run_of(case.name)
                blocks.append(Block(case, threads, [*([spec] if quick else []), *ports], run))
    if not blocks:
        return
    with progress.task(f"taking samples for {plan.budget:g} s", 1.0) as task:

        def tell(share: float, text: str) -> None:
            task.set(share)
            task.now(text)

        measure(blocks, job.specification, journal, plan, tell)


def check_itself(job: Job, plan: Plan, tries: int, journal: Path, progress: Progress) -> selfcheck.Journal:
    """The measuring engine, with the first port on the first case. Tries in the journal are not made again."""
    ready, case = hosts.prepare(job.manifest, job.ports[0]), job.cases[0]
    here = session.machine()
    asked = {
        "port": ready.port.name,
        "case": case.name,
        "parameters": case.parameters,
        "sources": [ready.sources_hash, _spec_hash(job)],
        "plan": [plan.budget, plan.precision, plan.sample, *selfcheck.PLANTED],
        "machine": [here["processor"], here["logical_cores"]],
        "portbench": __version__,
    }
    kept = selfcheck.Journal(journal, session.plain(asked))
    left = len(set(range(tries)) - {one.number for one in kept.tries})
    if left:
        progress.line(selfcheck.forecast(left, plan))
    with progress.task(f"measuring {ready.port.name} beside itself", tries) as task:

        def done(one: selfcheck.Try) -> None:
            kept.add(one)
            task.step()

        made = {one.number for one in kept.tries}
        for _ in made & set(range(tries)):
            task.step()
        selfcheck.check(ready, job.specification, case, plan, sorted(set(range(tries)) - made), done)
    return kept


def cases_of(job: Job) -> dict[str, Any]:
    """As a session's header says them, with the steps of the run that is timed where the manifest names them."""
    found = {}
    for case in job.cases:
        run = job.manifest.compare.run_of(case.name)
        work = job.specification.work(case.parameters)
        found[case.name] = {"parameters": case.parameters, "work": work, **({"run": run} if run else {})}
    return {"cases": found}


def _spec_hash(job: Job) -> str:
    return job.specification.identity


def still_the_same(job: Job, journal: Session) -> None:
    """Refusal where what would run now is not what ran in this session so far: one session is of one build."""
    so_far, now = journal.so_far(), session.plain({**cases_of(job), "baseline": job.manifest.compare.baseline})
    changed = [name for name in ("cases", "baseline") if so_far[name] != now[name]]
    here = session.machine()
    changed += [name for name in ("processor", "logical_cores", "system") if so_far["machine"].get(name) != here[name]]
    before = {p["name"]: p for p in so_far["ports"]}
    ports = {spec_port(job.manifest, job.specification.source).name: (_spec_hash(job), "", "")}
    ports |= {r.port.name: (r.sources_hash, r.toolchain, "") for r in job.ready}
    ports |= {name: ("", "", why) for name, why in (job.missing | job.broken).items()}
    for name, (sources, toolchain, missing) in ports.items():
        if name not in before:  # it was stopped before it came to this port; with samples, it had come to all
            changed += [name] if so_far["samples"] else []
            continue
        was = before[name]
        another = was["sources_hash"] not in (sources, "") or was["toolchain"] != toolchain
        if another or bool(was["missing"] or was.get("broken")) != bool(missing):
            changed.append(name)
    if changed:
        raise Refusal(f"The {', '.join(changed)} changed since {journal.journal} began: begin a new session")


def header(job: Job, command: str, plan: Plan, ports: list[str], variants: bool) -> dict[str, Any]:
    """What a session says before its first record; enough to go on with it after an interruption."""
    return {
        "command": command,
        "ports_asked_for": ports,
        "variants": variants,
        "plan": asdict(plan),
        "project": job.manifest.project.name,
        "baseline": job.manifest.compare.baseline,
        "unit": job.specification.work_name,
        "threads": job.threads,
        **cases_of(job),
        "machine": session.machine(),
        "environment": {"passed": environment.passed(), "dropped": environment.dropped()},
    }


def record_ports(job: Job, journal: Session) -> None:
    """What each port is and was allowed, and what it lacks; of a resumed session, those that it lacks."""
    recorded = {p["name"] for p in journal.so_far()["ports"]}
    ready = {r.port.name: r for r in job.ready}
    for port in [spec_port(job.manifest, job.specification.source), *job.ports]:
        made = ready.get(port.name)
        if port.name in recorded:
            continue
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
            broken=job.broken.get(port.name, ""),
            environment=port.environment,
            toolchain=made.toolchain if made else "",
            imported=[os.path.relpath(p, job.manifest.root) for p in made.uses.imported] if made else [],
            packages=made.identity()["packages"] if made else "",
            sources_hash=made.sources_hash if made else _spec_hash(job) if port.host == "spec" else "",
            build_command=made.build_command if made else "",
            build_seconds=made.build_seconds if made else None,
            code_lines=hosts.code_lines(hosts.source_files(job.manifest.root, port.sources)),
        )

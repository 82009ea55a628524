"""The command line.

Exit status: 0 if everything asked for held, 1 if not, 2 if it could not be asked, 130 after Ctrl-C.
"""

from __future__ import annotations

import dataclasses
import json
import math
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from portbench import __version__, cache, doctor, manifest, places, run, session, streams
from portbench.agreement import sensitivity
from portbench.agreement.mutants import Outcome
from portbench.errors import Ended, PortFailure, Refusal
from portbench.progress import Progress
from portbench.report import costs, export, growth, history, kills, phases, summary, table
from portbench.report.remarks import remarks
from portbench.report.table import agreement
from portbench.timing import selfcheck
from portbench.timing.scheduler import Plan
from portbench.timing.statistics import LEAST_ROUNDS

OUTPUT_SCHEMA = "portbench-output/1"
# Three rounds are made in any case; with all bundled ports they take about eighty seconds.
DEFAULT_BUDGET = 45.0
DEFAULT_PRECISION = 0.01

app = typer.Typer(
    help="Which language do I take this simulation to? Proves that ports agree with their specification; times them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Ports = Annotated[list[str], typer.Option("--ports", "-p", help="Ports, repeated or separated by commas.")]
Named = Annotated[list[str] | None, typer.Argument(help="Ports, as by --ports.")]
Variants = Annotated[
    bool, typer.Option("--variants", help="And their variants; of a single port, speed-ups are over it.")
]
Baseline = Annotated[str, typer.Option("--baseline", help="The port over which speed-ups are stated.")]
Cases = Annotated[list[str], typer.Option("--cases", "-c", help="Cases, repeated or separated by commas.")]
Threads = Annotated[list[str], typer.Option("--threads", "-t", help="Thread counts, repeated or separated by commas.")]
Given = Annotated[Path | None, typer.Option("--manifest", "-m", help="A portbench.toml, or the folder it lies in.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document (docs/json.md) instead of tables.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Level = Annotated[str, typer.Option("--level", help="A6 adds statistics beyond the horizon of chaos.")]
Budget = Annotated[
    float | None,
    typer.Option(
        "--budget",
        help="Seconds to spend on samples, and the end of the round that is running then; 0 for three rounds "
        "[45, after three rounds in any case].",
        min=0,
    ),
]
Precision = Annotated[str, typer.Option("--precision", help="Stop when all ratios are known so well, as 2% [1%].")]
Sample = Annotated[
    float | None,
    typer.Option("--sample", help="Seconds that a sample lasts [the manifest's: 0.15].", min=0.001, max=60),
]
Seed = Annotated[int | None, typer.Option("--seed", help="Of the order in which ports take turns [1].")]
Resume = Annotated[Path | None, typer.Option("--resume", help="Go on with this journal of a stopped session.")]
# What is given beyond the one session that a command takes: cases, most likely, or another session. See _one_session().
ONE_SESSION = {"allow_extra_args": True}
Results = Annotated[Path, typer.Option("--results", help="The folder for session files.")]


@app.command("doctor")
def doctor_(
    given: Given = None,
    as_json: AsJson = False,
    install_julia: Annotated[bool, typer.Option(help="Let juliapkg download Julia where there is none.")] = False,
) -> None:
    """Say what is usable here, what is missing, and how to get it."""
    with _sentences():
        if install_julia:
            from portbench.hosts import julia

            julia.install()
        found = doctor.examine(_manifest(given))
        ok = not any(f.broken for f in found)
        if as_json:
            _print_json("doctor", ok, findings=[vars(f) for f in found])
            raise typer.Exit(0 if ok else 1)
        console = Console(highlight=False, soft_wrap=True)
        for f in found:
            state = "[red]broken [/red]" if f.broken else "[yellow]missing[/yellow]"
            state = "[green]ok     [/green]" if f.usable else state
            console.print(f"{state}  {escape(f.what):<12}  {escape(f.detail)}")
        raise typer.Exit(0 if ok else 1)


@app.command()
def check(
    named: Named = None,
    ports: Ports = [],
    variants: Variants = False,
    cases: Cases = [],
    threads: Threads = [],
    level: Level = "A5",
    seeds: Annotated[int, typer.Option("--seeds", help="Each case from so many initial states.", min=0)] = 0,
    given: Given = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Prove, or disprove, that ports compute what the specification says."""
    with _sentences():
        found = _manifest(given)
        names = _split([*(named or []), *ports])
        job = run.plan(found, names, _split(cases), _numbers(threads), seeds, variants, quiet)
        job.level = _level(level)
        with Progress(quiet) as progress:
            run.prepare(job, progress)
            run.certify(job, progress)
        if as_json:
            _print_json(
                "check",
                job.held,
                missing=job.missing,
                broken=job.broken,
                certificates=[{**c.as_json(), "finding": c.finding} for c in job.certificates],
            )
        else:
            _print_certificates(job)
        raise typer.Exit(0 if job.held else 1)


@app.command()
def bench(
    named: Named = None,
    ports: Ports = [],
    variants: Variants = False,
    baseline: Baseline = "",
    cases: Cases = [],
    threads: Threads = [],
    budget: Budget = None,
    precision: Precision = "",
    sample: Sample = None,
    seed: Seed = None,
    resume: Resume = None,
    given: Given = None,
    results: Results = Path("results"),
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Time ports that hold a certificate; those whose certificate fits this build are not checked again."""
    with _sentences():
        wanted = Wanted.given(named, ports, variants, baseline, cases, threads, budget, precision, sample, seed)
        _measure("bench", wanted, resume, given, results, as_json, quiet)


@app.command()
def compare(
    named: Named = None,
    ports: Ports = [],
    variants: Variants = False,
    baseline: Baseline = "",
    cases: Cases = [],
    threads: Threads = [],
    budget: Budget = None,
    precision: Precision = "",
    sample: Sample = None,
    seed: Seed = None,
    resume: Resume = None,
    given: Given = None,
    results: Results = Path("results"),
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """The main job: check every port, time those that agree, and print the table."""
    with _sentences():
        wanted = Wanted.given(named, ports, variants, baseline, cases, threads, budget, precision, sample, seed)
        _measure("compare", wanted, resume, given, results, as_json, quiet)


@dataclass(frozen=True)
class Wanted:
    """What was given on the command line, and what was not."""

    ports: list[str]
    cases: list[str]
    threads: list[str]
    budget: float | None
    precision: float | None
    sample: float | None
    seed: int | None
    variants: bool = False
    baseline: str = ""

    @classmethod
    def given(
        cls,
        named: list[str] | None,
        ports: list[str],
        variants: bool,
        baseline: str,
        cases: list[str],
        threads: list[str],
        budget: float | None,
        precision: str,
        sample: float | None,
        seed: int | None,
    ) -> Wanted:
        """What the options say, as they are typed; Refusal of what means nothing."""
        return cls(
            ports=_split([*(named or []), *ports]),
            cases=_split(cases),
            threads=_split(threads),
            budget=_seconds("--budget", budget),
            precision=_share(precision),
            sample=_seconds("--sample", sample),
            seed=seed,
            variants=variants,
            baseline=baseline,
        )

    def plan(self, before: dict[str, Any], compare: manifest.Compare) -> Plan:
        """With what an interrupted session went by, or else the defaults, where nothing was given."""
        every = {"budget": DEFAULT_BUDGET, "precision": DEFAULT_PRECISION, "seed": 1, "sample": compare.sample} | before
        if self.budget is not None:
            every["least_rounds"] = 1 if self.budget else LEAST_ROUNDS
        own = {"budget": self.budget, "precision": self.precision, "seed": self.seed, "sample": self.sample}
        return Plan(**(every | {k: v for k, v in own.items() if v is not None} | {"baseline": compare.baseline}))


def _measure(
    command: str,
    wanted: Wanted,
    resume: Path | None,
    given: Path | None,
    results: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    found = _manifest(given)
    if resume:
        if wanted.ports or wanted.cases or wanted.threads or wanted.variants or wanted.baseline or wanted.sample:
            raise Refusal("--resume goes on with the ports, cases, threads and samples of its session: give none")
        journal = session.Session.resume(resume)
        header = journal.so_far()
        if "ports_asked_for" not in header:
            raise Refusal(f"{resume} was made by an earlier portbench, and cannot be resumed")
        found = found.against(header["baseline"]) if header["baseline"] else found
        asked = header["ports_asked_for"]
        variants = header.get("variants", False)
        job = run.plan(found, asked, list(header["cases"]), header["threads"], variants=variants, quiet=quiet)
        plan = wanted.plan(header["plan"], found.compare)
    else:
        only = wanted.ports[0] if wanted.variants and len(wanted.ports) == 1 else ""
        found = found.against(wanted.baseline or only) if wanted.baseline or only else found
        job = run.plan(
            found, wanted.ports, wanted.cases, _numbers(wanted.threads), variants=wanted.variants, quiet=quiet
        )
        if wanted.baseline and wanted.baseline not in [port.name for port in job.ports]:
            raise Refusal(f"--baseline {wanted.baseline} is not among the ports that are timed: name it with them")
        plan = wanted.plan({}, found.compare)
        journal = session.Session(results, run.header(job, command, plan, wanted.ports, wanted.variants))
    try:
        with Progress(quiet) as progress:
            run.prepare(job, progress)
            run.still_the_same(job, journal)
            run.record_ports(job, journal)
            run.certify(job, progress, journal, remembered=command == "bench" or resume is not None)
            run.take_samples(job, journal, progress, plan)
    except BaseException as error:
        # a Refusal before the first sample is of what was asked for, and not of the session
        if not isinstance(error, Refusal) or journal.so_far()["samples"]:
            again = f"portbench {command} --resume {journal.journal}" + (f" --manifest {given}" if given else "")
            print(f"Stopped; every finished sample is in {journal.journal}: `{again}` goes on", file=sys.stderr)
            error.add_note(str(journal.journal))
        raise
    path = journal.finish()
    document = session.read(path)
    held = job.held and not any(f["port"] in {p["name"] for p in document["ports"]} for f in document["failures"])
    if as_json:
        rows = [r.as_json() for r in summary.rows(document)]
        lack = {"missing": job.missing, "broken": job.broken}
        _print_json(command, held, session=str(path), **lack, rows=rows, remarks=remarks(document))
    else:
        console = Console()
        table.print_tables(document, console)
        console.print(f"session: {path}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(0 if held else 1)


@app.command("mutants")
def mutants_(
    names: Annotated[list[str] | None, typer.Argument(help="Some of them only.")] = None,
    port: Annotated[str, typer.Option("--port", help="Put generic faults into the stream of this port.")] = "",
    cases: Cases = [],
    level: Level = "A5",
    given: Given = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Prove that the ladder can fail: wrong ports must die, by the level that they name or an earlier one."""
    with _sentences():
        found = _manifest(given)
        chosen = _split(cases) or list(found.mutants.cases)
        job = run.plan(found, [port] if port else [], chosen, [1], quiet=quiet)
        job.level = _level(level)
        with Progress(quiet) as progress:
            outcomes = run.kill(job, port, _split(names or []), progress)
        ok = all(o.as_it_should for o in outcomes)
        if as_json:
            _print_json("mutants", ok, mutants=[o.as_json() for o in outcomes])
        else:
            kills.print_table(outcomes, Console())
        raise typer.Exit(0 if ok else 1)


@app.command("races")
def races_(
    ports: Ports = [],
    cases: Cases = [],
    threads: Threads = ["1,2,3,4"],
    runs: Annotated[int, typer.Option("--runs", help="On each number of threads.", min=2)] = 20,
    given: Given = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Hunt data races: the same run again and again on several numbers of threads, judged by the rounding twins."""
    with _sentences():
        job = run.plan(_manifest(given), _split(ports), _split(cases), _numbers(threads), quiet=quiet)
        with Progress(quiet) as progress:
            run.prepare(job, progress)
            found = run.hunt(job, runs, progress)
        ok = all(h.sound for h in found) and job.all_there
        if as_json:
            _print_json("races", ok, missing=job.missing, broken=job.broken, hunts=[h.as_json() for h in found])
        else:
            shown = Table("port", "case", "threads", "runs of each", "verdict", "finding")
            for h in found:
                colour = "green" if h.sound else "red"
                counts = ", ".join(map(str, h.threads))
                verdict = f"[{colour}]{h.verdict}[/{colour}]"
                shown.add_row(escape(h.port), escape(h.case), counts, str(h.runs), verdict, escape(h.finding))
            Console().print(shown)
            _print_absent(job)
        raise typer.Exit(0 if ok else 1)


@app.command("cache")
def cache_(
    prune: Annotated[bool, typer.Option("--prune", help="Remove what was not used for longest, down to size.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Remove all.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what the cache holds (builds, twins, certificates), and remove what is not needed."""
    with _sentences():
        allowed = cache.limit()
        removed = cache.prune(0 if clear else allowed) if prune or clear else 0
        found, folder = cache.parts(), places.cache_folder()
        size = sum(part.size for part in found)
        if as_json:
            about = {"folder": str(folder), "size": size, "limit": allowed, "removed": removed}
            _print_json("cache", True, **about, parts=[part.as_json() for part in found])
            return
        shown = Table("part", "what", "entries", "MB", "last used", "longest unused")
        for part in found:
            ages = [_age(part.newest), _age(part.oldest)]
            shown.add_row(part.name, part.what, f"{part.entries:,}", f"{part.size / 1e6:,.1f}", *ages)
        console = Console()
        console.print(shown)
        gone = f"; {removed / 1e6:,.1f} MB were removed" if prune or clear else ""
        said = f"{folder}: {size / 1e6:,.1f} MB of {allowed / 1e6:,.0f} MB (PORTBENCH_CACHE_SIZE){gone}"
        console.print(said, markup=False, highlight=False, soft_wrap=True)


def _age(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count:,} {unit}{'s' * (count > 1)} ago"
    return "now"


@app.command("selfcheck")
def selfcheck_(
    port: Annotated[str, typer.Option("--port", help="With which port; one that starts fast saves time.")] = "",
    case: Annotated[str, typer.Option("--case", help="On which case; one of the manifest's if not given.")] = "",
    tries: Annotated[int, typer.Option("--tries", help="Sessions; each takes up to the budget.", min=1)] = 200,
    journal: Annotated[
        Path, typer.Option("--journal", help="Holds finished tries until all are made; those in it are not made again.")
    ] = Path("results/selfcheck.jsonl"),
    budget: Budget = None,
    precision: Precision = "",
    given: Given = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Measure the measuring: false alarms of a port beside itself, and planted slowdowns of 1, 2 and 5 % seen."""
    with _sentences():
        found = _manifest(given)
        job = run.plan(found, [port or next(iter(found.ports), "")], [case] if case else [], [1], quiet=quiet)
        wanted = Wanted.given(None, [], False, "", [], [], budget, precision, None, None)
        plan = wanted.plan({}, found.compare)
        plan = dataclasses.replace(plan, least_rounds=LEAST_ROUNDS)  # without intervals nothing is to be seen
        with Progress(quiet) as progress:
            made = run.check_itself(job, plan, tries, journal, progress)
        tries_made = [one for one in made.tries if one.number < tries]
        rates = selfcheck.rates(tries_made)
        if as_json:
            about = {"port": job.ports[0].name, "case": job.cases[0].name, "budget": plan.budget}
            about |= {"precision": plan.precision, "machine": session.machine()}
            rows, every = [r.as_json() for r in rates], [one.as_json() for one in tries_made]
            _print_json("selfcheck", True, **about, rates=rows, tries=every)
        else:
            shown = Table("slower by", "tries", "difference seen", "rate", "95 % interval")
            for r in rates:
                name = f"{r.planted:.0%}" if r.planted else "nothing (false alarms)"
                shown.add_row(name, str(r.tries), str(r.seen), f"{r.rate:.1%}", f"{r.low:.1%} to {r.high:.1%}")
            Console().print(shown)
        made.remove()


@app.command(context_settings=ONE_SESSION)
def report(
    context: typer.Context,
    path: Annotated[
        Path, typer.Argument(help="A session file, the journal of a killed session, or what `mutants --json` printed.")
    ],
    markdown: Annotated[bool, typer.Option("--markdown", help="The table as Markdown.")] = False,
    by_phase: Annotated[bool, typer.Option("--phases", help="Where each process's time goes, and its memory.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the table of a session, or a kill matrix, again; or a session's phases."""
    with _sentences():
        _one_session(context)
        outcomes = _kill_matrix(path)
        if outcomes:
            if as_json:
                print(path.read_text(encoding="utf-8"), end="")
            elif markdown:
                print(kills.markdown(outcomes), end="")
            else:
                kills.print_table(outcomes, Console())
            return
        document = session.read(path)
        if by_phase:
            found = phases.rows(document)
            if as_json:
                _print_json("report", True, session=str(path), phases=[r.as_json() for r in found])
            else:
                phases.print_tables(found, Console())
        elif as_json:
            rows = [r.as_json() for r in summary.rows(document)]
            _print_json("report", True, session=str(path), rows=rows, remarks=remarks(document))
        elif markdown:
            print(table.markdown(document), end="")
        else:
            table.print_tables(document, Console())


@app.command("export")
def export_(
    path: Annotated[Path, typer.Argument(metavar="SESSION", help="A session file, or the journal of a killed one.")],
    kind: Annotated[str, typer.Option("--format", "-f", help=f"{', '.join(export.FORMATS)}.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
) -> None:
    """Write a session's samples as pytest-benchmark or pyperf JSON, CSV or Parquet, for other tools to read."""
    with _sentences():
        for sentence in export.export(path, kind, output):
            print(f"left out: {sentence}", file=sys.stderr)


@app.command(context_settings=ONE_SESSION)
def scaling(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="SESSION", help="A session file, or the journal of a killed one.")],
    cases: Cases = [],
    as_json: AsJson = False,
) -> None:
    """Fit how time grows with size (over the --cases, one problem in several sizes) and falls with threads."""
    with _sentences():
        _one_session(context)
        found = growth.examine(session.read(path), _split(cases))
        if as_json:
            _print_json("scaling", True, session=str(path), **found.as_json())
        else:
            growth.print_tables(found, Console())


@app.command(context_settings=ONE_SESSION)
def cost(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="SESSION", help="A session file, or the journal of a killed one.")],
    steps: Annotated[float, typer.Option("--steps", help="Of the run that you want to make.", min=1)],
    size: Annotated[
        float | None, typer.Option("--size", help="Units of work in a step, between those of --cases.", min=1)
    ] = None,
    cases: Cases = [],
    against: Annotated[str, typer.Option("--against", help="The port that others must pay against [baseline].")] = "",
    as_json: AsJson = False,
) -> None:
    """Say what a run of so many steps takes with each port from start to end, and from how many on a port pays."""
    with _sentences():
        _one_session(context)
        if not math.isfinite(steps) or (size is not None and not math.isfinite(size)):
            raise Refusal("--steps and --size must be finite numbers")
        document = session.read(path)
        chosen = _split(cases)
        found = costs.examine(document, steps, size, chosen, against)
        missing = costs.untold(document, found, chosen)
        if as_json:
            _print_json("cost", True, session=str(path), steps=steps, costs=costs.as_json(found), untold=missing)
        else:
            costs.print_table(found, document, steps, against, missing, Console())


@app.command("compare-sessions")
def compare_sessions(
    before: Annotated[Path, typer.Argument(metavar="A", help="A session file, or the journal of a killed one.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="A later one.")],
    as_json: AsJson = False,
) -> None:
    """Say what became faster or slower from session A to B; exit status 1 if a port takes 10 % longer."""
    with _sentences():
        found = history.compare(session.read(before), session.read(after))
        if as_json:
            _print_json("compare-sessions", found.ok, sessions=[str(before), str(after)], **found.as_json())
        else:
            history.print_history(found, Console())
        raise typer.Exit(0 if found.ok else 1)


def _one_session(context: typer.Context) -> None:
    if context.args:
        command, more = context.info_name, context.args
        cases = "" if command == "report" else f", and cases by --cases {','.join(more)}"
        raise Refusal(
            f"{command} takes one session{cases}: {' '.join(more)} is too much "
            "(two sessions are compared by `portbench compare-sessions A B`)"
        )


def _kill_matrix(path: Path) -> list[Outcome]:
    """What `mutants --json` printed into this file; empty if it holds something else."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if (document["schema"], document["command"]) != (OUTPUT_SCHEMA, "mutants"):
            return []
        names = {f.name for f in dataclasses.fields(Outcome)}
        return [Outcome(**{name: m[name] for name in names}) for m in document["mutants"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _version(wanted: bool) -> None:
    if wanted:
        print(f"portbench {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _manifest(given: Path | None) -> manifest.Manifest:
    """The one to go by; a line says so where that is portbench's own, which nobody may have meant."""
    found = manifest.find(given)
    if given is None and found.root not in (here := Path.cwd(), *here.parents):
        said = f"There is no {manifest.FILE_NAME} in {here} or above: taking the simulation that comes with portbench"
        print(f"{said}, {found.project.name}", file=sys.stderr)
    return found


def _split(given: list[str]) -> list[str]:
    return [name.strip() for part in given for name in part.split(",") if name.strip()]


def _level(given: str) -> str:
    if given not in ("A5", "A6"):
        raise Refusal(f"--level {given} must be A5, to which the ladder is always climbed, or A6")
    return given


def _seconds(option: str, given: float | None) -> float | None:
    if given is not None and not math.isfinite(given):
        raise Refusal(f"{option} {given} must be a finite number of seconds")
    return given


def _share(given: str) -> float | None:
    try:
        value = float(given.removesuffix("%")) / (100 if given.endswith("%") else 1) if given else None
    except ValueError:
        value = -1.0
    if value is not None and not 0 < value < 1:
        raise Refusal(f"--precision {given} must be between 0 and 1, or a percentage such as 1%")
    return value


def _numbers(given: list[str]) -> list[int]:
    try:
        return [int(n) for n in _split(given)] or [1]
    except ValueError:
        raise Refusal(f"--threads {','.join(given)} must be whole numbers, such as 1,2") from None


@contextmanager
def _sentences() -> Iterator[None]:
    """Every complaint reaches the person as one sentence, and so does one about the tidying at the end."""
    try:
        with _one_sentence():
            yield
    finally:
        with _one_sentence():
            cache.tidy()


@contextmanager
def _one_sentence() -> Iterator[None]:
    try:
        yield
    except typer.Exit:
        raise
    except (Refusal, PortFailure) as error:
        print(f"portbench: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    except Exception as error:
        print(f"portbench: {_unforeseen(error)}", file=sys.stderr)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        print("portbench: interrupted", file=sys.stderr)
        raise typer.Exit(130) from None


def _unforeseen(error: Exception) -> str:
    """One sentence: of what the machine lacks, or of a defect."""
    if isinstance(error, MemoryError):
        return "there is not enough memory: take smaller cases, or end other programs"
    said = places.complaint(error) if isinstance(error, OSError) else ""
    if said:
        return said
    journals = getattr(error, "__notes__", [])
    kept = f"; every finished sample is in {journals[0]}" if journals else ""
    what = (str(error).strip() or "without words").splitlines()[0][:200]
    return (
        f"this is a defect of portbench, {type(error).__name__}: {what}: please report it with "
        f"{places.keep_traceback(error)}, which holds its traceback{kept}"
    )


def _print_json(command: str, ok: bool, **content: Any) -> None:
    document = {"schema": OUTPUT_SCHEMA, "portbench": __version__, "command": command, "ok": ok, **content}
    print(json.dumps(session.plain(document), indent=1))


def _print_certificates(job: run.Job) -> None:
    console = Console()
    shown = Table("port", "case", "threads", "agreement", "finding")
    for c in job.certificates:
        level = agreement(c.level, c.horizon if c.holds else 0, c.precision)
        colour = "green" if c.holds else "red"
        shown.add_row(
            escape(c.port), escape(c.case), str(c.threads), f"[{colour}]{level}[/{colour}]", escape(c.finding)
        )
    for name, why in job.broken.items():
        shown.add_row(escape(name), "-", "-", "[red]broken[/red]", escape(why))
    if shown.row_count:
        console.print(shown)
    proved = [c for c in job.certificates if c.holds]
    for line in dict.fromkeys(sensitivity.sentence(c.case, c.precision, c.sensitivity) for c in proved):
        if line:
            console.print(escape(line), highlight=False, soft_wrap=True)
    for c in job.certificates:
        if c.sight:
            console.print(
                f"\n[bold]{escape(c.port)} on {escape(c.case)}, {c.threads} thread{'s' * (c.threads > 1)}[/bold]"
            )
            for line in c.sight.lines():
                console.print(f"  {escape(line)}", highlight=False, soft_wrap=True)
    _print_absent(job)


def _print_absent(job: run.Job) -> None:
    """Ports that could not be made ready, each a line."""
    for kind, colour, ports in (("missing", "yellow", job.missing), ("broken", "red", job.broken)):
        for name, why in ports.items():
            said = f"[{colour}]{kind}[/{colour}] {escape(name)}: {escape(why)}"
            Console().print(said, highlight=False, soft_wrap=True)


def _end(number: int, _: object) -> None:
    raise Ended(128 + number)


def main() -> None:
    # What timeout, systemd, a cancelled CI job and a closed terminal send: end in good order, ports, folders and all.
    for one in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(one) != signal.SIG_IGN:  # as under nohup
            signal.signal(one, _end)
    streams.own_stdout()
    streams.make_patient()
    app()


if __name__ == "__main__":
    main()

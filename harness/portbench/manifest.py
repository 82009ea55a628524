"""portbench.toml: which specification, which ports of it, which cases.

A manifest is found in the current folder or above it; where there is none, the simulation that comes
with portbench is used (packages announce theirs by an entry point in the group "portbench.projects").
"""

from __future__ import annotations

import difflib
import importlib.util
import os
import re
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from portbench import keys
from portbench.errors import Refusal, known, meant

FILE_NAME = "portbench.toml"
SPEC_PORT = "spec"
PRECISIONS = ("float64", "float64-fast", "float32")
OWN = "epsilon "  # begins the name of a class of its own
FINEST, COARSEST = 2.3e-16, 1e-3  # of a class of its own


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Port(_Table):
    """One `[ports.NAME]` table: an implementation of the specification and how it is run."""

    name: str
    host: str  # one of _NEEDED, and of the specification itself "spec"
    language: str = ""
    summary: str = ""
    precision: str = "float64"  # a class of agreement/twins.py, or "epsilon 1e-12" for a table { epsilon = 1e-12 }
    # what the compiler was allowed, for the reader of the report
    allowed: list[str] = []
    threads: bool = True  # whether it can use more than one thread
    sources: list[str] = Field(min_length=1)
    module: str = ""  # python and julia hosts
    project: str = ""  # julia host: the folder with Project.toml
    packages: list[str] = []  # julia host: weak dependencies in it that this port loads
    requires: list[str] = []  # Python modules that must be importable
    refuses: dict[str, str] = {}  # probes of the specification that it may refuse, and why
    build: list[str] = []  # executable host: a command; {output} is the program it must make
    run: list[str] = []  # executable host: the command that starts the port
    version: list[str] = []  # a command that prints the toolchain's version
    environment: dict[str, str] = {}  # variables that it runs with
    install: str = ""  # how a person gets what is missing
    variant_of: str = ""  # the port of which this is a variant, made by its table [ports.NAME.variants.VARIANT]

    @field_validator("precision", mode="before")
    @classmethod
    def _class_of_its_own(cls, given: Any) -> Any:
        if isinstance(given, str) and given in PRECISIONS:
            return given
        epsilon = given.get("epsilon") if isinstance(given, dict) and len(given) == 1 else None
        if isinstance(given, str) and given.startswith(OWN):  # as it is called once it is read
            with suppress(ValueError):
                epsilon = float(given.removeprefix(OWN))
        if isinstance(epsilon, float) and FINEST < epsilon <= COARSEST:
            return f"{OWN}{epsilon:g}"
        names = ", ".join(f'"{name}"' for name in PRECISIONS)
        own = f"{{ epsilon = 1e-12 }}, a number from {FINEST:g} to {COARSEST:g}"
        raise ValueError(f"precision must be {names}, or a table {own}")

    @property
    def numbers(self) -> str:
        """The class of the numbers that it exchanges."""
        return self.precision if self.precision in PRECISIONS else "float64"

    @model_validator(mode="after")
    def _complete(self) -> Port:
        if self.host not in _NEEDED and self.name != SPEC_PORT:
            hint = meant(self.host, _NEEDED)
            raise ValueError(f'host = "{self.host}" must be "python", "julia" or "executable"{hint}')
        for key in _NEEDED.get(self.host, []):
            if not getattr(self, key):
                raise ValueError(f'a port with host = "{self.host}" needs `{key}`')
        _importable("module", self.module)
        self._placeholders()
        return self

    def _placeholders(self) -> None:
        """{output} is the only one; whatever else stands in braces is the command's own, unless it is that misspelt."""
        for key, words in (("build", self.build), ("run", self.run)):
            for name in re.findall(r"(?<!\$)\{(\w+)\}", " ".join(words)):
                if name != "output" and difflib.get_close_matches(name.lower(), ["output"]):
                    raise ValueError(f"`{key}` has {{{name}}}, and the only placeholder is {{output}}")
        if self.build and "{output}" not in " ".join(self.build):
            raise ValueError("`build` does not say where {output} goes, the file that it must make")


def _importable(key: str, name: str) -> str:
    if name.endswith(".py"):
        raise ValueError(f'`{key}` is the name by which it is imported: "{name.removesuffix(".py")}", without .py')
    return name


# The keys without which a host cannot run a port.
_NEEDED = {"python": ["module"], "julia": ["module", "project"], "executable": ["run"]}


class Project(_Table):
    """The `[project]` table."""

    name: str
    spec: str
    python_path: list[str] = Field(default=["."], alias="python-path")

    @field_validator("spec")
    @classmethod
    def _is_a_name(cls, given: str) -> str:
        return _importable("spec", given)


SAMPLE_SECONDS = 0.15  # long against any clock and the round trip


class Compare(_Table):
    """The `[compare]` table: what is done when nothing else is asked for."""

    cases: list[str] = []
    ports: list[str] = []
    baseline: str = ""  # the port beside the specification against which speed-ups are stated
    sample: Annotated[float, Field(gt=0, le=60)] = SAMPLE_SECONDS  # seconds that a sample lasts
    # steps of the run that a user makes: of every case, or per case with "default" for the rest
    run: PositiveInt | dict[str, PositiveInt] = {}

    def run_of(self, case: str) -> int | None:
        """None where the manifest does not say: as many steps as a sample holds."""
        if isinstance(self.run, int):
            return self.run
        return self.run.get(case.partition("#")[0], self.run.get("default"))


class Check(_Table):
    """The `[check]` table: how many steps the free run (A4) and the long run (A5) have, per case; "default" for
    the rest. 0 leaves the long run out."""

    steps: dict[str, PositiveInt] = {}
    long: dict[str, NonNegativeInt] = {}

    def steps_of(self, case: str) -> int:
        case = case.partition("#")[0]  # of a case with a seed of its own: that of the case
        return self.steps.get(case, self.steps.get("default", 100))

    def long_of(self, case: str) -> int:
        return self.long.get(case.partition("#")[0], self.long.get("default", 10 * self.steps_of(case)))


class Mutants(_Table):
    """The `[mutants]` table: the project's catalogue of wrong ports, and the cases on which they must die."""

    module: str = ""
    cases: list[str] = []
    sources: list[str] = []


class Manifest(_Table):
    """A whole portbench.toml; `root` is its folder, against which all its paths are read."""

    root: Path
    project: Project
    compare: Compare = Compare()
    check: Check = Check()
    mutants: Mutants = Mutants()
    cases: dict[str, dict[str, Any]] = {}
    ports: dict[str, Port]

    @property
    def path(self) -> Path:
        return self.root / FILE_NAME

    def python_path(self) -> list[Path]:
        """Folders in which the specification's and the ports' Python modules are looked for."""
        return [(self.root / p).resolve() for p in self.project.python_path]

    def choose_ports(self, names: list[str]) -> list[Port]:
        """The ports of these names (all, or those of [compare], where none is named)."""
        if SPEC_PORT in names:
            raise Refusal(
                f"'{SPEC_PORT}' is the specification, beside which every port is checked and timed: leave it out"
            )
        every = [name for name, port in self.ports.items() if not port.variant_of]
        return [self.ports[n] for n in known("port", names or self.compare.ports or every, self.ports)]

    def with_variants(self, names: list[str]) -> list[str]:
        """These ports' names (or those that are chosen where none is named), each followed by those of its variants."""
        chosen = [port.name for port in self.choose_ports(names)]
        of = {name: [n for n, port in self.ports.items() if port.variant_of == name] for name in chosen}
        if not any(of.values()):
            raise Refusal(f"{', '.join(chosen)} {'have' if len(chosen) > 1 else 'has'} no variants in the manifest")
        return [one for name in chosen for one in (name, *of[name])]

    def against(self, baseline: str) -> Manifest:
        """The same, with speed-ups over this port."""
        known("port", [baseline], self.ports)
        return self.model_copy(update={"compare": self.compare.model_copy(update={"baseline": baseline})})


def spec_port(manifest: Manifest, source: Path) -> Port:
    """The specification itself, hosted and timed like any port; `source` is its file."""
    return Port(
        name=SPEC_PORT,
        host="spec",
        language="Python",
        module=manifest.project.spec,
        threads=False,
        sources=[os.path.relpath(source, manifest.root)],
        summary="the specification itself",
    )


def find(given: str | Path | None = None) -> Manifest:
    """Read the manifest at `given`, or the nearest one upwards, or the bundled one."""
    if given is not None:
        path = Path(given)
        path = path / FILE_NAME if path.is_dir() else path
        if not path.is_file():
            raise Refusal(f"There is no manifest at {path}: give the path of a portbench.toml")
        return read(path)
    here = Path.cwd()
    for above in [here, *here.parents]:
        if (above / FILE_NAME).is_file():
            return read(above / FILE_NAME)
    for entry in entry_points(group="portbench.projects"):
        module = importlib.util.find_spec(entry.value)
        for folder in (module.submodule_search_locations or []) if module else []:
            if (Path(folder) / FILE_NAME).is_file():
                return read(Path(folder) / FILE_NAME)
    raise Refusal(f"There is no {FILE_NAME} in {here} or above it: write one (see docs/manifest.md) or give --manifest")


def read(path: Path) -> Manifest:
    """Parse and validate one manifest; Refusal, in one sentence, says the first thing that is wrong."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise Refusal(f"{path} is not valid TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(f"{path} cannot be read: {error}") from None
    if "root" in table:  # a field of Manifest, and no table
        raise Refusal(f"{path}: {keys.unknown('root', '', _keys()[''])}")
    ports = table.get("ports")
    for kind in ("port", "case"):
        if isinstance(table.get(f"{kind}s"), dict):
            check_names(kind, table[f"{kind}s"])
    if isinstance(ports, dict):
        for name, port in ports.items():
            if name == SPEC_PORT:
                raise Refusal(f"{path}: a port may not be called '{SPEC_PORT}', which is the specification itself")
            if isinstance(port, dict):
                port["name"] = name
        variants = _variants(path, ports)
        check_names("variant", [name.partition(":")[2] for name in variants])
        for name in variants.keys() & ports.keys():
            raise Refusal(f"{path}: the port '{name}' has the name of a variant: call one of them otherwise")
        ports |= variants
    try:
        made = Manifest(root=path.resolve().parent, **table)
        known("port", [n for n in [*made.compare.ports, made.compare.baseline] if n], made.ports)
    except ValidationError as error:
        raise Refusal(f"{path}: {keys.sentence(error, table, _keys())}") from None
    except Refusal as error:
        raise Refusal(f"{path}: [compare]: {error}") from None
    return made


def _keys() -> dict[str, list[str]]:
    """Of each table the keys that a person may write in it."""
    tables: dict[str, type[_Table]] = {
        "project": Project,
        "compare": Compare,
        "check": Check,
        "mutants": Mutants,
        "ports": Port,
    }
    made = {name: [f.alias or key for key, f in t.model_fields.items()] for name, t in tables.items()}
    made["ports"] = [*(key for key in made["ports"] if key not in ("name", "variant_of")), "variants"]
    return {**made, "": [*tables, "cases"]}


def check_names(kind: str, names: Iterable[Any]) -> None:
    """Refusal of a name that could not be asked for, or would be taken for another."""
    for name in names:
        wrong = ""
        if not isinstance(name, str) or not name or not name.isprintable() or name != name.strip():
            wrong = "is not a text without blanks around it"
        elif "," in name:
            wrong = "holds a comma, which stands between names on the command line"
        elif kind == "case" and "#" in name:
            wrong = "holds a #, after which the number of a seed stands"
        elif kind == "port" and name.endswith(" again"):
            wrong = "ends like that of a port that runs beside itself"
        if wrong:
            raise Refusal(f"The name {name!r} of a {kind} {wrong}: call it otherwise")


def _variants(path: Path, ports: dict[str, Any]) -> dict[str, Any]:
    """Each `[ports.NAME.variants.VARIANT]` as a port NAME:VARIANT, which is NAME but for the keys in it."""
    made = {}
    for name, port in ports.items():
        variants = port.pop("variants", {}) if isinstance(port, dict) else {}
        if not isinstance(variants, dict) or not all(isinstance(v, dict) for v in variants.values()):
            raise Refusal(f"{path}: ports.{name}.variants must hold tables, each with the keys that differ")
        for variant, different in variants.items():
            made[f"{name}:{variant}"] = {**port, **different, "name": f"{name}:{variant}", "variant_of": name}
    return made

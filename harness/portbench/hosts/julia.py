"""Julia in-process through juliacall: finding it, preparing its packages, starting it in a worker.

juliacall decides at import which Julia it uses. PYTHON_JULIACALL_EXE and PYTHON_JULIACALL_PROJECT
together name an existing one, and nothing is resolved; otherwise juliapkg finds Julia, and installs
PythonCall.jl and what the port's Project.toml asks for, on first use.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from portbench import cache
from portbench.errors import PortFailure, Refusal
from portbench.hosts import build
from portbench.hosts import environment as known

LONGEST_PREPARATION = 1800  # seconds: a first use downloads and compiles packages
HOW_TO_GET = "install Julia 1.10 or later from https://julialang.org/install, or run `portbench doctor --install-julia`"


def environment(threads: int) -> dict[str, str]:
    """What juliacall must find in the environment when it is imported, never later."""
    return {
        "PYTHON_JULIACALL_THREADS": str(threads),
        # Julia's garbage collector stops threads by signal: without this, several threads crash.
        "PYTHON_JULIACALL_HANDLE_SIGNALS": "yes",
        "PYTHON_JULIACALL_STARTUP_FILE": "no",
        # PythonCall must not make a conda environment of its own.
        "JULIA_CONDAPKG_BACKEND": "Null",
    }


def executable() -> str:
    """The Julia that juliacall would use, without installing one; empty if there is none."""
    named = os.environ.get("PYTHON_JULIACALL_EXE", "")
    if named:
        return shutil.which(named) or ""
    if find_spec("juliapkg") is None:
        return ""
    from juliapkg.find_julia import find_julia
    from juliapkg.state import STATE

    try:
        return str(find_julia(prefix=STATE["install"], install=False)[0])
    except Exception:  # juliapkg raises bare Exceptions: all of them mean that there is no usable Julia
        return ""


def missing(project: Path, get: str) -> str:
    if find_spec("juliacall") is None:
        return f"the Python package juliacall is not installed{get}"
    named = os.environ.get("PYTHON_JULIACALL_EXE", "")
    if named and not shutil.which(named):
        return f"PYTHON_JULIACALL_EXE names {named}, which is no program: correct or unset it"
    if named and not os.environ.get("PYTHON_JULIACALL_PROJECT"):
        return "PYTHON_JULIACALL_EXE is set without PYTHON_JULIACALL_PROJECT, a Julia project that holds PythonCall"
    if not executable():
        return f"no Julia was found: {HOW_TO_GET}"
    return ""


def broken(project: Path) -> str:
    return "" if (project / "Project.toml").is_file() else f"there is no Project.toml in {project}"


def version() -> str:
    said = subprocess.run([executable(), "--version"], capture_output=True, text=True, timeout=60)
    return said.stdout.strip() or "julia (it does not tell its version)"


def install() -> None:
    """Let juliapkg download Julia if there is none (the one place where that may happen unasked-for)."""
    if find_spec("juliapkg") is None:
        raise Refusal("Julia is installed by the Python package juliapkg, which is not here: pip install juliacall")
    import juliapkg

    try:
        juliapkg.resolve()
    except Exception as error:  # juliapkg raises bare Exceptions, and what urllib does
        what = str(error).strip().partition("\n")[0] or type(error).__name__
        raise Refusal(
            f"Julia cannot be installed: {what}: see that the net can be reached (HTTPS_PROXY), or install "
            "Julia 1.10 or later by hand from https://julialang.org/install"
        ) from None


def prepare(worker: list[str], digest: str, own: dict[str, str]) -> float:
    """Start the port once, so that its packages are there and compiled; the seconds that this took. `own` is what
    the manifest adds to its environment.
    """
    from portbench.protocol import RunningPort

    record = build.cache_folder() / "build" / f"julia-{digest[:16]}" / "build.json"
    if record.is_file():
        cache.used(record.parent)
        return float(json.loads(record.read_text())["seconds"])
    given = known.of_a_port(1, environment(1) | own)
    longest = LONGEST_PREPARATION
    with RunningPort("julia", worker, given, Path.cwd(), longest, start_silence=longest) as port:
        try:
            port.hello()
        except PortFailure as error:
            raise PortFailure("broken", f"its Julia packages cannot be prepared: {error.sentence}", error.log) from None
        seconds = (time.perf_counter_ns() - port.started) / 1e9
        port.quit()
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps({"seconds": seconds}))
    return seconds


def start(project: Path, module: str, packages: list[str]) -> tuple[Any, Any]:
    """In the worker: (Julia's Main, the port's module), which may lie in the package, and need others loaded."""
    if not (os.environ.get("PYTHON_JULIACALL_EXE") and os.environ.get("PYTHON_JULIACALL_PROJECT")):
        _ask_juliapkg_for(project, packages)
    from juliacall import Main as jl

    # The port's own project last: its dependencies are found in the environment that juliacall uses.
    jl.seval("p -> push!(LOAD_PATH, p)")(str(project))
    for package in [module.partition(".")[0], *packages]:
        jl.seval(f"import {package}")
    return jl, jl.seval(module)


def _ask_juliapkg_for(project: Path, packages: list[str]) -> None:
    """Name the port's package and those that it loads among what juliapkg keeps installed, if they are not there."""
    import juliapkg
    from juliapkg.state import STATE

    package = tomllib.loads((project / "Project.toml").read_text(encoding="utf-8"))
    asked = Path(STATE["deps"])
    known = json.loads(asked.read_text()).get("packages", {}) if asked.is_file() else {}
    if known.get(package["name"], {}).get("path") != str(project):
        juliapkg.add(package["name"], package["uuid"], dev=True, path=str(project))
    for name in packages:
        if name not in package.get("weakdeps", {}):
            raise ValueError(f"{name} is not among the weak dependencies that {project}/Project.toml names")
        if name not in known:
            juliapkg.add(name, package["weakdeps"][name], version=package.get("compat", {}).get(name))

"""python -m portbench.worker: the process in which a Python- or Julia-hosted port runs.

It speaks the line protocol for the port and calls the port's three functions. Whatever the port
prints goes to standard error, because standard output belongs to the protocol.
"""

from __future__ import annotations

import argparse
import importlib
import math
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from portbench import blame, contract, exchange
from portbench.contract import Fields, Parameters, Specification
from portbench.errors import Refusal, lacking
from portbench.witness import Witness


class PythonPort:
    """A Python module with load, run and state; or, as "module:name", what its port(name) returns."""

    def __init__(self, module: str):
        module, _, name = module.partition(":")
        self.module: Any = importlib.import_module(module)
        if name:
            self.module = self.module.port(name)
        for name in ("load", "run", "state"):
            if not hasattr(self.module, name):
                raise SystemExit(f"the module {module} has no function {name}()")

    def about(self) -> dict[str, Any]:
        said = {"language": "Python", "version": platform.python_version()}
        return said | (self.module.about() if hasattr(self.module, "about") else {})

    def load(self, parameters: Parameters, state: Fields) -> Any:
        return self.module.load(parameters, state)

    def run(self, simulation: Any, steps: int) -> int:
        start = time.perf_counter_ns()
        self.module.run(simulation, steps)
        return time.perf_counter_ns() - start

    def state(self, simulation: Any) -> Fields:
        return self.module.state(simulation)

    def parts(self, simulation: Any) -> dict[str, int]:
        return self.module.parts(simulation) if hasattr(self.module, "parts") else {}


class SpecificationPort:
    """The specification itself, timed like a port."""

    def __init__(self, specification: Specification):
        self.specification = specification
        self.loaded: Parameters = {}
        self.start = math.inf  # nanoseconds of 0 steps, the least since these parameters were loaded

    def about(self) -> dict[str, Any]:
        return {"language": "Python", "version": platform.python_version()}

    def load(self, parameters: Parameters, state: Fields) -> dict[str, Any]:
        self.specification.check_state(parameters, state)
        if parameters != self.loaded:
            self.loaded, self.start = parameters, math.inf
        return {"parameters": parameters, "state": {name: a.copy() for name, a in state.items()}}

    def run(self, simulation: dict[str, Any], steps: int) -> int:
        """A pure function starts anew at every call; the least that 0 steps ever cost is not part of the stepping."""
        advance, parameters = self.specification.advance, simulation["parameters"]
        start = time.perf_counter_ns()
        advance(parameters, simulation["state"], 0)
        middle = time.perf_counter_ns()
        simulation["state"] = advance(parameters, simulation["state"], steps)
        self.start = min(self.start, middle - start)
        return max(0, time.perf_counter_ns() - middle - int(self.start))

    def state(self, simulation: dict[str, Any]) -> Fields:
        parameters, state = simulation["parameters"], simulation["state"]
        return state | self.specification.observe(parameters, state)

    def parts(self, _: Any) -> dict[str, int]:
        return {}


class JuliaPort:
    """A Julia package with load, run! and state, in this process through juliacall."""

    def __init__(self, project: Path, module: str, packages: list[str]):
        from portbench.hosts import julia

        self.jl, self.module = julia.start(project, module, packages)
        self.julia_dict = self.jl.seval("() -> Dict{String,Any}()")
        self.set = self.jl.seval("(d, k, v) -> (d[k] = v; nothing)")
        self.timed_run = self.jl.seval(
            f"(simulation, steps) -> (start = time_ns(); {module}.run!(simulation, steps); Int(time_ns() - start))"
        )
        self.pairs = self.jl.seval("s -> [(string(k), s[k]) for k in keys(s)]")
        self.has_parts = self.jl.seval("m -> isdefined(m, :parts)")(self.module)

    def about(self) -> dict[str, Any]:
        said = {"language": "Julia", "version": str(self.jl.seval("string(VERSION)"))}
        if self.jl.seval("m -> isdefined(m, :about)")(self.module):
            said |= {str(name): str(value) for name, value in self.pairs(self.module.about())}
        return said

    def load(self, parameters: Parameters, state: Fields) -> Any:
        given, arrays = self.julia_dict(), self.julia_dict()
        for name, value in parameters.items():
            self.set(given, name, value)
        for name, array in state.items():
            self.set(arrays, name, array.T)  # the same memory: the first Julia axis is the contiguous one
        return self.module.load(given, arrays)

    def run(self, simulation: Any, steps: int) -> int:
        return int(self.timed_run(simulation, steps))

    def state(self, simulation: Any) -> Fields:
        return {str(name): np.asarray(array).T for name, array in self.pairs(self.module.state(simulation))}

    def parts(self, simulation: Any) -> dict[str, int]:
        return {str(name): int(n) for name, n in self.pairs(self.module.parts(simulation))} if self.has_parts else {}


class Refused(Exception):
    """The reply is `error` and this sentence."""


class Loop:
    """The protocol loop around one port. A load that fails leaves the loaded simulation as it was; a run that
    fails leaves none.
    """

    def __init__(
        self,
        name: str,
        precision: str,
        make: Any,
        specification: Specification,
        told: Callable[[], None] = lambda: None,
    ):
        """`told` is called before each reply."""
        self.name, self.precision, self.specification, self.told = name, precision, specification, told
        self.folders = specification.folders  # in which what a person wrote is looked for
        start = time.perf_counter_ns()
        self.port = make()
        self.import_nanoseconds = time.perf_counter_ns() - start
        self.parameters: Parameters | None = None
        self.simulation: Any = None

    def serve(self, commands: TextIO, replies: TextIO) -> None:
        for line in commands:
            verb, _, rest = line.rstrip("\n").partition(" ")
            try:
                action = {"hello": self.hello, "load": self.load, "run": self.run, "save": self.save}.get(verb)
                if verb == "quit":
                    reply = "ok"
                elif action is None:
                    raise Refused(f"unknown command '{verb[:40]}'")
                else:
                    reply = f"ok {action(rest)}".strip()
            except (Refused, Refusal) as error:
                reply = f"error {error}"
            except Exception as error:  # the port's own: it lives on, and the log has the whole story
                if not isinstance(error, (ValueError, exchange.BadFiles)):
                    traceback.print_exc()
                reply = f"error {_sentence(error, self.folders)}"
            self.told()
            replies.write(reply + "\n")
            replies.flush()
            if verb == "quit":
                return

    def hello(self, _: str) -> str:
        threads = os.environ.get("PORTBENCH_THREADS", "1")
        said = {"protocol": 1, "port": self.name, "threads": threads, "precision": self.precision, "device": "cpu"}
        said |= self.port.about()
        said["import_nanoseconds"] = self.import_nanoseconds
        return " ".join(f"{key}={str(value).replace(' ', '_')}" for key, value in said.items())

    def load(self, folder: str) -> str:
        if not Path(folder).is_dir() or not folder:
            raise Refused(f"there is no folder '{folder}'")
        parameters = exchange.read_parameters(Path(folder))
        try:
            state = exchange.read_fields(Path(folder), self.specification.state, parameters, self.precision)
        except KeyError as error:
            raise Refused(f"{exchange.PARAMETERS} lacks the parameter {error}") from None
        for name, array in state.items():
            if not np.all(np.isfinite(array)):
                raise Refused(f"{name} holds a number that is not finite")
        for name, value in parameters.items():
            if any(isinstance(v, float) and not math.isfinite(v) for v in _all(value)):
                raise Refused(f"the parameter {name} is not finite")
        self.simulation = self.port.load(parameters, state)
        self.parameters = parameters
        for array in state.values():  # they were lent: a port that kept one instead of copying it is wrong from here on
            array.fill(np.nan)
        return self._parts()

    def run(self, steps: str) -> str:
        if self.parameters is None:
            raise Refused("run before load")
        if not steps.isascii() or not steps.isdigit():
            raise Refused(f"run needs a number of steps of at least 0, and not '{steps[:40]}'")
        try:
            return f"nanoseconds={self.port.run(self.simulation, int(steps))} {self._parts()}"
        except BaseException:
            self.parameters = None  # it stopped half-way: nobody may take that for a state
            raise

    def save(self, folder: str) -> str:
        if self.parameters is None:
            raise Refused("save before load")
        if not Path(folder).is_dir() or not folder:
            raise Refused(f"there is no folder '{folder}'")
        fields = self.port.state(self.simulation)
        if not isinstance(fields, Mapping):
            raise Refused(f"the port's state() gives what is {contract.kind(fields)}, and not a dictionary of fields")
        if lack := lacking(self.specification.fields, fields):
            raise Refused(f"the port's state() {lack}")
        for name, field in self.specification.fields.items():
            contract.refuse_unless_numbers(f"the port's {name}", fields[name])
            shape, want = np.shape(fields[name]), field.shape(self.parameters)
            if shape != want:
                raise Refused(f"the port's {name} has shape {shape} where the specification says {want}")
        exchange.write_parameters(Path(folder), self.parameters)
        wanted = {name: np.asarray(fields[name]) for name in self.specification.fields}
        for name, array in wanted.items():
            if self.precision == "float32" and array.dtype != np.float32:
                raise Refused(f"the port's {name} is of type {array.dtype}, and its class is float32")
        exchange.write_fields(Path(folder), wanted, self.precision)
        return self._parts()

    def _parts(self) -> str:
        """Of the time of the last command, as the port tells it."""
        return " ".join(f"{name}_nanoseconds={int(n)}" for name, n in self.port.parts(self.simulation).items())


def _all(value: Any) -> tuple:
    return value if isinstance(value, tuple) else (value,)


def _sentence(error: Exception, folders: list[Path]) -> str:
    """Without the backtrace, which is in the log."""
    if isinstance(error, exchange.BadFiles):
        return str(error)
    if type(error).__name__ == "JuliaError":
        return blame.first_line(error).removeprefix("ArgumentError: ")
    return blame.sentence(error, folders)


def main(arguments: list[str] | None = None) -> None:
    parse = argparse.ArgumentParser(prog="python -m portbench.worker")
    for option in ("--host", "--port", "--spec"):
        parse.add_argument(option, required=True)
    parse.add_argument("--module", default="")
    parse.add_argument("--project", default="")
    parse.add_argument("--packages", nargs="*", default=[])
    parse.add_argument("--precision", default="float64")
    parse.add_argument("--path", action="append", default=[])
    parse.add_argument("--root", type=Path, help="The project's folder.")
    parse.add_argument("--used", type=Path, help="Keep in this file what the port uses of it.")
    parse.add_argument("--import-only", action="store_true", help="End when the port is imported.")
    given = parse.parse_args(arguments)
    # Standard input and output are the protocol's alone. The port gets standard error in place of
    # the one; and nothing in place of the other, or Julia would make it non-blocking for us all.
    commands = os.fdopen(os.dup(0), encoding="utf-8")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.path[:0] = given.path
    witness = Witness([given.root, *map(Path, given.path)]) if given.used else None
    places = [Path(folder) for folder in given.path]
    try:
        specification = contract.imported(given.spec, places, [Path.cwd(), *places])
    except Refusal as refusal:
        sys.exit(str(refusal))
    if witness:
        witness.port_begins()
    makers = {
        "python": lambda: PythonPort(given.module),
        "julia": lambda: JuliaPort(Path(given.project), given.module, given.packages),
        "spec": lambda: SpecificationPort(specification),
    }
    told = partial(witness.write, given.used) if witness else lambda: None
    try:
        loop = Loop(given.port, given.precision, makers[given.host], specification, told)
    except Exception as error:
        traceback.print_exc()
        sys.exit(f"its module {given.module} cannot be imported: {_sentence(error, specification.folders)}")
    if given.import_only:
        told()
        return
    try:
        loop.serve(commands, replies)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()

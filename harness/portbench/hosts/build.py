"""Building executables, once per hash of sources, command, toolchain and processor."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cpuinfo

from portbench import cache
from portbench.errors import PortFailure
from portbench.hosts import environment
from portbench.manifest import Manifest, Port
from portbench.places import cache_folder
from portbench.protocol import die_with_the_harness

LONGEST_BUILD = 1800  # seconds


@dataclass(frozen=True)
class Built:
    command: list[str]
    seconds: float | None
    shell_command: str


def processor() -> str:
    """The processor's model and features: a program built for this one may not run on another."""
    global _processor
    if not _processor:
        info = cpuinfo.get_cpu_info()
        flags = " ".join(sorted(info.get("flags", [])))
        _processor = f"{info.get('brand_raw', platform.processor())} {platform.machine()} {flags}"
    return _processor


_processor = ""


def hash_sources(manifest: Manifest, port: Port, toolchain: str, files: list[Path]) -> str:
    """SHA-256 over everything that decides what would run; `files` are the sources and what else is imported."""
    settings = port.model_dump(exclude={"summary", "install", "language", "variant_of"}, exclude_defaults=True)
    contents = [(os.path.relpath(p, manifest.root), hashlib.sha256(p.read_bytes()).hexdigest()) for p in files]
    return hash_text(settings, toolchain, processor(), contents)


def hash_text(*parts: Any) -> str:
    """SHA-256 of anything that JSON can write."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def file_name(*names: object) -> str:
    """One that is safe on any system, and another for other names."""
    text = "-".join(map(str, names))
    safe = re.sub(r"[^A-Za-z0-9._+-]", "_", text)[:80]
    return safe if safe == text and not safe.startswith(".") else f"_{safe}-{hash_text(*map(str, names))[:8]}"


def write_whole(path: Path, text: str) -> None:
    """All of it or nothing, whoever reads or writes it meanwhile."""
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def executable(manifest: Manifest, port: Port, digest: str) -> Built:
    """The command that starts the port, after running its build command unless the result is there."""
    if not port.build:
        return Built(_resolve(manifest, port.run, ""), None, "")
    # by a compiler where it is: what it makes may look for its libraries there, and that folder may be gone
    place = hash_text(digest, str(_place(manifest, port.build[0])))[:16]
    folder = cache_folder() / "build" / f"{file_name(port.name)}-{place}"
    output, record = folder / file_name(port.name), folder / "build.json"
    command, run = (_resolve(manifest, words, str(output)) for words in (port.build, port.run))
    shell_command = shlex.join(port.build)
    if record.is_file() and output.exists():
        cache.used(folder)
        return Built(run, json.loads(record.read_text())["seconds"], shell_command)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another portbench may be building the same: let go when this block ends
        if not (record.is_file() and output.exists()):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            made = {"seconds": _build(manifest, port, command, output), "command": command}
            write_whole(record, json.dumps(made))
    return Built(run, json.loads(record.read_text())["seconds"], shell_command)


def _build(manifest: Manifest, port: Port, command: list[str], output: Path) -> float:
    """Seconds that it took."""
    start = time.perf_counter()
    code, log = _run(command, manifest.root, environment.known(port.environment))
    seconds = time.perf_counter() - start
    if code:
        raise PortFailure("broken", f"its build ended with exit status {code}: {first_error(log)[:300]}", log)
    if not output.exists():
        raise PortFailure("broken", f"its build made no {output.name} where {{output}} is", log)
    return seconds


def first_error(log: str) -> str:
    """The compiler's own first error, with the file and line where it tells them."""
    lines = [line.strip() for line in log.splitlines()]
    for pattern in (_ERROR_AT, _OF_THE_LINKER):
        for line in lines:
            if pattern.search(line):
                return line
    for k, line in enumerate(lines):
        if _ERROR.match(line):  # Rust says where on the next lines, Fortran on those before
            after = (one.removeprefix("-->").strip() for one in lines[k + 1 : k + 4] if one.startswith("-->"))
            before = (one.rstrip(":") for one in reversed(lines[max(0, k - 6) : k]) if _AT.match(one))
            where = next(after, "") or next(before, "")
            return f"{where}: {line}" if where else line
    said = [line for line in lines if line]
    return said[-1] if said else "it says nothing"


_AT = re.compile(r"^\S[^:]*:\d+(:\d+)?:?$")
_ERROR_AT = re.compile(r"^\S.*(:\d+(:\d+)?|\(\d+\)):? .*\b(error|undefined)\b", re.IGNORECASE)
_OF_THE_LINKER = re.compile(
    r"undefined (reference|symbol)|cannot find (-l|\S+\.[oa]\b)|library (\S+ )?not found", re.IGNORECASE
)
_ERROR = re.compile(r"^(\S+: )?(fatal )?error\b", re.IGNORECASE)


def _run(command: list[str], folder: Path, given: dict[str, str]) -> tuple[int, str]:
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=die_with_the_harness,
        )
    except OSError as error:
        raise PortFailure("broken", f"its build cannot start: {command[0]}: {error.strerror}") from None
    try:
        log, _ = process.communicate(timeout=LONGEST_BUILD)
    except BaseException as error:  # Ctrl-C too: leave no compiler behind
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            raise PortFailure("broken", f"its build was still running after {LONGEST_BUILD} s") from None
        raise
    return process.returncode, log


def _place(manifest: Manifest, word: str) -> Path:
    """Where the program is that a command begins with."""
    from portbench.hosts import program

    named = program(manifest.root, word)
    return Path(shutil.which(named, path=environment.search_path()) or named).resolve()


def _resolve(manifest: Manifest, words: list[str], output: str) -> list[str]:
    """A command of the manifest as it is run, with the program that it makes or is made in place of {output}."""
    from portbench.hosts import program

    first, *others = (word.replace("{output}", output) for word in words)
    return [first if "{output}" in words[0] else program(manifest.root, first), *others]

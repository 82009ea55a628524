"""Building executables, once per hash of sources, command, toolchain and processor."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shlex
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cpuinfo
import platformdirs

from portbench.errors import PortFailure
from portbench.manifest import Manifest, Port
from portbench.protocol import die_with_the_harness

LONGEST_BUILD = 1800  # seconds


@dataclass(frozen=True)
class Built:
    command: list[str]
    seconds: float | None
    shell_command: str


def cache_folder() -> Path:
    """Where builds, twins and compiled kernels are kept: PORTBENCH_CACHE, or the user's cache folder."""
    return Path(os.environ.get("PORTBENCH_CACHE") or platformdirs.user_cache_dir("portbench"))


def processor() -> str:
    """The processor's model and features: a program built for this one may not run on another."""
    global _processor
    if not _processor:
        info = cpuinfo.get_cpu_info()
        flags = " ".join(sorted(info.get("flags", [])))
        _processor = f"{info.get('brand_raw', platform.processor())} {platform.machine()} {flags}"
    return _processor


_processor = ""


def hash_sources(manifest: Manifest, port: Port, toolchain: str) -> str:
    """SHA-256 over everything that decides what would run."""
    from portbench.hosts import source_files

    settings = port.model_dump(exclude={"summary", "install", "language", "variant_of"}, exclude_defaults=True)
    files = source_files(manifest.root, port.sources)
    contents = [(os.path.relpath(p, manifest.root), hashlib.sha256(p.read_bytes()).hexdigest()) for p in files]
    return hash_text(settings, toolchain, processor(), contents)


def hash_text(*parts: Any) -> str:
    """SHA-256 of anything that JSON can write."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def executable(manifest: Manifest, port: Port, digest: str, path: str) -> Built:
    """The command that starts the port, after running its build command unless the result is there."""
    if not port.build:
        return Built(_resolve(manifest, port.run), None, "")
    folder = cache_folder() / "build" / f"{port.name}-{digest[:16]}"
    output, record = folder / port.name, folder / "build.json"
    command = [word.replace("{output}", str(output)) for word in port.build]
    run = [word.replace("{output}", str(output)) for word in port.run]
    shell_command = shlex.join(port.build)
    if record.is_file() and output.exists():
        return Built(run, json.loads(record.read_text())["seconds"], shell_command)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another portbench may be building the same: let go when this block ends
        if not (record.is_file() and output.exists()):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            made = {"seconds": _build(manifest, command, output, path), "command": command}
            partial = record.with_suffix(".partial")
            partial.write_text(json.dumps(made))
            partial.replace(record)
    return Built(run, json.loads(record.read_text())["seconds"], shell_command)


def _build(manifest: Manifest, command: list[str], output: Path, path: str) -> float:
    """Seconds that it took."""
    start = time.perf_counter()
    code, log = _run(command, manifest.root, path)
    seconds = time.perf_counter() - start
    if code:
        first = next((line for line in log.splitlines() if "error" in line.lower()), log.strip()[-300:])
        raise PortFailure("missing", f"its build ended with exit status {code}: {first.strip()[:300]}", log)
    if not output.exists():
        raise PortFailure("missing", f"its build made no {output.name} where {{output}} is", log)
    return seconds


def _run(command: list[str], folder: Path, path: str) -> tuple[int, str]:
    environment = {**os.environ, "PATH": path, "MODULAR_TELEMETRY_ENABLED": "false"}
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=die_with_the_harness,
        )
    except OSError as error:
        raise PortFailure("missing", f"its build cannot start: {command[0]}: {error.strerror}") from None
    try:
        log, _ = process.communicate(timeout=LONGEST_BUILD)
    except BaseException as error:  # Ctrl-C too: leave no compiler behind
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            raise PortFailure("missing", f"its build was still running after {LONGEST_BUILD} s") from None
        raise
    return process.returncode, log


def _resolve(manifest: Manifest, command: list[str]) -> list[str]:
    """A program named by a path is looked for beside the manifest; one named alone, on the PATH."""
    local = manifest.root / command[0]
    return [str(local), *command[1:]] if local.exists() else command

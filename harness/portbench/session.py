"""A session file: everything one run found, raw, in one JSON document (docs/session.md).

While a session runs, each record is a line of a journal beside the final file, flushed to disk before
anything else happens. finish() turns the journal into the document; a journal left by a killed run
is read just as well.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import platform
import re
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from portbench import __version__
from portbench.errors import Refusal

if TYPE_CHECKING:  # importing pandas takes longer than most commands
    import pandas as pd

SCHEMA = "portbench-session/1"
# The kinds of record, and the list in the document that holds them.
KINDS = {
    "port": "ports",
    "certificate": "certificates",
    "sample": "samples",
    "phase": "phases",
    "memory": "memory",
    "failure": "failures",
    "conditions": "conditions",
    "round": "rounds",
    "series": "series",
    "course": "courses",
    "disturbed": "disturbed",
    "seal": "seals",
    "measured": "measured",
}


class Session:
    """Collects records, each safe on disk before the next."""

    def __init__(self, folder: Path, header: dict[str, Any]):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
            self._open(folder / f"{stamp}-{os.getpid()}.jsonl", "w")
        except OSError as error:
            raise Refusal(f"No session can be written to {folder}: {error.strerror}; give another --results") from None
        try:
            began = datetime.now(UTC).isoformat()
            self.record("header", schema=SCHEMA, portbench=__version__, started=began, **{"sealed": True} | header)
        except Refusal:
            self.journal.unlink(missing_ok=True)
            raise

    @classmethod
    def resume(cls, journal: Path) -> Session:
        """Go on with a session that was interrupted; a last line that was cut short is cut off."""
        self = cls.__new__(cls)
        if journal.suffix != ".jsonl":
            raise Refusal(f"{journal} is no journal: only a session that was stopped, a .jsonl file, can be resumed")
        read(journal)
        try:
            self._open(journal, "a")
            os.truncate(journal, journal.read_bytes().rfind(b"\n") + 1)
        except OSError as error:
            raise Refusal(f"{journal} cannot be written: {error.strerror}") from None
        return self

    def _open(self, journal: Path, mode: str) -> None:
        self.journal, self.path = journal, journal.with_suffix(".json")
        self._file = journal.open(mode, encoding="utf-8")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # let go when this process ends, however it ends
        except BlockingIOError:
            raise Refusal(f"The session {journal} is still running: stop it first") from None

    def so_far(self) -> dict[str, Any]:
        """The document of what is recorded."""
        return read_journal(self.journal)

    def record(self, kind: str, /, **data: Any) -> None:
        line = json.dumps(plain({"kind": kind, **data}), allow_nan=False) + "\n"
        try:
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):  # what is buffered cannot be written either
                self._file.close()
            raise Refusal(
                f"The session cannot be written to {self.journal}: {error.strerror}: make room there"
            ) from None

    def finish(self) -> Path:
        """Write the document, then remove the journal."""
        self._file.close()
        document = read_journal(self.journal)
        document["finished"] = datetime.now(UTC).isoformat()
        partial = self.path.with_suffix(".partial")
        try:
            partial.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
            partial.replace(self.path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            whole = f"its journal {self.journal} is whole, and `portbench report` reads it as well"
            raise Refusal(f"The session cannot be written to {self.path}: {error.strerror}; {whole}") from None
        self.journal.unlink()
        return self.path


def read_journal(path: Path) -> dict[str, Any]:
    """The document that a journal stands for. A last line cut short by a kill is left out."""
    document: dict[str, Any] = {}
    lists: dict[str, list] = {name: [] for name in KINDS.values()}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        kind = record.pop("kind")
        if kind == "header":
            document |= record
        else:
            lists[KINDS[kind]].append(record)
    return document | lists


def read(path: str | Path) -> dict[str, Any]:
    """One session's document, from its file or the journal of a run that was killed."""
    path = Path(path)
    try:
        document = read_journal(path) if path.suffix == ".jsonl" else json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Refusal(f"{path} cannot be read as a session: {error}") from None
    except (KeyError, TypeError, AttributeError):
        raise Refusal(f"{path} is no journal of a session: it holds other records") from None
    if not isinstance(document, dict) or "schema" not in document:
        raise Refusal(f"{path} is no session: it says nothing of its schema")
    if document["schema"] != SCHEMA:
        raise Refusal(f"{path} is no session of schema {SCHEMA}, but {document['schema']}")
    earlier = ("conditions", "rounds", "series", "courses", "disturbed", "seals")  # an earlier portbench kept none
    document = {name: [] for name in earlier} | document
    lacking = [
        name for name in ("cases", "threads", "machine", "baseline", "unit", *KINDS.values()) if name not in document
    ]
    if lacking:
        raise Refusal(f"{path} is no whole session: it lacks {', '.join(lacking)}")
    return document


def samples(document: dict[str, Any]) -> pd.DataFrame:
    """One row per sample, with the time per step and per unit of work and step."""
    import pandas as pd

    columns = ["port", "case", "threads", "round", "turn", "steps", "nanoseconds", "round_trip"]
    frame = pd.DataFrame(document["samples"], columns=columns)
    frame["work"] = frame["case"].map({name: case["work"] for name, case in document["cases"].items()})
    frame["ns_per_step"] = frame["nanoseconds"] / frame["steps"]
    frame["ns_per_unit"] = frame["ns_per_step"] / frame["work"]
    return frame


def load_results(path: str | Path = "results") -> pd.DataFrame:
    """All samples of a session file, or of every session in a folder, as one tidy DataFrame.

    Columns: session (file name), port, case, threads, round (fresh processes), turn (in the round),
    steps, nanoseconds (by the port's clock), round_trip (by the harness's), work (units per step),
    ns_per_step, ns_per_unit, level (agreement reached), certified. docs/session.md has the details.
    """
    import pandas as pd

    path = Path(path)
    files = [path] if path.is_file() else [f for f in sorted(path.glob("*")) if _looks_like_one(f)]
    if not files:
        raise Refusal(f"There is no session in {path}: run `portbench compare` first")
    frames = []
    for file in files:
        document = read(file)
        frame = samples(document)
        frame.insert(0, "session", file.stem)
        found = [certificate(document, *row) for row in zip(frame["port"], frame["case"], frame["threads"])]
        frame["level"] = [c["level"] if c else "" for c in found]
        frame["certified"] = [bool(c and c["holds"]) for c in found]
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def looks_like_a_file_of_one(name: str) -> bool:
    """Whether a session, wherever its folder is, would have a file of this name."""
    return bool(re.fullmatch(r"\d{8}-\d{6}-\d+\.(jsonl?|partial)", name))


def _looks_like_one(file: Path) -> bool:
    """Whether a file in a folder of results is a session, and not another command's document."""
    return file.suffix in (".json", ".jsonl") and SCHEMA.split("/")[0] in file.read_text(errors="replace")


def certificate(document: dict[str, Any], port: str, case: str, threads: int) -> dict[str, Any] | None:
    """The certificate that covers this; a port that cannot use threads is certified with one."""
    found = {c["threads"]: c for c in document["certificates"] if (c["port"], c["case"]) == (port, case)}
    alone = any(p["name"] == port and not p["uses_threads"] for p in document["ports"])
    return found.get(1 if alone else threads)


def machine() -> dict[str, Any]:
    """The facts about this machine and its load that a reader of figures needs."""
    import cpuinfo

    cpu = cpuinfo.get_cpu_info()
    return {
        "system": platform.platform(),
        "processor": cpu.get("brand_raw", platform.processor()),
        "architecture": platform.machine(),
        "vectors": [f for f in ("avx512f", "avx2", "avx", "sse4_2", "asimd", "sve") if f in cpu.get("flags", [])],
        "cores": psutil.cpu_count(logical=False),
        "logical_cores": psutil.cpu_count(),
        "memory": psutil.virtual_memory().total,
        "load": psutil.getloadavg(),
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "time": time.time(),
    }


def plain(value: Any) -> Any:
    """The same in what JSON knows: NumPy's and paths as plain values, infinities and NaN as null."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)

"""One running port: start it, speak the line protocol with it, and be rid of it whatever happens.

Every wait has a limit, and what takes no time (`hello`, a refusal) a short one. A port that crashes, hangs,
floods its standard output or replies out of turn becomes a PortFailure that says so in one sentence, with
the words of its log that tell why.
"""

from __future__ import annotations

import ctypes
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

import psutil

from portbench import exchange, places
from portbench.contract import Fields, Parameters, Specification
from portbench.errors import PortFailure

LONGEST_LINE = 4096
LOG_TAIL = 2000
LOG_READ = 1 << 20  # bytes at the end of a log in which the reason of a failure is looked for
SILENCE = 10.0  # seconds without a reply and without work, after which a command that costs nothing is given up
BUSY_SILENCE = 6 * SILENCE  # the same of a port that works meanwhile
LEAST_WORK = 0.05  # seconds of processor time; a process that waits uses a little too
GLANCE = 0.5  # seconds between looks at a port that is waited for: it may have died, with its pipes held by a child
FLUSH = "did it forget to flush standard output after its reply (fflush, flush=True)?"
# A line of a log that says why, where its last is only a line of a stack: Julia's own words.
_REASON = re.compile(r"^ERROR: |LoadError: |JuliaError: |ParseError|UndefVarError|Package \S+ not found")
ONE_LINE = "a reply is one line, written when the command is done, and all else goes to standard error"
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_the_harness() -> None:
    """In the child, before exec: ask Linux to kill it when the harness dies, even by SIGKILL."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class RunningPort:
    """A port's process. Use as a context manager: leaving it ends the process and all its children."""

    def __init__(
        self,
        name: str,
        command: list[str],
        environment: dict[str, str],
        folder: Path,
        timeout: float = 60,
        processors: Sequence[int] = (),
        start_silence: float = SILENCE,
    ):
        """`processors`: those on which it is kept, where the system can; empty for all. `start_silence`: seconds that
        it may do nothing before it first answers; a start that waits for a download needs more.
        """

        def before_exec() -> None:
            die_with_the_harness()
            if processors:
                os.sched_setaffinity(0, processors)

        self.name = name
        self.timeout = timeout
        try:
            self._log = tempfile.TemporaryFile()
        except OSError as error:
            raise places.no_room(error) from None
        self._unread = b""
        self._trial, self._silence = "'hello'", start_silence  # of a prompt command: see at_once()
        self._answered = False
        self.parts: dict[str, int] = {}  # nanoseconds, by the port's account of its last command
        self.started = time.perf_counter_ns()
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=environment,
                cwd=folder,
                start_new_session=True,  # its own group: Ctrl-C reaches the harness, which ends it in good order
                preexec_fn=before_exec,
            )
        except OSError as error:
            self._log.close()
            raise PortFailure("broken", f"{name} cannot be started: {command[0]}: {error.strerror}") from None
        assert self.process.stdin and self.process.stdout
        self._in, self._out = self.process.stdin, self.process.stdout
        os.set_blocking(self._out.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)

    # ------------------------------------------------------------ the five commands

    def hello(self, timeout: float | None = None) -> dict[str, str]:
        if self._answered:
            with self.at_once("'hello'"):
                said = self.ask("hello", timeout)
        else:
            said = self.ask("hello", timeout)
        if said.get("protocol") != "1":
            raise self._failure("protocol", _no_hello(said))
        return said

    def load(self, folder: Path, timeout: float | None = None) -> None:
        self.ask(f"load {folder}", timeout)

    def run(self, steps: int, timeout: float | None = None) -> int:
        """Nanoseconds by the port's own clock."""
        said = self.ask(f"run {steps}", timeout)
        try:
            nanoseconds = int(said["nanoseconds"])
        except (KeyError, ValueError):
            raise self._failure("protocol", f"replied to run without nanoseconds=N, but {said}: {ONE_LINE}") from None
        if nanoseconds < 0:
            raise self._failure("protocol", f"says that {steps} steps took {nanoseconds} ns")
        return nanoseconds

    def save(self, folder: Path, timeout: float | None = None) -> None:
        self.ask(f"save {folder}", timeout)

    def quit(self, timeout: float = 10) -> None:
        """End in good order; a port that will not is killed."""
        try:
            self.ask("quit", timeout)
            self.process.wait(timeout)
        except (PortFailure, subprocess.TimeoutExpired):
            pass
        self.close()

    @contextmanager
    def at_once(self, trial: str) -> Iterator[None]:
        """What is asked within costs the port nothing, so that it must reply at once; a sentence calls it `trial`."""
        self._trial, self._silence = trial, SILENCE
        try:
            yield
        finally:
            self._trial = ""

    # ------------------------------------------------------------ one line out, one line in

    def ask(self, command: str, timeout: float | None = None) -> dict[str, str]:
        """Send one command and return the key=value pairs of the reply; PortFailure otherwise."""
        self.nothing_unasked_for()
        try:
            self._in.write(command.encode() + b"\n")
            self._in.flush()
        except OSError:  # it has closed its standard input: most likely it is dead
            raise self._dead_or("protocol", f"closed its standard input before '{_verb(command)}'") from None
        line = self._read_line(command, timeout or self.timeout)
        if not self._answered:
            self._answered, self._trial = True, ""
        word, _, rest = line.partition(" ")
        if word == "error":
            raise self._failure("refused", f"refused '{_verb(command)}': {rest.strip() or 'it gives no reason'}")
        if word != "ok":
            raise self._failure(
                "protocol", f"replied '{line[:80]}' to '{_verb(command)}': a reply begins with ok or error"
            )
        said = dict(pair.split("=", 1) for pair in rest.split() if "=" in pair)
        self.parts = {}
        for key in (key for key in said if key.endswith("_nanoseconds")):
            if not said[key].isdecimal():
                raise self._failure(
                    "protocol", f"replied {key}={said[key][:40]} to '{_verb(command)}': no whole number"
                )
            self.parts[key.removesuffix("_nanoseconds")] = int(said[key])
        return said

    def _read_line(self, command: str, timeout: float) -> str:
        wait = _Wait(self.process.pid, timeout, self._silence if self._trial else None, starting=not self._answered)
        what = self._trial or f"'{_verb(command)}'"
        while b"\n" not in self._unread:
            if len(self._unread) > LONGEST_LINE:
                raise self._failure(
                    "protocol", f"wrote {len(self._unread)} bytes without an end of line: only replies go to stdout"
                )
            if not self._selector.select(max(0.0, min(GLANCE, wait.left()))):
                if self.process.poll() is not None and not self._selector.select(0):
                    raise self._dead_or("protocol", f"gave no reply to '{_verb(command)}'")
                if why := wait.over():
                    raise self._failure("hung", f"did not reply to {what} within {why}")
                continue
            more = os.read(self._out.fileno(), 65536)
            if not more:
                raise self._dead_or("protocol", f"closed its standard output instead of replying to '{_verb(command)}'")
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        if self._unread:
            all_of_it = _clip(line + b" / " + self._unread)
            raise self._failure(
                "protocol",
                f"wrote more than the one reply line to '{_verb(command)}' on stdout: '{all_of_it}': {ONE_LINE}",
            )
        return line.decode(errors="replace").strip()

    def nothing_unasked_for(self, wait: float = 0) -> None:
        """PortFailure if the port has written to stdout, or does within so many seconds."""
        if self._selector.select(wait):
            junk = os.read(self._out.fileno(), 65536)
            if junk:
                raise self._failure("protocol", f"wrote '{_clip(junk)}' on stdout without being asked: {ONE_LINE}")

    # ------------------------------------------------------------ how it ended

    def log(self) -> str:
        """The end of what the port wrote to standard error."""
        if self._log.closed:
            return ""
        return self._end_of_log(LOG_TAIL)

    def _end_of_log(self, length: int) -> str:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - length))
        return self._log.read().decode(errors="replace").strip()

    def _last_words(self) -> str:
        """The line of the log that says why: Julia's own word for an error, or else the last."""
        lines = [line.strip() for line in self._end_of_log(LOG_READ).splitlines() if line.strip()]
        return next((line for line in lines if _REASON.search(line)), lines[-1] if lines else "")

    def _dead_or(self, kind: str, what: str) -> PortFailure:
        try:
            code = self.process.wait(2)
        except subprocess.TimeoutExpired:
            return self._failure(kind, what)
        how = f"by signal {_signal(-code)}" if code < 0 else f"with exit status {code}"
        return self._failure("crashed", f"ended {how} {what.partition(' ')[2] and '(it ' + what + ')'}")

    def _failure(self, kind: str, what: str) -> PortFailure:
        log = self.log()
        last = self._last_words()[:200] if log and kind in ("crashed", "hung") else ""
        if kind != "refused":
            self.close()
        return PortFailure(kind, f"{self.name} {what}" + (f"; its log ends: {last}" if last else ""), log)

    def close(self) -> None:
        """Kill the process and every child in its group, and let go of the pipes. Safe to call twice."""
        if self._log.closed:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._selector.close()
        for stream in (self._in, self._out, self._log):
            with suppress(OSError):  # unsent bytes to a dead port
                stream.close()

    def __enter__(self) -> RunningPort:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Exchange:
    """A running port, and the folder through which it is loaded and read back. Leaving it ends both."""

    def __init__(self, port: RunningPort, specification: Specification, precision: str = "float64"):
        self.port, self.specification, self.precision = port, specification, precision
        try:
            self.folder = Path(tempfile.mkdtemp(prefix="portbench-"))
        except OSError as error:
            port.close()
            raise places.no_room(error) from None

    def load(self, parameters: Parameters, state: Fields) -> None:
        try:
            inbox = self._fresh("in")
            exchange.write_parameters(inbox, parameters)
            exchange.write_fields(inbox, state, self.precision)
        except OSError as error:
            raise places.no_room(error) from None
        self.port.load(inbox)

    def spoil_what_was_lent(self) -> None:
        """Overwrite the files of the last load: whoever still reads them now is wrong."""
        for file in (self.folder / "in").iterdir():
            file.write_bytes(b"\xff" * file.stat().st_size)

    def save(self, parameters: Parameters) -> tuple[Parameters, Fields]:
        try:
            outbox = self._fresh("out")
            exchange.poison(outbox, self.specification.fields, parameters, self.precision)
        except OSError as error:
            raise places.no_room(error) from None
        self.port.save(outbox)
        try:
            fields = exchange.read_fields(outbox, self.specification.fields, parameters, self.precision)
            return exchange.read_parameters(outbox), {name: a.astype(float) for name, a in fields.items()}
        except exchange.BadFiles as error:
            self.port.nothing_unasked_for(wait=1)  # or a second reply to `run` was taken for that to `save`
            raise PortFailure("protocol", f"{self.port.name} saved a folder in which {error}") from None

    def follow(self, parameters: Parameters, state: Fields, marks: Iterable[int]) -> Iterator[Fields]:
        """Load this state, and give what is saved after each of `marks` steps from it."""
        self.load(parameters, state)
        step = 0
        for mark in marks:
            self.port.run(mark - step)
            step = mark
            yield self.save(parameters)[1]

    def _fresh(self, name: str) -> Path:
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def close(self) -> None:
        """End the port's process, and remove the folder."""
        self.port.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Exchange:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Wait:
    """For one reply: until a limit, or a much shorter one for a port that replies to what costs nothing, or that does
    nothing. A loaded machine, or a port that starts, may take its time: that is told by the port's processor time.
    """

    def __init__(self, pid: int, limit: float, silence: float | None, starting: bool):
        self.pid, self.limit, self.silence = pid, limit, silence
        if silence is not None and not starting:
            self.limit = min(limit, BUSY_SILENCE)
        self.begin = self.worked = time.monotonic()
        self.used = 0.0  # seconds of processor time when it was last seen to work

    def left(self) -> float:
        return self.begin + self.limit - time.monotonic()

    def over(self) -> str:
        """How long it was waited, with what may be the cause, if that was too long; else nothing."""
        now = time.monotonic()
        if self.silence is not None:
            used, working = _work(self.pid)
            if working or used > self.used + LEAST_WORK:
                self.used, self.worked = used, now
            if now - self.worked >= self.silence:
                return f"{self.silence:g} s, in which it did nothing: {FLUSH}"
        if now - self.begin < self.limit:
            return ""
        return f"{self.limit:g} s" + (f": {FLUSH}" if self.silence is not None else "")


def _work(pid: int) -> tuple[float, bool]:
    """Processor time of a process and its children in seconds, and whether one of them runs or reads a disk now."""
    used, working = 0.0, False
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in [process, *process.children(recursive=True)]:
            with suppress(psutil.Error):
                times = one.cpu_times()
                used += times.user + times.system
                working |= one.status() in (psutil.STATUS_RUNNING, psutil.STATUS_DISK_SLEEP)
    return used, working


def _signal(number: int) -> str:
    """Its name; those above 31 have none but the first and the last."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _no_hello(said: dict[str, str]) -> str:
    if "protocol" in said:
        return f"replied protocol={said['protocol']} to hello, and portbench speaks 1"
    return f"replied to hello without protocol=1, but {said}: {ONE_LINE}"


def _verb(command: str) -> str:
    return command.partition(" ")[0] if not command.startswith("run") else command


def _clip(junk: bytes) -> str:
    return junk[:60].decode(errors="replace").strip().replace("\n", "\\n")

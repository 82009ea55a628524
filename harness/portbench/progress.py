"""What is going on: bars on a terminal, plain lines elsewhere; always on standard error."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

OFTEN, SELDOM = 15, 60  # seconds between words of where a task is: in its first minutes, and then


class Progress:
    """One or more named tasks. `quiet` says nothing at all."""

    def __init__(self, quiet: bool = False):
        self.console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self._bars: Bars | None = None
        if self.console.is_terminal and not quiet:
            show = [
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.fields[now]}", markup=False),
                TimeElapsedColumn(),
            ]
            self._bars = Bars(*show, console=self.console)

    def __enter__(self) -> Progress:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._bars.stop()

    def line(self, text: str) -> None:
        self.console.print(text, markup=False)

    @contextmanager
    def task(self, name: str, total: float, short: bool = False) -> Iterator[Task]:
        """A task of `total` steps; its bar is drawn on a terminal, and its name printed elsewhere, that of a `short`
        one only if it takes long.
        """
        if self._bars is None:
            if not short:
                self.line(f"{name} ...")
            with self._said_now_and_then(name, task := Task(None, None)):
                yield task
            return
        ident = self._bars.add_task(name, total=total, now="")
        yield Task(self._bars, ident)
        self._bars.update(ident, completed=total, now="")

    @contextmanager
    def _said_now_and_then(self, name: str, task: Task) -> Iterator[None]:
        """A line of how long it has been at what."""
        done, begin = threading.Event(), time.monotonic()

        def speak() -> None:
            wait = OFTEN
            while not done.wait(max(0.0, begin + wait - time.monotonic())):
                self.line(f"{name}: {task.text + ', ' if task.text else ''}{wait} s so far")
                wait += OFTEN if wait < 2 * SELDOM else SELDOM

        threading.Thread(target=speak, daemon=True).start()
        try:
            yield
        finally:
            done.set()


class Task:
    """A bar on a terminal, or nothing; `text` is what it is at."""

    def __init__(self, bars: Bars | None, ident: TaskID | None):
        self._bars, self._ident, self.text = bars, ident, ""

    def _update(self, **changes: object) -> None:
        if self._bars is not None and self._ident is not None:
            self._bars.update(self._ident, **changes)  # type: ignore[arg-type]

    def step(self) -> None:
        self._update(advance=1)

    def set(self, completed: float) -> None:
        self._update(completed=completed)

    def now(self, text: str) -> None:
        self.text = text
        self._update(now=text)

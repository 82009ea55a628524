"""What is going on: bars on a terminal, plain lines elsewhere; always on standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars


class Progress:
    """One or more named tasks. `quiet` says nothing at all."""

    def __init__(self, quiet: bool = False):
        self.console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self._bars: Bars | None = None
        if self.console.is_terminal and not quiet:
            show = [
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[now]}"),
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
    def task(self, name: str, total: float) -> Iterator[Task]:
        """A task of `total` steps; its bar is drawn on a terminal, and its name printed elsewhere."""
        if self._bars is None:
            self.line(f"{name} ...")
            yield Task(None, None)
            return
        ident = self._bars.add_task(name, total=total, now="")
        yield Task(self._bars, ident)
        self._bars.update(ident, completed=total, now="")


class Task:
    def __init__(self, bars: Bars | None, ident: TaskID | None):
        self._bars, self._ident = bars, ident

    def _update(self, **changes: object) -> None:
        if self._bars is not None and self._ident is not None:
            self._bars.update(self._ident, **changes)  # type: ignore[arg-type]

    def step(self) -> None:
        self._update(advance=1)

    def set(self, completed: float) -> None:
        self._update(completed=completed)

    def now(self, text: str) -> None:
        self._update(now=text)

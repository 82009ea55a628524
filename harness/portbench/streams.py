"""Standard output and error that stop nothing: where the encoding lacks a character another is printed, and where the
reader has gone (`| head`, a terminal that was closed) the rest is dropped, and the command goes on.
"""

from __future__ import annotations

import codecs
import errno
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_INSTEAD = {"±": "+-", "\u00d7": "x", "≤": "<=", "≥": ">=", "…": "...", "•": "*"}
_BOXES = str.maketrans("─━│┃┄┅┆┇", "--||--||")
_GONE = (errno.EPIPE, errno.EIO)


def make_patient() -> None:
    """Both streams of this process."""
    codecs.register_error("portbench", _instead)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, _Patient):
            stream.reconfigure(errors="portbench")
            setattr(sys, name, _Patient(stream))
    if isinstance(sys.stdout, _Patient) and sys.stderr is not None:
        sys.stdout.of_others = sys.stderr


def own_stdout() -> None:
    """From now on standard output is ours alone: what a library or a program that this process starts writes to it goes
    to standard error.
    """
    with suppress(OSError):  # one of them was closed before we began
        mine = os.dup(1)
        os.dup2(2, 1)
        sys.stdout = os.fdopen(mine, "w", encoding=sys.stdout.encoding)


@contextmanager
def others() -> Iterator[None]:
    """And so does what Python that is not ours prints inside, in this thread."""
    before, _thread.others = getattr(_thread, "others", False), True
    try:
        yield
    finally:
        _thread.others = before


_thread = threading.local()


def _instead(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_INSTEAD.get(c) or _plain(c) for c in lacking), error.end


def _plain(character: str) -> str:
    drawn = character.translate(_BOXES)
    if drawn.isascii():
        return drawn
    return "+" if "─" <= character <= "╿" else "?"


class _Patient:
    def __init__(self, stream: Any):
        self._stream = stream
        self.of_others: Any = None

    def write(self, text: str) -> int:
        if self.of_others and getattr(_thread, "others", False):
            return int(self.of_others.write(text))
        try:
            return int(self._stream.write(text))
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        if error.errno not in _GONE:
            raise error
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self._stream.fileno())
        os.close(nothing)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

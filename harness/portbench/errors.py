"""The two ways in which things go wrong: a person asked for something impossible, or a port misbehaved."""

from __future__ import annotations

import difflib
from collections.abc import Collection


class Refusal(Exception):
    """What was asked for cannot be done. The text is one sentence: what is wrong and how to mend it."""


class PortFailure(Exception):
    """A port did not do what the protocol says.

    kind   "crashed", "hung", "protocol" (it broke the rules), "refused" (it replied `error`),
           "missing" (it could not be started or built)
    log    the tail of its standard error
    """

    def __init__(self, kind: str, sentence: str, log: str = ""):
        super().__init__(sentence)
        self.kind = kind
        self.sentence = sentence
        self.log = log


def known(kind: str, names: list[str], every: Collection[str]) -> list[str]:
    """The names, each once; Refusal, with the nearest name that there is, if one is not among `every`."""
    for name in names:
        if name not in every:
            near = difflib.get_close_matches(name, every, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"there is {', '.join(every) or 'none'}"
            raise Refusal(f"There is no {kind} '{name}': {hint}")
    return list(dict.fromkeys(names))

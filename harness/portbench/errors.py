"""The ways in which things end early: a person asked for something impossible, a port misbehaved, a signal came."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any


class Refusal(Exception):
    """What was asked for cannot be done. The text is one sentence: what is wrong and how to mend it."""


class Ended(SystemExit):
    """A signal asked this program to end: nothing that was running then is to blame."""


class PortFailure(Exception):
    """A port did not do what the protocol says.

    kind   "crashed", "hung", "protocol" (it broke the rules), "refused" (it replied `error`),
           "wrong" (of a port that is timed: its results, or what its clock leaves out), "coarse" (its clock),
           "missing" (what it needs is not installed), "broken" (what is there cannot be built or started)
    log    the tail of its standard error
    """

    def __init__(self, kind: str, sentence: str, log: str = ""):
        super().__init__(sentence)
        self.kind = kind
        self.sentence = sentence
        self.log = log


def meant(name: str, every: Collection[str]) -> str:
    """ ": did you mean 'wave.c'?"; empty where there is nothing like it."""
    near = difflib.get_close_matches(name, every, 1)
    return f": did you mean '{near[0]}'?" if near else ""


def known(kind: str, names: list[str], every: Collection[str]) -> list[str]:
    """The names, each once; Refusal, with the nearest name that there is, if one is not among `every`."""
    for name in names:
        if name not in every:
            hint = meant(name, every) or f": there is {', '.join(every) or 'none'}"
            raise Refusal(f"There is no {kind} '{name}'{hint}")
    return list(dict.fromkeys(names))


def lacking(wanted: Collection[str], given: Collection[Any]) -> str:
    """ "gives no rate: it gives raet, ...", with the name that may be meant by another; empty if all is there."""
    missing = [name for name in wanted if name not in given]
    if not missing:
        return ""
    others = [str(name) for name in given if name not in wanted]
    near = {name: difflib.get_close_matches(name, others, 1) for name in missing}
    hints = [f"is '{close[0]}' meant for '{name}'?" for name, close in near.items() if close]
    return "; ".join([f"gives no {', '.join(missing)}: it gives {', '.join(map(str, given)) or 'nothing'}", *hints])

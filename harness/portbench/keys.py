"""What is wrong in a table of the manifest, in the manifest's own words: the table and key, what is there, what it
must be, and the key that may be meant.
"""

from __future__ import annotations

import difflib
import json
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_MUST_BE = {
    "string": "a text in quotes",
    "list": "a list",
    "dict": "a table",
    "model": "a table",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "literal_error": "{expected}",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "too_short": "a list with something in it",
}


def sentence(error: ValidationError, table: dict[str, Any], keys_of: dict[str, list[str]]) -> str:
    """The first thing that is wrong. `keys_of` has the keys that each table may have, and under "" the tables."""
    errors = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")  # what is lacking is spelt otherwise
    first = max((e for e in errors if e["loc"][:2] == errors[0]["loc"][:2]), key=lambda e: len(_where(e, table)))
    where = _where(first, table)
    name, key = _named(where)
    if first["type"] == "extra_forbidden":
        return unknown(str(where[-1]), _named(where[:-1])[0], keys_of["" if len(where) == 1 else str(where[0])])
    if first["type"] == "missing":
        return f"it has no table {name}" if len(where) == 1 else f"{name} lacks the key `{key}`"
    if first["type"] == "value_error":
        return f"{name}: {first['ctx']['error']}"
    wanted = dict.fromkeys(_must_be(e, _value(table, where)) for e in errors if _where(e, table) == where)
    what = f"{name} {key} = {_short(_value(table, where))}" if key else f"{name} is {_short(_value(table, where))}, and"
    return f"{what} must be {' or '.join(wanted)}"


def _where(error: ErrorDetails, table: dict[str, Any]) -> list[str | int]:
    """The keys that lead to it, without the names of the types that were tried."""
    where: list[str | int] = []
    for part in error["loc"]:
        there = _value(table, where)
        if isinstance(there, dict) and part not in there and str(part).replace("-", "_") in there:
            part = str(part).replace("-", "_")  # which is understood too
        inside = part in there if isinstance(there, dict) else isinstance(there, list) and isinstance(part, int)
        if inside or (error["type"] == "missing" and isinstance(there, dict)):
            where.append(part)
    return where


def _value(table: Any, where: list[str | int]) -> Any:
    for part in where:
        table = table[part]
    return table


def _named(where: list[str | int]) -> tuple[str, str]:
    """("[ports.c.variants.fast]", "sources[0]")"""
    depth = 2 if where and where[0] in ("ports", "cases") else 1
    table = ".".join(map(str, where[:depth]))
    if depth == 2 and ":" in table:
        table = table.replace(":", ".variants.", 1)
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where[depth:])
    return f"[{table}]" if table else "", key.removeprefix(".")


def unknown(name: str, table: str, known: list[str]) -> str:
    """Of a key of this table, or of a table itself where none is given."""
    near = difflib.get_close_matches(name, known, 1)
    if not table:
        hint = f"did you mean [{near[0]}]?" if near else f"there is {', '.join(f'[{one}]' for one in known)}"
        return f"there is no table [{name}]: {hint}"
    hint = f"did you mean `{near[0]}`?" if near else f"there is {', '.join(known)}"
    return f"{table} has no key `{name}`: {hint}"


def _must_be(error: ErrorDetails, value: Any) -> str:
    kind = error["type"] if error["type"] in _MUST_BE else error["type"].partition("_")[0]
    if kind not in _MUST_BE:
        return f"otherwise ({error['msg']})"
    words = _MUST_BE[kind].format(**error.get("ctx", {}))
    if kind == "list" and isinstance(value, str):
        words += f", such as {json.dumps(value.split())}"
    if kind == "dict" and isinstance(value, int):
        words += f", such as {{ default = {_short(value)} }}"
    return words


def _short(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}..."

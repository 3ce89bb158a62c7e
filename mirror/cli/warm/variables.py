"""`$NAME`, `${NAME}` and `${NAME:-word}` with its kin, as Compose files and Dockerfiles use them."""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r"(:?)([-+?])")
_DEEPEST = 10
# Words within words; people write two.

_Expanded = tuple[str, str | None]
# The text, and the first name in it that has no value.


class Unresolved(Exception):
    """A text depends on what is not known; the exception's text is a sentence about it."""


def expanded(text: str, values: Mapping[str, str]) -> str:
    """Return the text with its variables replaced; raises Unresolved."""
    (found, missing), _ = _text(text, 0, values, 0)
    if missing is not None:
        raise Unresolved(f"{missing} has no value")
    return found


def _text(text: str, at: int, values: Mapping[str, str], depth: int) -> tuple[_Expanded, int]:
    """Expand from `at` to the end, or to the brace that closes a word; return where that is."""
    if depth > _DEEPEST:
        raise Unresolved("its variables are nested too deeply")
    pieces: list[str] = []
    missing: str | None = None
    while at < len(text) and not (depth and text[at] == "}"):
        if text[at] != "$":
            pieces.append(text[at])
            at += 1
            continue
        (piece, absent), at = _variable(text, at + 1, values, depth)
        pieces.append(piece)
        missing = missing or absent
    if depth and at == len(text):
        raise Unresolved("a brace is not closed")
    return ("".join(pieces), missing), at


def _variable(text: str, at: int, values: Mapping[str, str], depth: int) -> tuple[_Expanded, int]:
    """Expand the variable whose sign is before `at`; return where it ends."""
    if text.startswith("$", at):
        return ("$", None), at + 1
    is_braced = text.startswith("{", at)
    name = _NAME.match(text, at + is_braced)
    if name is None:
        raise Unresolved("a $ is followed by no name")
    value, at = values.get(name[0]), name.end()
    plain = ("", name[0]) if value is None else (value, None)
    if not is_braced:
        return plain, at
    if text.startswith("}", at):
        return plain, at + 1
    operator = _OPERATOR.match(text, at)
    if operator is None:
        raise Unresolved(f"what follows {name[0]} is not understood")
    word, at = _text(text, operator.end(), values, depth + 1)
    is_set = value is not None and not (operator[1] and value == "")
    return _chosen(operator[2], plain, word, name[0], is_set=is_set), at + 1


def _chosen(operator: str, plain: _Expanded, word: _Expanded, name: str, *, is_set: bool) -> _Expanded:
    if operator == "+":
        return word if is_set else ("", None)
    if is_set:
        return plain
    return word if operator == "-" else ("", name)

"""Our tables in a TOML file that others write as well: lines of their own, which the next setup replaces. Pure."""

from __future__ import annotations

import tomllib
from typing import Any

from mirror.cli.setup.needs import CannotSetUp

_BEGIN = "# By `mirror setup`, which replaces these lines when it runs again:"
_END = "# End of the lines that `mirror setup` replaces."


def block(tables: str) -> str:
    """Return the tables as a file of their own."""
    return f"{_BEGIN}\n{tables.strip()}\n{_END}\n"


def with_block(text: str, tables: str, *, first: bool = False) -> str:
    """Return `text` with the tables in place of those of an earlier setup, else at its end or before its own tables.

    All else stays as it is, to the letter. Raises CannotSetUp for what is no TOML, and where `text` itself has such a
    table.
    """
    head, tail = _around(text, first=first)
    own = _parsed(head + tail)
    ours = tomllib.loads(tables)
    if _holds(own, ours):
        return text
    whole = head + block(tables) + tail
    try:
        kept = _holds(tomllib.loads(whole), own)
    except tomllib.TOMLDecodeError:
        kept = False
    if not kept:
        raise CannotSetUp(
            "has its own tables of the same names: change them by hand to what is printed without --write"
        )
    return whole


def without_block(text: str) -> str:
    """Return what is in a file beside the tables of an earlier setup."""
    head, tail = _around(text, first=False)
    return head + tail


def _around(text: str, *, first: bool) -> tuple[str, str]:
    """Return what stays before our lines, and what stays behind them."""
    lines = text.splitlines(keepends=True)
    bare = [line.strip() for line in lines]
    if _BEGIN in bare and _END in bare[bare.index(_BEGIN) :]:
        begin = bare.index(_BEGIN)
        end = bare.index(_END, begin)
        return "".join(lines[:begin]), "".join(lines[end + 1 :])
    if not first:
        return _ended(text), ""
    table = next((number for number, line in enumerate(bare) if line.startswith("[")), len(lines))
    return _ended("".join(lines[:table])), "".join(["\n", *lines[table:]] if table < len(lines) else [])


def _ended(text: str) -> str:
    """Return text that ends with an empty line, or is empty."""
    return f"{text.rstrip()}\n\n" if text.strip() else ""


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CannotSetUp(f"is not TOML ({error}): mend it first") from None


def _holds(whole: Any, part: Any) -> bool:
    """Tell whether all that `part` says is said by `whole`."""
    if isinstance(whole, dict) and isinstance(part, dict):
        return all(key in whole and _holds(whole[key], value) for key, value in part.items())
    if isinstance(whole, list) and isinstance(part, list) and all(isinstance(item, dict) for item in part) and part:
        return all(item in whole for item in part)
    return bool(whole == part)

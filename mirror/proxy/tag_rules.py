"""Rules by which tags have a TTL of their own: globs, the first that matches wins. Pure functions.

`*` is any characters or none, `?` is one, `[a-f0-9]` one of these and `[!a-f0-9]` one of the others. Case counts, as it
does in tags. There is nothing else, no braces for one: a glob with a character that no tag has would never match.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass, field
from datetime import timedelta

LONGEST_TAG = 128

_LATER = frozenset(string.ascii_letters + string.digits + "_.-")
_FIRST = _LATER - frozenset(".-")
_ANY: frozenset[str] = frozenset()
# Stands for `*`; a class of characters is never empty.

Token = frozenset[str]
"""Which characters may be at one place of a tag; empty for `*`, which is any number of places."""


@dataclass(frozen=True, slots=True)
class TagGlob:
    """A pattern of tags; raises ValueError when constructed from one that matches no tag."""

    text: str
    tokens: tuple[Token, ...] = field(init=False, repr=False, compare=False)
    _regex: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        tokens = tuple(_tokens(self.text))
        places = [token for token in tokens if token]
        if not tokens:
            raise ValueError("a glob of tags is expected, for example v*.*.*")
        begins = bool(places[0] & _FIRST) if places else True
        if tokens[0] and not begins:
            raise ValueError("never matches, as no tag begins with . or -")
        if len(places) + (not begins) > LONGEST_TAG:
            raise ValueError(f"never matches, as a tag has at most {LONGEST_TAG} characters")
        object.__setattr__(self, "tokens", tokens)
        object.__setattr__(self, "_regex", re.compile(_regex(tokens)))

    def matches(self, tag: str) -> bool:
        """Tell whether this is such a tag."""
        return self._regex.fullmatch(tag) is not None

    def covers(self, other: TagGlob) -> bool:
        """Tell whether every tag that `other` matches is matched by this; False also where that is hard to see."""
        # Which beginnings of `other` each beginning of this covers, longer and longer.
        reached = {0}
        for token in self.tokens:
            if token:
                reached = {at + 1 for at in reached if _has(token, other.tokens, at)}
            else:
                reached = set(range(min(reached, default=len(other.tokens) + 1), len(other.tokens) + 1))
        return len(other.tokens) in reached

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class TagRule:
    """Tags that match have this TTL."""

    match: TagGlob
    ttl: timedelta


def _has(token: Token, tokens: tuple[Token, ...], at: int) -> bool:
    return at < len(tokens) and bool(tokens[at]) and tokens[at] <= token


def _tokens(text: str) -> list[Token]:
    tokens: list[Token] = []
    rest = text
    while rest:
        char, rest = rest[0], rest[1:]
        if char == "*":
            # Two in a row are one.
            tokens += [_ANY] if tokens[-1:] != [_ANY] else []
        elif char == "?":
            tokens.append(_LATER)
        elif char == "[":
            inner, bracket, rest = rest.partition("]")
            if not bracket:
                raise ValueError("a [ has no ] behind it")
            tokens.append(_class(inner))
        else:
            tokens.append(frozenset(_checked(char)))
    return tokens


def _class(inner: str) -> Token:
    """Return what `[inner]` stands for; a hyphen at its begin or end is one."""
    is_negated = inner.startswith("!")
    rest = inner.removeprefix("!")
    chars: set[str] = set()
    while rest:
        first, hyphen, last = rest[0], rest[1:2], rest[2:3]
        if hyphen == "-" and last:
            _checked(first + last)
            if last < first:
                raise ValueError(f"[{inner}] never matches, as {first}-{last} is the wrong way round")
            # Of what is between capitals and small letters, only the underscore is a tag's.
            chars |= {char for char in _LATER if first <= char <= last}
            rest = rest[3:]
        else:
            chars.add(_checked(first))
            rest = rest[1:]
    found = _LATER - chars if is_negated else frozenset(chars)
    if not found or not inner.removeprefix("!"):
        raise ValueError(f"[{inner}] never matches")
    return found


def _checked(chars: str) -> str:
    if not _LATER.issuperset(chars):
        raise ValueError("never matches, as tags are letters, digits and . _ - (* ? [a-z] [!a-z] stand for them)")
    return chars


def _regex(tokens: tuple[Token, ...]) -> str:
    """Return the expression for these tokens; whatever is between two `*` is never looked for twice."""
    parts = [""]
    for token in tokens:
        if token:
            parts[-1] += f"[{re.escape(''.join(sorted(token)))}]"
        else:
            parts.append("")
    first, *others = parts
    if not others:
        return first
    *inner, last = others
    return first + "".join(f"(?>.*?{part})" for part in inner) + f".*{last}"

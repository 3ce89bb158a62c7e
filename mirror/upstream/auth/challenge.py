"""WWW-Authenticate, as registries really send it (RFC 9110, 11.6.1, and what strays from it). Pure.

Several challenges may share a header, schemes come in any case, values come unquoted and hold colons. The parser
takes anything and never raises: what it cannot read is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_MAX_LENGTH = 8 * 1024
# Of all header lines together: real ones are a few hundred characters.
_WORD = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_PARAMETER = re.compile(rf'({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_SCHEME = re.compile(rf"({_WORD})(?=[\s,]|$)")
_SEPARATORS = re.compile(r"[\s,]+")
_TO_NEXT_COMMA = re.compile(r"[^,]*,?")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge; `scheme` in lower case, empty strings for parameters that are absent."""

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Return the challenges of all WWW-Authenticate header lines, in order, as many as are not too much to be real."""
    challenges: list[Challenge] = []
    left = _MAX_LENGTH
    for header in headers:
        challenges += _parse(header[:left])
        left -= min(left, len(header))
    return challenges


def _parse(header: str) -> Iterator[Challenge]:
    scheme: str | None = None
    parameters: dict[str, str] = {}
    for token, value in _tokens(header):
        if value is not None:
            parameters.setdefault(token, value)
            continue
        if scheme is not None:
            yield _challenge(scheme, parameters)
        scheme, parameters = token, {}
    if scheme is not None:
        yield _challenge(scheme, parameters)


def _tokens(header: str) -> Iterator[tuple[str, str | None]]:
    """Yield `(parameter, value)` and `(scheme, None)`, names in lower case."""
    at = 0
    while at < len(header):
        if gap := _SEPARATORS.match(header, at):
            at = gap.end()
        elif parameter := _PARAMETER.match(header, at):
            name, quoted, bare = parameter.groups()
            yield name.lower(), bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            at = parameter.end()
        elif scheme := _SCHEME.match(header, at):
            yield scheme[1].lower(), None
            at = scheme.end()
        else:
            rest = _TO_NEXT_COMMA.match(header, at)
            at = max(rest.end() if rest else at, at + 1)


def _challenge(scheme: str, parameters: dict[str, str]) -> Challenge:
    return Challenge(scheme, parameters.get("realm", ""), parameters.get("service", ""), parameters.get("scope", ""))

"""The Accept header: which types of manifest a client takes (RFC 9110, 12.5.1). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mirror.oci.media_types import MANIFEST_TYPES

# No quantifier gives back what it took: otherwise a header of semicolons and blanks would keep the loop busy.
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_PARAMETER = rf'({_WORD})=({_WORD}|"(?:[^"\\]|\\.)*+")'
_PARAMETERS = rf"(?:[ \t]*+;[ \t]*+(?:{_PARAMETER})?+)*+"
_RANGE = re.compile(rf"[ \t,]*+(?P<range>{_WORD}/{_WORD})(?P<parameters>{_PARAMETERS})[ \t]*+(?:,|$)")
_NOTHING_MORE = re.compile(r"[ \t,]*+")
_EACH_PARAMETER = re.compile(_PARAMETER)
_WEIGHT = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


class _Malformed(Exception):
    """A header that is none."""


def accepted_types(lines: Iterable[str]) -> tuple[str, ...]:
    """Return the manifest types that a client takes, by all lines of its Accept header.

    All of them without the header, or with one that is malformed. One that names no manifest type (`application/json`)
    says nothing about manifests: only what it gives no weight to is left out. One that leaves nothing leaves all.
    """
    try:
        weights = dict(sorted(_weighed(", ".join(lines)), key=lambda pair: pair[1]))
    except _Malformed:
        return MANIFEST_TYPES
    weighed = {kind: _weight(kind, weights) for kind in MANIFEST_TYPES}
    wanted = tuple(kind for kind, weight in weighed.items() if weight)
    tolerated = tuple(kind for kind, weight in weighed.items() if weight is None)
    return wanted or tolerated or MANIFEST_TYPES


def _weight(kind: str, weights: dict[str, float]) -> float | None:
    """Return the weight of the most specific range that a type is in, None if it is in none."""
    ranges = (kind, f"{kind.partition('/')[0]}/*", "*/*")
    return next((weights[one] for one in ranges if one in weights), None)


def _weighed(header: str) -> Iterator[tuple[str, float]]:
    """Give each range of a header, in lower case, and its weight; raises _Malformed."""
    position = 0
    while match := _RANGE.match(header, position):
        yield match["range"].lower(), _weight_of(match["parameters"])
        position = match.end()
    if not _NOTHING_MORE.fullmatch(header, position):
        raise _Malformed


def _weight_of(parameters: str) -> float:
    # Other parameters are passed over, as registries do: no type of manifest has any.
    for name, value in _EACH_PARAMETER.findall(parameters):
        if name in "qQ":
            if not _WEIGHT.fullmatch(value):
                raise _Malformed
            return float(value)
    return 1.0

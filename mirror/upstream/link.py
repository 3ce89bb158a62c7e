"""The Link header (RFC 8288), as far as the way to the next page of a list goes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mirror.errors import UpstreamInvalid

_WORD = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_TARGET = re.compile(r"<([^<>]*)>")
_PARAMETER = re.compile(rf'\s*;\s*({_WORD})(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,;"]+)))?')
_END = re.compile(r"\s*(?:,|$)")
_GAP = re.compile(r"[\s,]*")


def next_target(headers: Iterable[str]) -> str | None:
    """Return the address of the next page as it stands in the Link headers of a page, None on the last one.

    Raises UpstreamInvalid for headers that cannot be read, or lead to two of them: a part of a list must not pass
    for the whole.
    """
    targets = {target for header in headers for target, relations in _links(header) if "next" in relations}
    if len(targets) > 1:
        raise UpstreamInvalid("upstream's list goes on in two places")
    return next(iter(targets), None)


def _links(header: str) -> Iterator[tuple[str, set[str]]]:
    """Yield each link's target and relations, in lower case."""
    at = _skip(_GAP, header, 0)
    while at < len(header):
        target = _TARGET.match(header, at)
        if target is None:
            raise UpstreamInvalid("upstream sent a Link header that cannot be read")
        at = target.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(header, at):
            name, quoted, bare = parameter.groups(default="")
            # Of a repeated one the first counts (RFC 8288, 3.3).
            parameters.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted) or bare)
            at = parameter.end()
        at = _skip(_GAP, header, _skip(_END, header, at))
        # With an anchor it is a link of something else (3.2).
        if "anchor" not in parameters:
            yield target[1], set(parameters.get("rel", "").lower().split())


def _skip(pattern: re.Pattern[str], header: str, at: int) -> int:
    match = pattern.match(header, at)
    if match is None:
        raise UpstreamInvalid("upstream sent a Link header that cannot be read")
    return match.end()

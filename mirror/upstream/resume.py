"""Asking for the rest of a blob, and telling whether the answer is that rest (RFC 9110, 13.1.5 and 14)."""

from __future__ import annotations

import re

import aiohttp

from mirror.oci.media_types import without_parameters
from mirror.upstream.content_range import parse_content_range

# Weak tags (W/) promise no equal bytes. The length is bounded because the tag is kept beside a partial file.
_STRONG = re.compile(r'"[!#-~]{1,256}"')


def range_headers(start: int, tag: str | None, stop: int | None = None) -> dict[str, str]:
    """Return the headers that ask for everything from byte `start` on of the same object, or else for all of the new.

    With `stop`, for what of it is before that byte.

    `tag` is the entity tag that the very endpoint which is asked gave it before, None where it gave none.
    """
    strong = _strong(tag)
    last = "" if stop is None else str(stop - 1)
    return {"Range": f"bytes={start}-{last}"} | ({"If-Range": strong} if strong else {})


def strong_tag(response: aiohttp.ClientResponse) -> str | None:
    """Return the entity tag by which the same bytes can be asked for again, None without a strong one."""
    return _strong(_only(response, "ETag"))


def resumed_size(response: aiohttp.ClientResponse, start: int, tag: str | None, stop: int | None = None) -> int | None:
    """Return the length in bytes of the whole blob whose rest, all of it, this 206 brings; None if it does not.

    With `stop`, it is to bring what of the rest is before that byte, and to tell the length.
    """
    part = parse_content_range(_only(response, "Content-Range") or "")
    if part is None or part.first != start or _is_multipart(response) or _is_another_object(response, tag):
        return None
    length = response.content_length
    if length not in (None, part.last + 1 - part.first):
        return None
    if stop is not None:
        return part.total if part.total is not None and part.last + 1 == min(stop, part.total) else None
    # Of an unknown total, the length of the answer is what tells that it reaches to the end.
    end = part.last + 1
    return end if part.total == end or (part.total is None and length is not None) else None


def _strong(tag: str | None) -> str | None:
    return tag if tag is not None and _STRONG.fullmatch(tag) else None


def _only(response: aiohttp.ClientResponse, name: str) -> str | None:
    values = response.headers.getall(name, [])
    return values[0] if len(values) == 1 else None


def _is_multipart(response: aiohttp.ClientResponse) -> bool:
    return without_parameters(response.headers.get("Content-Type", "")).startswith("multipart/")


def _is_another_object(response: aiohttp.ClientResponse, tag: str | None) -> bool:
    # Not every server that knows Range knows If-Range.
    before, now = _strong(tag), strong_tag(response)
    return before is not None and now is not None and before != now

"""Requests that are sent exactly as they stand here, and what an error must look like."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from tests.integration.conftest import RunningMirror
from tests.integration.raw_http import RawAnswer, raw_client

CODES = {
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DENIED",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "TOOMANYREQUESTS",
    "UNAUTHORIZED",
    "UNAVAILABLE",
    "UNSUPPORTED",
}
"""The codes of the distribution spec, and two for what the spec has none for."""

_PARAMETER = re.compile(
    r"hit|fwd=(miss|stale|request|bypass|uri-miss)|fwd-status=\d{3}|stored|collapsed|detail=[a-z0-9-]+|ttl=-?\d+"
)


async def ask(mirror: RunningMirror, target: str, method: str = "GET", **headers: str) -> RawAnswer:
    """Send a request whose target is these characters (latin-1), on a connection of its own.

    Underscores in header names stand for hyphens.
    """
    host = headers.pop("Host", "mirror.test")
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return await send(mirror, f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n".encode("latin-1"), method)


async def send(mirror: RunningMirror, data: bytes, method: str = "GET") -> RawAnswer:
    """Send these bytes on a connection of its own, and read one answer."""
    async with raw_client(mirror) as client:
        await client.send(data)
        return await client.answer(method)


def error_code(body: bytes) -> str:
    """The code of an error document, which must be one as the spec has it, with one line for a person to read."""
    document = json.loads(body)
    (error,) = document["errors"]
    assert error["code"] in CODES, body
    assert error["message"], body
    assert error["message"].isprintable(), body
    return str(error["code"])


def check_cache_status(value: str) -> None:
    """Fail unless this is a Cache-Status header (RFC 9211) of one cache that does not contradict itself."""
    cache, *parameters = value.split("; ")
    assert cache == "mirror", value
    assert all(_PARAMETER.fullmatch(one) for one in parameters), value
    names = [one.partition("=")[0] for one in parameters]
    assert len(names) == len(set(names)), value
    assert not ("hit" in names and {"fwd", "fwd-status", "stored", "collapsed"} & set(names)), value
    assert "fwd" in names or not {"fwd-status", "stored", "collapsed"} & set(names), value


def refusal(answer: RawAnswer) -> tuple[int, str]:
    """Status and code of an answer, which must be an error with all that every error carries."""
    headers = answer.head.headers
    assert answer.whole
    assert headers["content-type"] == "application/json"
    assert headers["content-length"] == str(len(answer.body))
    check_cache_status(headers["cache-status"])
    return answer.head.status, error_code(answer.body)


async def refused(mirror: RunningMirror, path: str) -> tuple[int, str]:
    """Status and code of the answer to a GET, which must be an error."""
    response, body = await mirror.get(path)
    check_cache_status(response.headers["Cache-Status"])
    return response.status, error_code(body)


async def refusals(mirror: RunningMirror, targets: Iterable[str]) -> dict[str, tuple[int, str]]:
    """Status and code of the answers to all these targets, for one comparison that shows all that differ."""
    return {target: refusal(await ask(mirror, target)) for target in targets}

"""Which requests can be told by their bytes alone: a plain GET or HEAD, all of its head and nothing else."""

from __future__ import annotations

from aiohttp import HttpVersion11, web

MOST_BYTES = 4096
"""Of a head; clients that send tokens and cookies of this size are no nodes that pull."""

_END = b"\r\n\r\n"

_TOLD_APART = frozenset(
    {"content-length", "transfer-encoding", "connection", "upgrade", "expect", "te", "trailer", "cdn-loop"}
)
# What announces a body, or says something of the connection or of those who ask beside what is asked.


def is_whole(chunk: bytes) -> bool:
    """Tell whether what has come at once is one head of a GET or HEAD, and nothing before, behind or missing."""
    return (
        chunk.startswith((b"GET /", b"HEAD /"))
        and len(chunk) <= MOST_BYTES
        and chunk.find(_END) == len(chunk) - len(_END)
    )


def is_plain(request: web.BaseRequest) -> bool:
    """Tell whether nothing of a request concerns more than its own answer."""
    return (
        request.version == HttpVersion11
        and request.method in ("GET", "HEAD")
        and not request.body_exists
        and not any(name.lower() in _TOLD_APART for name in request.headers)
    )

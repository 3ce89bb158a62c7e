"""Answers to what never became a request: complete responses as bytes, after each of which the connection ends."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from types import MappingProxyType

from mirror.oci.error_codes import ErrorCode, error_body

HEADERS = MappingProxyType(
    {
        "Content-Type": "application/json",
        "Docker-Distribution-Api-Version": "registry/2.0",
        "X-Content-Type-Options": "nosniff",
        "Server": "mirror",
        "Cache-Status": "mirror",
    }
)
"""What such an answer carries in any case."""

_NO_MORE: Mapping[str, str] = MappingProxyType({})


def parting_answer(status: HTTPStatus, code: ErrorCode, message: str, more: Mapping[str, str] = _NO_MORE) -> bytes:
    """Return a whole response that ends its connection: the spec's error document, with `more` headers."""
    body = error_body(code, message)
    fields = {
        "Date": formatdate(usegmt=True),
        **HEADERS,
        **more,
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    head = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*head, "", ""]).encode() + body

"""Answers of an upstream, without an upstream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import cast

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

Headers = Mapping[str, str] | Sequence[tuple[str, str]]
ASKED = URL("https://registry.example/v2/")


class ReadyContent:
    """A body that has arrived."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def iter_any(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self._body), 1000):
            yield self._body[at : at + 1000]

    async def readany(self) -> bytes:
        """Return the next bytes, empty at the end."""
        data, self._body = self._body[:1000], self._body[1000:]
        return data


class ReadyAnswer:
    """An answer that has arrived: the part of aiohttp's ClientResponse that is used."""

    def __init__(self, status: int, body: bytes, headers: Headers, url: URL) -> None:
        self.status = status
        self.content = ReadyContent(body)
        self.headers = CIMultiDictProxy(CIMultiDict(headers))
        self.url = url
        self.released = False
        self.connection = None

    @property
    def content_length(self) -> int | None:
        length = self.headers.get("Content-Length")
        return None if length is None else int(length)

    def release(self) -> None:
        self.released = True


def answer(
    status: int = 200,
    body: bytes = b"",
    headers: Headers | None = None,
    url: URL = ASKED,
) -> aiohttp.ClientResponse:
    """Return an answer that has arrived."""
    return cast(aiohttp.ClientResponse, ReadyAnswer(status, body, headers or {}, url))

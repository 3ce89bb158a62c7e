"""One client: asks a mirror, reads as fast as it pleases, and notes what it got."""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests.fakes.content import ALL_TYPES
from tests.soak.history import Ending, Recorder, Request
from tests.soak.multipart import boundary_of, parts_of

PATIENCE = 90.0
"""Seconds within which every request has ended, whatever happens to the mirrors and to upstream."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a client reads: a pause in seconds after each 64 KiB, and after how many bytes it has enough."""

    pause: float = 0.0
    enough: int | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for; `range` is a Range header."""

    repository: str
    kind: str
    reference: str
    method: str = "GET"
    range: str | None = None

    @property
    def path(self) -> str:
        return f"/v2/{self.repository}/{self.kind}/{self.reference}"

    @property
    def headers(self) -> dict[str, str]:
        return {"Accept": ", ".join(ALL_TYPES)} | ({"Range": self.range} if self.range else {})


class Client:
    """A client with connections of its own, which it keeps."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(auto_decompress=False, timeout=aiohttp.ClientTimeout(None))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def ask(self, process: str, url: str, question: Question, manner: Manner) -> Ending:
        """Ask the mirror at `url`, called `process`; note how that went, and return how it ended."""
        reading = _Reading(question, manner)
        began = _now()
        why = ""
        try:
            async with asyncio.timeout(PATIENCE):
                ending = await reading.read(self._session, url)
        except TimeoutError:
            ending = Ending.HUNG
        except (aiohttp.ClientError, ConnectionError) as error:
            ending = Ending.UNANSWERED if reading.answered is None else Ending.CUT
            why = f"{type(error).__name__}: {error}"[:200]
        self._recorder.note(
            Request(
                t0=began,
                t1=_now(),
                process=process,
                method=question.method,
                repository=question.repository,
                kind=question.kind,
                reference=question.reference,
                range=question.range,
                ending=ending,
                patience=PATIENCE,
                why=why or reading.problem,
                **reading.result(),
            )
        )
        return ending


class _Reading:
    """What has come of one answer so far."""

    def __init__(self, question: Question, manner: Manner) -> None:
        self._question = question
        self._manner = manner
        self._response: aiohttp.ClientResponse | None = None
        self._hash = hashlib.sha256()
        self._length = 0
        self._multipart: bytearray | None = None
        self.answered: float | None = None
        self.problem = ""

    async def read(self, session: aiohttp.ClientSession, url: str) -> Ending:
        question = self._question
        async with session.request(question.method, url + question.path, headers=question.headers) as response:
            self.answered = _now()
            self._response = response
            if response.status >= 400:
                self.problem = (await response.text())[:200]
                return Ending.COMPLETE
            return await self._body(response)

    async def _body(self, response: aiohttp.ClientResponse) -> Ending:
        enough = self._manner.enough
        boundary = boundary_of(response.headers.get("Content-Type", ""))
        self._multipart = None if boundary is None else bytearray()
        while data := await response.content.read(64 * 1024):
            if self._multipart is None:
                self._hash.update(data)
            else:
                self._multipart += data
            self._length += len(data)
            if enough is not None and self._length >= enough:
                response.close()
                return Ending.LEFT
            await asyncio.sleep(self._manner.pause)
        return Ending.COMPLETE

    def result(self) -> dict[str, Any]:
        """The fields of the record that tell of the answer."""
        response = self._response
        headers = {} if response is None else response.headers
        part = re.match(r"bytes (\d+)-", headers.get("Content-Range", ""))
        declared = headers.get("Content-Length")
        parts = self._parts(headers.get("Content-Type", ""))
        return {
            "answered": self.answered,
            "status": None if response is None else response.status,
            "digest": headers.get("Docker-Content-Digest"),
            "declared": None if declared is None else int(declared),
            "cache_status": headers.get("Cache-Status", ""),
            "start": int(part[1]) if part else 0,
            "length": self._length,
            "received": self._hash.hexdigest(),
            "parts": parts,
        }

    def _parts(self, content_type: str) -> list[list[int]] | None:
        boundary = boundary_of(content_type)
        if boundary is None or self._multipart is None:
            return None
        parts = parts_of(boundary, bytes(self._multipart))
        for _, data in parts:
            self._hash.update(data)
        return [[start, len(data)] for start, data in parts]


def _now() -> float:
    return asyncio.get_running_loop().time()

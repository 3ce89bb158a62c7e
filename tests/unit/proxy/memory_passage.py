"""Bytes on their way through memory, in segments that are let go one by one (see Passage)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Protocol

from mirror.errors import BodyCut
from mirror.oci.digest import Digest, Hasher
from mirror.proxy.interfaces.upstream import Data
from tests.unit.proxy.doubles import MemoryFile

SEGMENT = 64 * 1024
"""Bytes that are let go at once."""


class Call(Protocol):
    """Does something as in a thread, in which it may fail."""

    def __call__(self, doing: str, *actions: Callable[[], None]) -> Awaitable[None]: ...


class MemoryPassage:
    """Bytes behind `start` that pass through memory, in segments."""

    def __init__(self, digest: Digest, hasher: Hasher, start: int, call: Call, opened: Counter[str]) -> None:
        self._digest = digest
        self._hasher = hasher
        self._call = call
        self._opened = opened
        self._segments: dict[int, MemoryFile] = {}
        self._is_closed = False
        self.start = self.size = self.floor = start
        self.most = 0
        opened["passages"] += 1

    async def append(self, data: Data) -> None:
        await self._call("pass", lambda: self._append(data))

    def _append(self, data: Data) -> None:
        self._hasher.update(data)
        while data:
            number = self.size // SEGMENT
            piece, data = data[: SEGMENT - self.size % SEGMENT], data[SEGMENT - self.size % SEGMENT :]
            if number not in self._segments:
                self._segments[number] = MemoryFile(os.memfd_create("passage"), self._opened)
            os.pwrite(self._segments[number].fileno(), piece, self.size)
            self.size += len(piece)
        self.most = max(self.most, self.size - self.floor)

    async def verified(self) -> bool:
        return self._hasher.hexdigest() == self._digest.encoded

    def at(self, offset: int) -> tuple[MemoryFile, int]:
        segment = self._segments.get(offset // SEGMENT)
        if segment is None or offset < self.floor:
            raise BodyCut("the client was too slow for a blob that cannot be kept")
        return segment, (offset // SEGMENT + 1) * SEGMENT

    def forget(self, before: int) -> None:
        for number in [number for number in self._segments if (number + 1) * SEGMENT <= min(before, self.size)]:
            self._segments.pop(number).close()
            self.floor = (number + 1) * SEGMENT

    async def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._opened["passages"] -= 1
            for segment in self._segments.values():
                segment.close()

"""How far a fill has come, as numbers: what its writer publishes and its readers go by.

A reader stops short of the end until the digest matches, so that no client ever holds a complete body of
wrong bytes.
"""

from __future__ import annotations

import asyncio

from mirror.errors import BodyCut
from mirror.proxy.interfaces.fills import FillState

HOLD_BACK = 64 * 1024
"""Bytes at the end of a blob that wait for its digest: enough that no client can take the rest for the whole."""


class Progress:
    """Length, contiguous bytes and state of one fill. One writer, any number of readers, one event loop."""

    def __init__(self, total: int | None) -> None:
        self.total = total
        self.prefix = 0
        self.state = FillState.WRITING
        self._changed = asyncio.Event()

    def advance(self, size: int) -> None:
        """`size` more bytes are on disk."""
        self.prefix += size
        self._publish()

    def reach(self, prefix: int) -> None:
        """So many bytes from the beginning are on disk; it never goes back."""
        if prefix > self.prefix:
            self.advance(prefix - self.prefix)

    def enter(self, state: FillState) -> None:
        """Move on to `state`; from VERIFIED on, the length is known."""
        self.state = state
        if state in (FillState.VERIFIED, FillState.COMMITTED):
            self.total = self.prefix
        self._publish()

    @property
    def sendable(self) -> int:
        """How many bytes from the beginning readers may have now."""
        if self.state in (FillState.VERIFIED, FillState.COMMITTED):
            return self.prefix
        ahead = self.prefix if self.total is None else min(self.prefix + HOLD_BACK, self.total)
        return max(0, min(self.prefix, ahead - HOLD_BACK))

    async def beyond(self, offset: int) -> int:
        """Wait until more than `offset` bytes may be sent and return how many; `offset` itself at the end.

        Raises BodyCut when the fill fails.
        """
        while True:
            if self.state is FillState.FAILED:
                raise BodyCut("the fill failed")
            if self.sendable > offset or self.state is not FillState.WRITING:
                return max(offset, self.sendable)
            await self._changed.wait()

    async def settled(self) -> None:
        """Wait until the bytes are verified, or never will be."""
        while self.state is FillState.WRITING:
            await self._changed.wait()

    def _publish(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

"""One part of a blob on its way: what is fetched ahead waits in memory for its turn, the rest in its connection."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

from mirror.errors import Refused, UpstreamInvalid, UpstreamUnavailable
from mirror.proxy.fills.segments.plan import Part
from mirror.proxy.interfaces.upstream import Data, Transfer

END_WITHIN = 1.0
"""Seconds in which an answer whose bytes are all here has to end, for its connection to be used again."""


class Segment:
    """The bytes of `part`; `is_ahead` if they are to be taken in before anybody reads them."""

    def __init__(self, part: Part, *, is_ahead: bool = False) -> None:
        self.part = part
        self.is_ahead = is_ahead
        self.offset = part.start
        """Where in the blob its reader is."""
        self.received = part.start
        """Where in the blob the bytes end that have come."""
        self.error: UpstreamUnavailable | None = None
        """Why no more will come."""
        self._chunks: deque[Data] = deque()
        self._transfer: Transfer | None = None
        self._changed = asyncio.Event()

    @property
    def is_read(self) -> bool:
        """Tell whether its reader has all of it."""
        return self.offset == self.part.stop

    @property
    def is_coming(self) -> bool:
        """Tell whether more of it will come."""
        return self.error is None and self.received < self.part.stop

    @property
    def is_nearly_here(self) -> bool:
        """Tell whether three quarters of it have come."""
        return 4 * (self.part.stop - self.received) <= self.part.size

    def follow(self, transfer: Transfer) -> None:
        """Take the bytes from this transfer."""
        self._transfer = transfer
        self._changed.set()

    async def fetch(self, opened: Callable[[Part], Awaitable[Transfer]]) -> None:
        """Begin, and take in what comes if it is ahead; what goes wrong is for the reader."""
        try:
            self.follow(await opened(self.part))
            while self.is_ahead and self.received < self.part.stop:
                # As it is: of a part, they are good for as long as they wait.
                self._chunks.append(await self._next())
                self._changed.set()
        except UpstreamUnavailable as error:
            self.let_go(error)
        except Refused as refused:
            # A no to a part of what there was a yes to: it may be another endpoint's, and is no answer.
            self.let_go(UpstreamUnavailable(f"upstream refuses a part of the blob: {refused}"))

    async def read(self) -> Data:
        """Return the next bytes; raises what has gone wrong behind those that had come."""
        while not self._chunks and (self.is_ahead or self._transfer is None or self.error is not None):
            if self.error is not None:
                raise self.error
            self._changed.clear()
            await self._changed.wait()
        data = self._chunks.popleft() if self._chunks else await self._next()
        self.offset += len(data)
        return data

    async def _next(self) -> Data:
        assert self._transfer is not None  # noqa: S101  # it has begun
        data = await self._transfer.read()
        if not data:
            raise UpstreamInvalid("upstream sent fewer bytes than it declared")
        received = self.received + len(data)
        if received > self.part.stop:
            raise UpstreamInvalid("upstream sent more bytes than it was asked for")
        if received == self.part.stop:
            await self._end(self._transfer)
        # Not before: whoever is cancelled meanwhile does not have them.
        self.received = received
        return data

    async def _end(self, transfer: Transfer) -> None:
        with suppress(UpstreamUnavailable, TimeoutError):
            async with asyncio.timeout(END_WITHIN):
                await transfer.read()
        transfer.close()

    def let_go(self, error: UpstreamUnavailable) -> None:
        """Nothing more is taken, because of this error; what has come can be read."""
        if self.is_coming:
            self.error = error
        if self._transfer is not None:
            self._transfer.close()
        self._changed.set()

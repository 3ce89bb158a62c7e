"""Whether all files are known, and waiting until they are."""

from __future__ import annotations

import asyncio

from mirror.errors import StoreFailed

_PATIENCE_SECONDS = 10.0
# A client that waits wants an answer within 25 s.


class Wholeness:
    """Of an index: whole, until it begins to look through the folder, and once that is done."""

    def __init__(self) -> None:
        self._whole = asyncio.Event()
        self._whole.set()

    def __bool__(self) -> bool:
        return self._whole.is_set()

    def begin(self) -> None:
        """From now on there may be files that are not known."""
        self._whole.clear()

    def end(self) -> None:
        """All are known."""
        self._whole.set()

    async def wait(self, seconds: float | None = None) -> None:
        """Wait until all are known; raises StoreFailed if that takes longer."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS if seconds is None else seconds):
                await self._whole.wait()
        except TimeoutError:
            raise StoreFailed("the cache is still being looked through; ask again later") from None

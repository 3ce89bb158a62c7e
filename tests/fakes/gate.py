"""A gate inside an answer: the answer waits there until the test opens it."""

import asyncio


class Gate:
    """Closed until `open()`; `reached()` waits until an answer stands before it."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._reached = asyncio.Event()

    def open(self) -> None:
        self._open.set()

    async def reached(self, timeout: float = 45.0) -> None:
        async with asyncio.timeout(timeout):
            await self._reached.wait()

    async def passed(self) -> None:
        """Stand before the gate until it is open."""
        self._reached.set()
        await self._open.wait()

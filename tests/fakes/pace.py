"""The speed of a body: no faster than so many bytes per second, measured from its first one."""

import asyncio


class Pace:
    """Waits before each piece until what went before it is due to have come; without a rate, only gives way.

    Not after the last one: whoever has been sent everything has been sent everything.
    """

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._loop = asyncio.get_running_loop()
        self._begun = self._loop.time()
        self._sent = 0

    async def turn(self) -> None:
        """Wait until the next piece may be sent."""
        due = self._begun + self._sent / self._rate if self._rate else 0.0
        await asyncio.sleep(max(0.0, due - self._loop.time()))

    def sent(self, count: int) -> None:
        """So many more bytes were sent."""
        self._sent += count

"""The body of a blob on its way from an upstream (see Transfer)."""

from __future__ import annotations

import aiohttp

from mirror.proxy.events.observer import Observer
from mirror.proxy.events.upstreams import UpstreamReceived
from mirror.proxy.interfaces.upstream import Data, Validator
from mirror.upstream.egress import translated
from mirror.upstream.health.pulse import Pulse
from mirror.upstream.intake import Intake, intake_of
from mirror.upstream.resume import strong_tag


class ResponseTransfer:
    """Reads the body of a response; how much it should be is upstream's word, checked by whoever reads.

    `start` is where in the blob the body begins, `stop` where it ends if that is before the end of the blob, `size` the
    length of the whole blob, all in bytes; `pulse` is that of the endpoint it comes from, which has to go on sending.
    """

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        pulse: Pulse,
        observer: Observer,
        start: int,
        size: int | None,
        stop: int | None = None,
    ) -> None:
        self.start = start
        self.stop = stop
        self.size = size
        tag = strong_tag(response)
        self.validator = None if tag is None else Validator(tag, pulse.endpoint)
        self._response = response
        self._pulse = pulse
        self._observer = observer
        self._intake: Intake | None = None
        self._is_begun = False

    async def read(self, most: int | None = None) -> Data:
        """Return what has arrived, or `most` of it, waiting for at least one byte; empty at the end."""
        with self._pulse.felt_by_body(), translated(self._response.url):
            data = await self._read(most)
        if data:
            self._observer.notify(UpstreamReceived(self._pulse.upstream, len(data)))
        else:
            self._pulse.delivered()
        return data

    async def _read(self, most: int | None) -> Data:
        if not self._is_begun:
            # Not before: of a body that nobody wants yet, no more than a little is to come.
            self._is_begun, self._intake = True, intake_of(self._response)
        if self._intake is not None:
            return await self._intake.read(most)
        content = self._response.content
        return await (content.readany() if most is None else content.read(most))

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else close it: nothing is drained."""
        self._response.release()

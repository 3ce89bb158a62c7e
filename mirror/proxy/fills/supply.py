"""The bytes of one blob from its upstream: a cut, a stall or an expired address is a pause, nothing else.

Whoever reads says how much it has; that is where a resume goes on. Upstream may send the object anew instead: then
bytes come that the reader has already, and are to be compared.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from mirror.errors import (
    DigestMismatch,
    Refused,
    UpstreamInvalid,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from mirror.oci.digest import Digest
from mirror.oci.reference import Repository
from mirror.proxy.deadline import answer_within
from mirror.proxy.events.fills import FillResumed
from mirror.proxy.events.observer import Observer
from mirror.proxy.fills.retry import Pace, RetryBudget
from mirror.proxy.fills.throttle import UNLIMITED, Throttle
from mirror.proxy.interfaces.upstream import Data, Rest, Transfer, Validator
from mirror.proxy.routing import Route

STALL_SECONDS = 15.0
"""Longest wait for the next bytes of a body."""

SIZE_WITHIN = 4.0
"""Seconds upstream has to tell by HEAD the length it left out of its answer; with that, clients get one too."""


class Source(Protocol):
    """Where a blob comes from: an upstream, or the parts of it that one gives (see Upstream)."""

    async def head_blob(self, repository: Repository, digest: Digest) -> int | None:
        """Return the length of the blob, None if nobody tells."""

    async def get_blob(self, repository: Repository, digest: Digest, rest: Rest) -> Transfer:
        """Begin to fetch what is left of the blob."""


class Supply:
    """What `upstream` sends of the blob; resumes are told to `observer`."""

    def __init__(
        self, upstream: Source, route: Route, digest: Digest, observer: Observer, throttle: Throttle = UNLIMITED
    ) -> None:
        self._upstream = upstream
        self._throttle = throttle
        self._route = route
        self._digest = digest
        self._observer = observer
        self._transfer: Transfer | None = None
        self._offset = 0
        self._taken = 0
        self._validator: Validator | None = None
        self._attempts = 0
        self._asked_behind: int | None = None
        self._budget = RetryBudget(_now())
        self._pace = Pace()
        self.total: int | None = None
        """The length of the blob as upstream told it; None if it did not."""

    async def open(self, have: int, *, is_patient: bool = False) -> None:
        """Ask for the blob behind the first `have` bytes; raises Refused or UpstreamUnavailable.

        `is_patient` where somebody is reading already, who would rather wait for another try.
        """
        self._taken = have
        try:
            await self._ask(have)
        except UpstreamUnavailable as error:
            if not is_patient:
                raise
            await self._resume(have, error)
        if self.total is None:
            self.total = await self._size()

    async def read(self, have: int) -> tuple[int, Data]:
        """Return the next bytes (see Transfer), and where in the blob they begin; no bytes at its end.

        `have` is how many bytes from the beginning have been read. Once the budget for resuming is spent, raises the
        UpstreamUnavailable or Refused of the last try; DigestMismatch for more bytes than there should be.
        """
        if have > self._taken:
            # Told now, not when they came: how long they took to be written is not upstream's fault.
            self._budget.progressed(have - self._taken, _now())
            self._taken = have
        while True:
            try:
                return await self._read()
            except DigestMismatch:
                raise
            except UpstreamUnavailable as error:
                self.close()
                if have == self.total:
                    return have, b""
                await self._resume(have, error)

    def close(self) -> None:
        """Let go of the connection."""
        if self._transfer is not None:
            self._transfer.close()

    async def _read(self) -> tuple[int, Data]:
        assert self._transfer is not None  # noqa: S101  # open comes first
        # Before the clock starts: that it may not send yet is not upstream's fault.
        await self._throttle.turn()
        data: Data = b""
        started = _now()
        try:
            async with asyncio.timeout(STALL_SECONDS):
                data = await self._transfer.read(self._throttle.piece)
        except TimeoutError:
            raise UpstreamTimeout("upstream sends nothing any more") from None
        finally:
            self._throttle.took(len(data))
        self._pace.received(len(data), _now() - started)
        offset = self._offset
        self._offset += len(data)
        if not data and self.total is not None and offset < self.total:
            raise UpstreamInvalid("upstream sent fewer bytes than it declared")
        if self.total is not None and self._offset > self.total:
            raise DigestMismatch("upstream sent more bytes than it declared")
        return offset, data

    async def _resume(self, have: int, error: UpstreamUnavailable | Refused) -> None:
        while (pause := self._budget.spend(_now(), _wanted_pause(error))) is not None:
            self._observer.notify(FillResumed(self._route.upstream, self._digest, have, error))
            await asyncio.sleep(pause)
            try:
                await self._ask(have)
                return
            except (UpstreamUnavailable, Refused) as newer:
                # A no as well: the next endpoint may have what this one does not.
                error = newer
        raise error

    async def _ask(self, have: int) -> None:
        rest = Rest(have, self._validator, self._attempts, is_retry=have == self._asked_behind)
        self._attempts += 1
        self._asked_behind = have
        async with answer_within():
            transfer = await self._upstream.get_blob(self._route.repository, self._digest, rest)
        if None not in (self.total, transfer.size) and self.total != transfer.size:
            transfer.close()
            raise UpstreamInvalid("upstream offers a blob of another length than before")
        self._transfer = transfer
        self._offset = transfer.start
        self._validator = transfer.validator
        self._pace = Pace()
        self.total = self.total if transfer.size is None else transfer.size

    async def _size(self) -> int | None:
        try:
            async with answer_within(SIZE_WITHIN):
                return await self._upstream.head_blob(self._route.repository, self._digest)
        except (Refused, UpstreamUnavailable):
            return None


def _wanted_pause(error: UpstreamUnavailable | Refused) -> float:
    """Return how many seconds upstream wants to be left alone."""
    return float(error.retry_after or 0) if isinstance(error, UpstreamUnavailable) else 0.0


def _now() -> float:
    return asyncio.get_running_loop().time()

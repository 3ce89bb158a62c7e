"""A blob in parts, as one transfer: its bytes are given in order, and others are fetched meanwhile behind them.

The first part shows whether one connection is what the blob waits for. What comes before its turn waits in memory, so
that the file is written, hashed and told of in order, as ever: whoever takes over a fill finds a prefix, and no holes.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import replace

from mirror.errors import UpstreamInvalid, UpstreamThrottled, UpstreamUnavailable
from mirror.oci.digest import Digest
from mirror.oci.reference import Repository
from mirror.proxy.deadline import answer_within
from mirror.proxy.fills.segments.lanes import Lanes
from mirror.proxy.fills.segments.plan import FIRST, Part, Plan
from mirror.proxy.fills.segments.segment import Segment
from mirror.proxy.fills.segments.width import Seen, Width
from mirror.proxy.interfaces.upstream import Data, Rest, Transfer, Upstream, Validator
from mirror.proxy.routing import Route

_AHEAD = 2
# Parts that may have come already and wait for one that is slower, beside those that are on their way.


class Segments:
    """One blob of `upstream`, as a supply asks for it; whoever has it closes it."""

    def __init__(self, upstream: Upstream, route: Route, digest: Digest, lanes: Lanes) -> None:
        self._upstream = upstream
        self._route = route
        self._digest = digest
        self._lanes = lanes
        self._is_in_parts = lanes.pay(route.upstream, digest)
        self._width = Width()
        self._plan = Plan(0, 0)
        self._total: int | None = None
        self._rest = Rest()
        self._coming: deque[Segment] = deque()
        self._tasks: dict[Segment, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._received = 0
        self._waited = 0.0

    # As an upstream. -------------------------------------------------------------------------------------

    async def head_blob(self, repository: Repository, digest: Digest) -> int | None:
        """Ask upstream for the length."""
        return await self._upstream.head_blob(repository, digest)

    async def get_blob(self, repository: Repository, digest: Digest, rest: Rest) -> Transfer:
        """Begin to fetch what is behind the start of `rest`, or go on with what has come; raises as upstream does."""
        if self._is_in_parts and self._total is not None and rest.start != self._offset:
            self._give_up()
        if not self._is_in_parts:
            return await self._upstream.get_blob(repository, digest, rest)
        wanted = self._wanted(rest.start)
        if wanted is not None:
            transfer = await self._ask(rest, wanted)
            if not self._fits(transfer, wanted):
                # There are no parts to be had, or the blob is another one by now.
                self._give_up()
                if transfer.start > rest.start:
                    transfer.close()
                    raise UpstreamInvalid("upstream gives another part of the blob than it was asked for")
                return transfer
            self._go_on(transfer, rest, wanted)
        return Joined(self, rest.start, self._total, self._rest.validator)

    def doubt(self) -> None:
        """The blob was wrong; if it came in parts, it may be right in one piece, which is asked for from here on."""
        if self._is_in_parts:
            self._lanes.rest(self._route.upstream)

    async def _ask(self, rest: Rest, wanted: Part) -> Transfer:
        """Ask for a part, and for all of `rest` where upstream takes the first one amiss."""
        try:
            return await self._upstream.get_blob(self._route.repository, self._digest, replace(rest, stop=wanted.stop))
        except UpstreamInvalid:
            if self._total is not None:
                raise
            self._lanes.rest(self._route.upstream)
            return await self._upstream.get_blob(self._route.repository, self._digest, rest)

    @property
    def _offset(self) -> int:
        """Where whoever reads is."""
        return self._coming[0].offset if self._coming else self._plan.start

    def _wanted(self, start: int) -> Part | None:
        """Return what has to be asked for to go on at `start`; None if it is here, or on its way."""
        if self._total is None:
            return Part(start, start + FIRST)
        if not self._coming:
            return self._plan.next(self._plan.left)
        first = self._coming[0]
        return Part(start, first.part.stop) if first.error is not None else None

    def _fits(self, transfer: Transfer, wanted: Part) -> bool:
        if transfer.size is None or transfer.start != wanted.start:
            return False
        if self._total is None:
            return True
        stop = transfer.size if transfer.stop is None else transfer.stop
        return (transfer.size, stop) == (self._total, wanted.stop)

    def _go_on(self, transfer: Transfer, rest: Rest, wanted: Part) -> None:
        part = wanted
        if self._total is None:
            assert transfer.size is not None  # noqa: S101  # it fits
            part = Part(wanted.start, transfer.size if transfer.stop is None else transfer.stop)
            self._total, self._plan = transfer.size, Plan(part.stop, transfer.size)
            self._rest = Rest(validator=transfer.validator, attempt=rest.attempt)
        elif self._coming:
            self._drop(self._coming.popleft())
        else:
            self._plan.give_out(part)
        segment = Segment(part)
        segment.follow(transfer)
        self._coming.appendleft(segment)

    def _give_up(self) -> None:
        """From here on by one connection, as if there were no parts."""
        self._is_in_parts = False
        self._lanes.rest(self._route.upstream)
        while self._coming:
            self._drop(self._coming.pop())

    # As a transfer. --------------------------------------------------------------------------------------

    async def read(self) -> Data:
        """Return the next bytes, none at the end; raises UpstreamUnavailable, after which it is asked for the rest."""
        await self._widen()
        if not self._coming:
            return b""
        first, began = self._coming[0], _now()
        data = await first.read()
        self._waited += _now() - began
        if not first.is_ahead:
            self._received += len(data)
        if first.is_read:
            self._drop(self._coming.popleft())
        return data

    def stop(self) -> None:
        """What is being read has gone wrong, or is of no use any more."""
        if self._coming:
            self._coming[0].let_go(UpstreamUnavailable("it was let go of"))

    async def _widen(self) -> None:
        """Have as many parts on their way as pay."""
        if self._plan.left:
            self._judge()
        share = self._plan.share(self._width.value)
        while self._width.value > 1 and self._plan.left and self._has_room():
            if not await self._begin_ahead(self._plan.next(share)):
                break
        if self._plan.left and self._is_next_due():
            is_undecided = self._width.value == 1 and not self._width.is_settled
            self._begin(Segment(self._plan.next(FIRST if is_undecided else self._plan.left)))

    def _judge(self) -> None:
        width, upstream = self._width, self._route.upstream
        ahead = sum(segment.received - segment.part.start for segment in self._coming if segment.is_ahead)
        told = width.rate
        seen = Seen(_now(), self._received + ahead, self._plan.left, self._waited, time.thread_time())
        width.look(seen, self._lanes.rate(upstream))
        if width.rate is not None and width.rate != told:
            self._lanes.saw(upstream, width.rate)
        if any(isinstance(segment.error, UpstreamThrottled | UpstreamInvalid) for segment in self._coming):
            # It wants no more of them, or does not give what it is asked for.
            width.settle(1)
            self._lanes.rest(upstream)

    def _is_next_due(self) -> bool:
        """Tell whether an only connection is to be asked for more: before it has given all, not to wait for that."""
        is_only = self._width.value == 1 == len(self._coming)
        return not self._coming or (is_only and (self._width.is_settled or self._coming[0].is_nearly_here))

    def _has_room(self) -> bool:
        at_work = sum(segment.is_coming for segment in self._coming)
        return at_work < self._width.value and len(self._coming) < self._width.value + _AHEAD

    async def _begin_ahead(self, part: Part) -> bool:
        """Begin the next part beside the others, if a connection for it is to spare."""
        segment = Segment(part, is_ahead=True)
        if not await self._lanes.take(self._route.upstream, segment, part.size):
            return False
        self._begin(segment)
        return True

    def _begin(self, segment: Segment) -> None:
        self._plan.give_out(segment.part)
        self._coming.append(segment)
        self._tasks[segment] = asyncio.create_task(segment.fetch(self._opened), name=f"part of {self._digest}")

    def _drop(self, segment: Segment) -> None:
        """The segment is read, or somebody else brings what it should."""
        segment.let_go(UpstreamUnavailable("it is fetched otherwise"))
        self._received += segment.received - segment.part.start if segment.is_ahead else 0
        self._lanes.leave(segment)
        task = self._tasks.pop(segment, None)
        if task is not None and not task.done():
            self._ending.add(task)
            task.cancel()
            task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """Let go of everything."""
        while self._coming:
            self._drop(self._coming.pop())
        while self._ending:
            await asyncio.wait(self._ending)

    async def _opened(self, part: Part) -> Transfer:
        rest = replace(self._rest, start=part.start, stop=part.stop)
        async with answer_within():
            transfer = await self._upstream.get_blob(self._route.repository, self._digest, rest)
        if not self._fits(transfer, part):
            transfer.close()
            raise UpstreamInvalid("upstream gives another part of the blob than it was asked for")
        return transfer


class Joined:
    """The parts as one transfer (see Transfer)."""

    stop: int | None = None

    def __init__(self, segments: Segments, start: int, size: int | None, validator: Validator | None) -> None:
        self.start = start
        self.size = size
        self.validator = validator
        self._segments = segments

    async def read(self, most: int | None = None) -> Data:
        """Return the next bytes; all that have come, since what is held back is not fetched in parts."""
        return await self._segments.read()

    def close(self) -> None:
        """Let go of the part that is being read."""
        self._segments.stop()


def _now() -> float:
    return asyncio.get_running_loop().time()

"""The writer of a fill: upstream's bytes into a sink, compared where they come anew, verified, kept.

What can be kept goes into a partial file. What the disk does not take, from the beginning or from some byte on,
passes through memory to those who read it now.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from mirror.errors import DigestMismatch, MirrorError, Refused, ShuttingDown, StoreFailed, UpstreamUnavailable
from mirror.oci.digest import Digest
from mirror.proxy.access import Access
from mirror.proxy.cache_status import Kind
from mirror.proxy.events.fills import FillFinished, FillStarted
from mirror.proxy.events.observer import Observer
from mirror.proxy.events.troubles import StoreTroubled
from mirror.proxy.failures import Failures
from mirror.proxy.fills.audience import PASSED_AT_ONCE
from mirror.proxy.fills.fill import Fill
from mirror.proxy.fills.progress import Progress
from mirror.proxy.fills.segments.lanes import Lanes
from mirror.proxy.fills.segments.segments import Segments
from mirror.proxy.fills.supply import Supply
from mirror.proxy.fills.throttle import UNLIMITED, Throttle
from mirror.proxy.interfaces.fills import FillState, PartialFile, Passage, Sink
from mirror.proxy.interfaces.store import BlobStore, Records
from mirror.proxy.interfaces.upstream import Data, Upstream
from mirror.proxy.routing import Route


@dataclass(frozen=True, slots=True)
class Means:
    """What every download works with."""

    upstreams: Mapping[str, Upstream]
    store: BlobStore
    records: Records
    failures: Failures
    access: Access
    observer: Observer
    throttles: Mapping[str, Throttle] = field(default_factory=dict)
    lanes: Lanes | None = None

    async def permit(self, route: Route, digest: Digest) -> None:
        """Make sure that `route` may have bytes that were not fetched through it.

        Raises Refused if upstream says no, UpstreamUnavailable if it cannot say.
        """
        ask = functools.partial(self.upstreams[route.upstream].head_blob, route.repository, digest)
        await self.access.confirm(Kind.BLOB, route, digest, ask)


class Download:
    """Fetches the blob of `fill` into `partial`, or past the disk where that is None: through `passage`, if begun."""

    def __init__(self, fill: Fill, partial: PartialFile | None, means: Means, passage: Passage | None = None) -> None:
        self._fill = fill
        self._partial = partial
        self._passage = passage
        self._means = means
        throttle = means.throttles.get(fill.route.upstream, UNLIMITED)
        upstream = means.upstreams[fill.route.upstream]
        # A bandwidth is dealt out piece by piece, and held by whoever it is set for.
        lanes = means.lanes if throttle.piece is None else None
        self._segments = None if lanes is None else Segments(upstream, fill.route, fill.digest, lanes)
        self._supply = Supply(self._segments or upstream, fill.route, fill.digest, means.observer, throttle)
        self._progress: Progress | None = None
        self._error: MirrorError | None = None
        self._unkept = "disk"

    async def run(self) -> None:
        """Fetch what is missing, verify, and keep it; the fill's readers follow.

        Raises Refused, UpstreamUnavailable or StoreFailed; DigestMismatch for bytes that are not the blob's.
        """
        try:
            sink = self._passage or self._partial
            if sink is not None and sink.size and await sink.verified():
                progress = await self._complete(sink.size)
            else:
                progress = await self._fetch()
        finally:
            self._supply.close()
            if self._segments is not None:
                await self._segments.close()
        await self._verify()
        progress.enter(FillState.VERIFIED)
        await self._keep(progress)

    async def abandon(self, error: MirrorError) -> None:
        """End without the whole blob: what upstream can go on with later stays, everything else goes."""
        self._error = error
        if isinstance(error, DigestMismatch) and self._segments is not None:
            self._segments.doubt()
        if isinstance(error, ShuttingDown):
            # Whoever reads along in another process goes on with it as soon as it is closed.
            return
        # Also after a no, which is for one repository: another may go on with it.
        await self.leave(is_good=not isinstance(error, DigestMismatch | StoreFailed))

    async def leave(self, *, is_good: bool = True) -> None:
        """Leave what there is to whoever goes on with it, if it is good for that."""
        if self._partial is not None and self._passage is None:
            await self._leave(self._partial, is_kept=is_good and self._partial.size > 0)

    def report(self) -> None:
        """Say how it ended, if it has begun."""
        if self._progress is not None:
            committed = self._progress.state is FillState.COMMITTED
            route, prefix, error = self._fill.route, self._progress.prefix, self._error
            unkept = None if committed or error is not None else self._unkept
            self._means.observer.notify(
                FillFinished(route.upstream, self._fill.digest, prefix, committed, error, unkept)
            )

    async def close(self) -> None:
        """Let go of everything; nobody may read any more."""
        if self._passage is not None:
            await self._passage.close()
        if self._partial is not None:
            await self._partial.close()

    # Upstream. -------------------------------------------------------------------------------------------

    async def _complete(self, size: int) -> Progress:
        """All bytes are there: whoever wrote them died before they had their name. Upstream's yes is still needed."""
        await self._means.permit(self._fill.route, self._fill.digest)
        return await self._begin(size)

    async def _fetch(self) -> Progress:
        await self._agree()
        if self._fill.hold is not None:
            await self._fill.hold.passed(self._is_wanted)
        progress = await self._begin(self._supply.total)
        while True:
            offset, data = await self._supply.read(self._sink.size)
            if not data:
                return progress
            await self._take(offset, data, progress)

    async def _is_wanted(self) -> bool:
        try:
            return self._partial is not None and await self._partial.is_wanted()
        except StoreFailed:
            return False

    async def _agree(self) -> None:
        fill, failures = self._fill, self._means.failures
        try:
            await failures.recall(Kind.BLOB, fill.route, fill.digest)
        except DigestMismatch:
            raise
        except UpstreamUnavailable:
            # A no is believed; that a HEAD had no answer says nothing of a GET.
            pass
        try:
            sink = self._passage or self._partial
            await self._supply.open(0 if sink is None else sink.size, is_patient=fill.is_published)
        except Refused as error:
            # Nothing else is remembered: clients come back for a blob that was cut, and soon.
            await failures.remember(Kind.BLOB, fill.route, fill.digest, error)
            raise

    async def _begin(self, total: int | None) -> Progress:
        if self._partial is not None:
            # Before others can see that there was a yes.
            await self._means.records.grant(self._fill.route, self._fill.digest)
        if self._passage is None and not await self._has_room(total):
            await self._spill()
        have = self._sink.size
        if self._passage is not None:
            # Not earlier: what is said of content that is not on its way to the disk may be forgotten any time.
            await self._means.records.grant(self._fill.route, self._fill.digest)
        self._fill.passage = self._passage
        self._progress = self._fill.begin(self._partial, total, have)
        # With its progress: only a fill that has some is said to end.
        self._means.observer.notify(FillStarted(self._fill.route.upstream, self._fill.digest))
        return self._progress

    async def _has_room(self, total: int | None) -> bool:
        if self._partial is None:
            return False
        try:
            has_room = await self._partial.expect(total)
        except StoreFailed as error:
            self._trouble("reservation of room", error)
            return False
        if not has_room:
            self._unkept = "no_room" if total is None or self._means.store.admits(total) else "too_large"
        return has_room

    # Bytes. ----------------------------------------------------------------------------------------------

    @property
    def _sink(self) -> Sink:
        sink = self._passage or self._partial
        assert sink is not None  # noqa: S101  # once upstream has agreed
        return sink

    async def _take(self, offset: int, data: Data, progress: Progress) -> None:
        known = data[: max(0, self._sink.size - offset)]
        if known and not await self._had(offset, known):
            raise DigestMismatch("upstream sends other bytes than before")
        if fresh := data[len(known) :]:
            await self._append(fresh, progress)

    async def _had(self, offset: int, data: Data) -> bool:
        # What has passed through memory is gone; of that, the digest will tell.
        return self._partial is None or self._passage is not None or await self._partial.holds(offset, data)

    async def _append(self, data: Data, progress: Progress) -> None:
        if self._passage is None and self._partial is not None:
            try:
                await self._partial.append(data)
                progress.advance(len(data))
                return
            except StoreFailed as error:
                self._trouble("write of a partial file", error)
                await self._spill()
                self._fill.passage = self._passage
        assert self._passage is not None  # noqa: S101  # what is not kept passes
        for start in range(0, len(data), PASSED_AT_ONCE):
            piece = data[start : start + PASSED_AT_ONCE]
            await self._passage.append(piece)
            await self._fill.audience.make_way(self._passage)
            progress.advance(len(piece))

    async def _spill(self) -> None:
        """From here on past the disk. What it has stays open to the readers, and to nobody else."""
        if self._partial is None:
            self._passage = self._means.store.passage(self._fill.digest)
        else:
            self._passage = self._partial.spill()
            await self._leave(self._partial, is_kept=False)

    # The end. --------------------------------------------------------------------------------------------

    async def _verify(self) -> None:
        if not await self._sink.verified():
            raise DigestMismatch("upstream sent bytes that do not have the blob's digest")

    async def _keep(self, progress: Progress) -> None:
        if self._passage is not None or self._partial is None:
            return
        try:
            await self._partial.commit()
            progress.enter(FillState.COMMITTED)
        except StoreFailed as error:
            # The bytes are right and on their way to the readers; only the next client has to fetch them again.
            self._trouble("commit of a blob", error)
            await self._leave(self._partial, is_kept=False)

    async def _leave(self, partial: PartialFile, *, is_kept: bool) -> None:
        try:
            await (partial.keep() if is_kept else partial.discard())
        except StoreFailed as error:
            self._trouble("removal of a partial file", error)

    def _trouble(self, doing: str, error: StoreFailed) -> None:
        self._means.observer.notify(StoreTroubled(doing, error))

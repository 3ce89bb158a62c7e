"""The writer of fills: one transfer a digest, through a partial file, verified, into the store."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from mirror.errors import (
    DigestMismatch,
    MirrorError,
    Refused,
    ShuttingDown,
    StoreFailed,
    UpstreamInvalid,
    UpstreamUnavailable,
)
from mirror.oci.digest import Digest
from mirror.proxy.cache_status import Kind
from mirror.proxy.deadline import answer_within
from mirror.proxy.events import DigestMismatched, FillFinished, FillStarted, Observer, StoreTroubled
from mirror.proxy.failures import Failures
from mirror.proxy.fill import Fill
from mirror.proxy.interfaces import BlobStore, PartialFile, Records, Transfer, Upstream
from mirror.proxy.progress import FillState, Progress
from mirror.proxy.routing import Route
from mirror.proxy.tasks import Tasks

SIZE_WITHIN = 4.0
"""Seconds upstream has to tell by HEAD the length it left out of its answer; with that, clients get one too."""


class Filler:
    """All fills of this process, at most one a digest."""

    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        store: BlobStore,
        records: Records,
        failures: Failures,
        tasks: Tasks,
        observer: Observer,
    ) -> None:
        self._upstreams = upstreams
        self._store = store
        self._records = records
        self._failures = failures
        self._tasks = tasks
        self._observer = observer
        self._fills: dict[Digest, Fill] = {}

    def find(self, digest: Digest) -> Fill | None:
        """Return the fill of this digest that can be joined."""
        return self._fills.get(digest)

    def join_or_start(self, route: Route, digest: Digest) -> tuple[Fill, bool]:
        """Return the fill of this digest and whether it was there to be joined; else it starts through `route`.

        A fill that was there may be another repository's: reading it takes a grant of one's own.
        """
        if fill := self._fills.get(digest):
            return fill, True
        fill = self._fills[digest] = Fill(route, digest)
        task = self._tasks.spawn(self._run(fill), name=f"fill {digest}")
        task.add_done_callback(lambda _: self._ended(fill))
        return fill, False

    async def _run(self, fill: Fill) -> None:
        try:
            if await self._stored(fill.digest):
                self._land(fill)
                fill.found()
                return
            transfer = await self._agree(fill)
            try:
                await self._write(fill, transfer, await self._size(fill, transfer))
            finally:
                transfer.close()
        except MirrorError as error:
            self._land(fill)
            fill.fail(error)

    def _ended(self, fill: Fill) -> None:
        # Also for a task that was cancelled before it took its first step. No news for a fill that had its end.
        fill.fail(ShuttingDown("the fill was interrupted"))
        self._land(fill)

    async def _stored(self, digest: Digest) -> bool:
        # An earlier fill may have committed between its caller's look into the store and this one's start.
        body = await self._store.open(digest)
        if body is not None:
            body.close()
        return body is not None

    async def _agree(self, fill: Fill) -> Transfer:
        with suppress(UpstreamUnavailable):
            # A no is believed; that a HEAD had no answer says nothing of a GET.
            await self._failures.recall(Kind.BLOB, fill.route, fill.digest)
        try:
            async with answer_within():
                return await self._upstreams[fill.route.upstream].get_blob(fill.route.repository, fill.digest)
        except Refused as error:
            # Nothing else is remembered: clients come back for a blob that was cut, and soon.
            await self._failures.remember(Kind.BLOB, fill.route, fill.digest, error)
            raise

    async def _size(self, fill: Fill, transfer: Transfer) -> int | None:
        if transfer.size is not None:
            return transfer.size
        try:
            async with answer_within(SIZE_WITHIN):
                return await self._upstreams[fill.route.upstream].head_blob(fill.route.repository, fill.digest)
        except (Refused, UpstreamUnavailable):
            return None

    async def _write(self, fill: Fill, transfer: Transfer, size: int | None) -> None:
        partial = await self._store.begin(fill.digest)
        try:
            await self._complete(fill, transfer, partial, fill.begin(partial, size))
            await fill.unread()
        finally:
            await partial.close()

    async def _complete(self, fill: Fill, transfer: Transfer, partial: PartialFile, progress: Progress) -> None:
        self._observer.notify(FillStarted(fill.route.upstream, fill.digest))
        try:
            # Not earlier: what is said of content that is neither there nor on its way may be forgotten any time.
            await self._records.grant(fill.route, fill.digest)
            await self._copy(transfer, partial, progress)
            self._verify(fill, partial)
            progress.enter(FillState.VERIFIED)
            transfer.close()
            await self._keep(fill, partial, progress)
        except BaseException as error:
            # First of all: whoever is cut may be back at once, and is to find a new fill.
            self._land(fill)
            fill.fail(error if isinstance(error, MirrorError) else ShuttingDown("the fill was interrupted"))
            if not isinstance(error, MirrorError):
                raise
        finally:
            try:
                if progress.state is not FillState.COMMITTED:
                    await self._discard(partial)
            finally:
                self._land(fill)
                self._observer.notify(_finished(fill, progress))

    async def _discard(self, partial: PartialFile) -> None:
        try:
            await partial.discard()
        except StoreFailed as error:
            self._observer.notify(StoreTroubled("removal of a partial file", error))

    async def _copy(self, transfer: Transfer, partial: PartialFile, progress: Progress) -> None:
        while data := await transfer.read():
            if progress.total is not None and progress.prefix + len(data) > progress.total:
                raise UpstreamInvalid("upstream sent more bytes than it declared")
            await partial.append(data)
            progress.advance(len(data))
        if progress.total is not None and progress.prefix < progress.total:
            raise UpstreamInvalid("upstream sent fewer bytes than it declared")

    def _verify(self, fill: Fill, partial: PartialFile) -> None:
        if not partial.verified():
            self._observer.notify(DigestMismatched(fill.route.upstream, fill.digest))
            raise DigestMismatch("upstream sent bytes that do not have the blob's digest")

    async def _keep(self, fill: Fill, partial: PartialFile, progress: Progress) -> None:
        if not self._store.admits(progress.prefix):
            # Too large for the cache: whoever reads it now is served, and then it goes.
            await fill.unread()
            return
        try:
            await partial.commit()
            progress.enter(FillState.COMMITTED)
        except StoreFailed as error:
            # The bytes are right and on their way to the readers; only the next client has to fetch them again.
            self._observer.notify(StoreTroubled("commit of a blob", error))

    def _land(self, fill: Fill) -> None:
        if self._fills.get(fill.digest) is fill:
            del self._fills[fill.digest]


def _finished(fill: Fill, progress: Progress) -> FillFinished:
    committed = progress.state is FillState.COMMITTED
    return FillFinished(fill.route.upstream, fill.digest, progress.prefix, committed, fill.error)

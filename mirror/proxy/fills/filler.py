"""All fills of this process, at most one a digest: each from the store, through another process, or from upstream."""

from __future__ import annotations

import asyncio
import functools

from mirror.errors import DigestMismatch, MirrorError, ShuttingDown, StoreFailed
from mirror.oci.digest import Digest
from mirror.proxy.cache_status import Kind
from mirror.proxy.events.fills import DigestMismatched
from mirror.proxy.events.troubles import StoreTroubled
from mirror.proxy.fills.download import Download, Means
from mirror.proxy.fills.fill import Fill
from mirror.proxy.fills.following import POLL_SECONDS, follow
from mirror.proxy.fills.hold import Hold, Unclaimed
from mirror.proxy.fills.turns import Turns
from mirror.proxy.interfaces.fills import FillState, FollowedFile, PartialFile, Passage
from mirror.proxy.routing import Route
from mirror.proxy.tasks import Tasks


class Filler:
    """Starts fills, and sees each to its end; each in its turn."""

    def __init__(self, means: Means, tasks: Tasks, turns: Turns | None = None) -> None:
        self._means = means
        self._tasks = tasks
        self._fills: dict[Digest, Fill] = {}
        self._turns = turns or Turns()

    def find(self, digest: Digest) -> Fill | None:
        """Return the fill of this digest that can be joined."""
        fill = self._fills.get(digest)
        return fill if fill is not None and fill.is_joinable else None

    def join_or_start(self, route: Route, digest: Digest) -> tuple[Fill, bool]:
        """Return the fill of this digest and whether it was there to be joined; else it starts through `route`.

        A fill that was there may be another repository's: reading it takes a grant of one's own.
        """
        if fill := self.find(digest):
            return fill, True
        fill = Fill(route, digest)
        self._start(fill)
        return fill, False

    def expect(self, digest: Digest, size: int) -> None:
        """A manifest says that this blob has so many bytes."""
        if self._means.lanes is not None:
            self._means.lanes.expect(digest, size)

    async def begin_ahead(self, route: Route, digest: Digest, hold: Hold) -> asyncio.Task[None] | None:
        """Begin a fill that nobody has asked for, which waits at its hold; returns its task.

        None where there is one of this digest, or no turn that nobody else will want soon.
        """
        fill = Fill(route, digest, hold)
        if not await self._turns.take_spare(route.upstream, fill):
            return None
        if self.find(digest) is not None:
            self._turns.leave(fill)
            return None
        return self._start(fill)

    def _start(self, fill: Fill) -> asyncio.Task[None]:
        self._fills[fill.digest] = fill
        task = self._tasks.spawn(self._run(fill), name=f"fill {fill.digest}")
        task.add_done_callback(lambda _: self._ended(fill))
        return task

    async def _run(self, fill: Fill) -> None:
        try:
            if fill.hold is None:
                await self._turns.take(fill.route.upstream, fill)
            while not await self._is_stored(fill.digest):
                if await self._obtain(fill):
                    return
                await asyncio.sleep(POLL_SECONDS)
            self._land(fill)
            fill.found()
        except Unclaimed:
            fill.found()
        except MirrorError as error:
            self._fail(fill, error)

    def _ended(self, fill: Fill) -> None:
        # Also for a task that was cancelled before it took its first step. No news for a fill that had its end.
        self._fail(fill, ShuttingDown("the fill was interrupted"))

    def _fail(self, fill: Fill, error: MirrorError) -> None:
        # Landed first: whoever is cut may be back at once, and is to find a new fill.
        self._land(fill)
        fill.fail(error)

    def _land(self, fill: Fill) -> None:
        # What is only read from here on is bounded by those who read it.
        self._turns.leave(fill)
        if self._fills.get(fill.digest) is fill:
            del self._fills[fill.digest]

    async def _is_stored(self, digest: Digest) -> bool:
        # An earlier fill may have committed between its caller's look into the store and this one's start.
        body = await self._means.store.open(digest)
        if body is not None:
            body.close()
        return body is not None

    async def _obtain(self, fill: Fill) -> bool:
        """Write the blob, or read along with whoever does; False if neither came to anything yet."""
        try:
            partial = await self._means.store.claim(fill.digest)
            is_wanted = partial is None and not fill.is_held
            followed = await self._means.store.follow(fill.digest) if is_wanted else None
        except StoreFailed as error:
            self._means.observer.notify(StoreTroubled("creation of a partial file", error))
            return await self._write(fill, None)
        if partial is not None:
            return await self._write(fill, partial)
        if fill.is_held:
            # Another process fetches it, for somebody or ahead: whoever comes reads along.
            self._land(fill)
            raise Unclaimed
        return followed is not None and await self._read_along(fill, followed)

    # Writing. --------------------------------------------------------------------------------------------

    async def _write(self, fill: Fill, partial: PartialFile | None, passage: Passage | None = None) -> bool:
        """Fetch the blob; False if it came wrong and nobody had any of it, so that it can be tried once more."""
        download = Download(fill, partial, self._means, passage)
        had_its_end = True
        try:
            had_its_end = await self._run_download(fill, download)
        finally:
            download.report()
            try:
                if had_its_end:
                    self._land(fill)
                    await fill.audience.unread()
            finally:
                await download.close()
        return had_its_end

    async def _run_download(self, fill: Fill, download: Download) -> bool:
        try:
            await download.run()
        except DigestMismatch as error:
            if not error.remembered:
                self._means.observer.notify(DigestMismatched(fill.route.upstream, fill.digest))
            if fill.withdraw():
                await download.abandon(error)
                return False
            if fill.is_repeated:
                # Twice is no accident: clients that come back at once do not cost upstream the whole blob again.
                await self._means.failures.remember(Kind.BLOB, fill.route, fill.digest, error)
            await download.abandon(error)
            self._fail(fill, error)
        except Unclaimed:
            # Landed before anybody can join what does not go on, and told to those who are about to.
            self._land(fill)
            fill.found()
            await download.leave()
            raise
        except MirrorError as error:
            await download.abandon(error)
            self._fail(fill, error)
        except BaseException:
            interrupted = ShuttingDown("the fill was interrupted")
            self._fail(fill, interrupted)
            await download.abandon(interrupted)
            raise
        return True

    # Reading along. --------------------------------------------------------------------------------------

    async def _read_along(self, fill: Fill, followed: FollowedFile) -> bool:
        """Follow the fill of another process; False if that ended before it began."""
        try:
            return await self._follow(fill, followed)
        except MirrorError as error:
            self._fail(fill, error)
            return True
        except BaseException:
            self._fail(fill, ShuttingDown("the fill was interrupted"))
            raise
        finally:
            try:
                if fill.progress is not None:
                    await fill.audience.unread()
            finally:
                await followed.close()

    async def _follow(self, fill: Fill, followed: FollowedFile) -> bool:
        permit = functools.partial(self._means.permit, fill.route, fill.digest)
        is_stored = False
        while (seen := await follow(fill, followed, permit)).state is not FillState.COMMITTED:
            if fill.progress is None:
                return False
            if seen.state is FillState.FAILED and fill.withdraw():
                return False
            is_idle = seen.state is not FillState.FAILED and seen.is_written
            if is_idle or is_stored:
                # Its writer lives and does nothing, or another file was committed under its name: it comes to no end.
                return await self._go_past(fill, followed)
            try:
                partial = await self._means.store.claim(fill.digest)
            except StoreFailed:
                return await self._go_past(fill, followed)
            if partial is not None:
                return await self._take_over(fill, followed, partial)
            is_stored = await self._is_stored(fill.digest)
            await asyncio.sleep(POLL_SECONDS)
        self._land(fill)
        return True

    async def _take_over(self, fill: Fill, followed: FollowedFile, partial: PartialFile) -> bool:
        assert fill.progress is not None  # noqa: S101  # it has begun
        if partial.continues(followed) and partial.size >= fill.progress.prefix:
            return await self._write(fill, partial)
        await partial.close()
        return await self._go_past(fill, followed)

    async def _go_past(self, fill: Fill, followed: FollowedFile) -> bool:
        """Fetch the rest for those who read now: the file has lost its name, or its writer its disk or its upstream."""
        assert fill.progress is not None  # noqa: S101  # it has begun
        passage = await followed.spill(fill.progress.prefix)
        return await self._write(fill, None, passage)

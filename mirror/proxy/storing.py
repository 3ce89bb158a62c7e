"""Having a blob stored: it is pulled as a client would, read by nobody, and there when this returns."""

from __future__ import annotations

from collections.abc import Callable

from mirror.errors import StoreFailed
from mirror.oci.digest import Digest
from mirror.proxy.cache_status import CacheStatus, Outcome
from mirror.proxy.pull_blob import PullBlob
from mirror.proxy.routing import Route

_NOT_KEPT = "it was fetched, and is not there: the disk did not take it, or it was purged meanwhile"
_NOT_TO_KEEP = "the disk did not take it: it is too large for the cache, or there is no room"


async def store_blob(
    blobs: PullBlob, route: Route, digest: Digest, arrived: Callable[[int], None] = lambda _: None
) -> CacheStatus:
    """Return what the cache did once the blob is stored; `arrived` hears of bytes as they come.

    Raises what PullBlob does, BodyCut, and StoreFailed if the blob cannot be kept; it is not fetched in vain then.
    """
    pulled = await blobs.pull(route, digest)
    status = pulled.status
    try:
        if status.outcome in (Outcome.MISS, Outcome.COLLAPSED) and not status.stored:
            raise StoreFailed(_NOT_TO_KEEP)
        offset = 0
        while (end := await pulled.body.sendable(offset)) > offset:
            arrived(end - offset)
            offset = end
    finally:
        pulled.body.close()
    if not await blobs.settled(digest):
        raise StoreFailed(_NOT_KEPT)
    return status

"""What is recorded and stored, as one picture (see catalogue.Catalogue); and how it is removed (see purge.Sweeper)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

from mirror.errors import RequestError
from mirror.oci.children import Child
from mirror.oci.digest import Digest
from mirror.proxy.freshness import TagRecord
from mirror.proxy.operations.catalogue import FileUse, Snapshot
from mirror.proxy.operations.naming import FullName
from mirror.proxy.operations.purge import Swept
from mirror.proxy.routing import Route
from mirror.store.blobs import Blobs
from mirror.store.contents import StoredContents
from mirror.store.index import Index
from mirror.store.listings import StoredListings
from mirror.store.pins import Pinned, StoredPins
from mirror.store.purges import Purges
from mirror.store.record_rows import parse_tag_record, repository_of, variants_of
from mirror.store.records import StoredRecords
from mirror.store.room import Room
from mirror.store.threads import Threads


class StoredCatalogue:
    """The records, the pins and the files, with what other processes did."""

    def __init__(
        self,
        room: Room,
        index: Index,
        records: StoredRecords,
        pins: StoredPins,
        contents: StoredContents,
        threads: Threads,
    ) -> None:
        self._room = room
        self._index = index
        self._records = records
        self._pins = pins
        self._contents = contents
        self._threads = threads

    async def look(self) -> Snapshot:
        """Return what there is; raises StoreFailed."""
        await self._index.known()
        await self._room.look_around(at_once=True)
        rows, pins = await self._records.rows(), await self._pins.read()
        files = {
            digest: FileUse(entry.size, entry.used_at, self._room.absent(entry.used_at))
            for digest, entry in self._index.first_to_go()
        }
        return await self._threads.run(_snapshot, rows, pins, files)

    async def contents(self, digest: Digest) -> tuple[Child, ...]:
        """Return what a stored manifest refers to; nothing where there is no such manifest."""
        return await self._contents.of(digest)


class StoredSweeper:
    """Forgets and removes, in this order and for all processes."""

    def __init__(
        self,
        records: StoredRecords,
        listings: StoredListings,
        purges: Purges,
        blobs: Blobs,
        save: Callable[[], Awaitable[None]],
        threads: Threads,
    ) -> None:
        self._records = records
        self._listings = listings
        self._purges = purges
        self._blobs = blobs
        self._save = save
        self._threads = threads

    async def forget(self, tags: Collection[FullName], route: Route, granted: Collection[Digest]) -> None:
        """Forget tags with their variants, and grants and referrers of a repository; raises StoreFailed."""
        await self._listings.forget_referrers(route, granted)
        keys = {f"tag {name}" for name in tags} | {f"grant {route}@{digest}" for digest in granted}
        variants = tuple(map(variants_of, tags))
        await self._forget(lambda key: key in keys or key.startswith(variants))

    async def forget_repository(self, route: Route) -> None:
        """Forget all that was said of a repository; raises StoreFailed."""
        await self._listings.forget_repository(route)
        await self._forget(lambda key: repository_of(key) == str(route))

    async def _forget(self, is_forgotten: Callable[[str], bool]) -> None:
        await self._records.drop(is_forgotten)
        await self._threads.run(self._purges.tell)
        self._purges.heed()

    async def remove(self, digests: Iterable[Digest]) -> Swept:
        """Remove the files of these digests, and what an earlier fill left of them; raises StoreFailed."""
        files = size = under_way = 0
        for digest in digests:
            under_way += not await self._threads.run(self._blobs.drop_unfinished, digest)
            removed = await self._blobs.purge(digest)
            files, size = files + (removed is not None), size + (removed or 0)
        # What is forgotten shall not come back should the records be lost.
        await self._save()
        return Swept(files, size, under_way)


def _snapshot(rows: Mapping[str, str], pins: Pinned, files: Mapping[Digest, FileUse]) -> Snapshot:
    tags: dict[FullName, TagRecord] = {}
    variants: dict[FullName, list[TagRecord]] = defaultdict(list)
    granted: dict[Route, set[Digest]] = defaultdict(set)
    types: dict[Digest, str] = {}
    for key, value in rows.items():
        kind, _, rest = key.partition(" ")
        try:
            if kind == "type":
                types[Digest.parse(rest)] = value
            elif kind == "grant":
                name = FullName.parse(rest)
                granted[name.route].add(Digest.parse(rest.partition("@")[2]))
            elif kind in ("tag", "variant") and (record := parse_tag_record(value)):
                name = FullName.parse(rest.partition(" ")[0])
                if kind == "tag":
                    tags[name] = record
                else:
                    variants[name].append(record)
        except RequestError:
            # A damaged row is as good as none.
            continue
    return Snapshot(
        tags,
        {name: tuple(records) for name, records in variants.items()},
        {route: frozenset(digests) for route, digests in granted.items()},
        types,
        files,
        dict(pins),
    )

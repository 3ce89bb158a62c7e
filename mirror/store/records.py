"""What upstreams said: tags, media types, grants, what is public; in the `records/` table, the hot ones in memory."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Iterable

from cachetools import LRUCache

from mirror.errors import StoreFailed
from mirror.oci.digest import Digest
from mirror.oci.reference import Tag, Variant
from mirror.proxy.freshness import TagRecord
from mirror.proxy.interfaces.clock import Clock
from mirror.proxy.interfaces.views import Sighting
from mirror.proxy.operations.naming import FullName
from mirror.proxy.routing import Route
from mirror.store import queries
from mirror.store.pruning import OF_NO_CONTENT, Pruning
from mirror.store.purges import Purges
from mirror.store.record_rows import (
    parse_sighting,
    parse_tag_record,
    render_tag_record,
    route_of,
    tag_row,
    variants_of,
)
from mirror.store.rows import Rows
from mirror.store.slices import in_turns

_HOT_ROWS = 50_000
_ABSENT = ""

Kept = Callable[[set[Digest]], Awaitable[set[Digest]]]
"""Tells which of these digests are on disk, or on their way there."""


class StoredRecords:
    """Tags, media types and grants (see Records), and what is public (see Sightings).

    Rows are `tag <upstream>/<repository>:<tag>`, `type <digest>` and `grant <upstream>/<repository>@<digest>`, of
    content, and for clients that do not take what a tag points to, `variant <upstream>/<repository>:<tag> as <types>`;
    `public <upstream>/<repository>` and `credentialed <upstream>` are about who may have it, `pins` about what stays.
    """

    def __init__(self, rows: Rows, purges: Purges | None = None, clock: Clock = time.time) -> None:
        self._rows = rows
        self._clock = clock
        self._purges = purges or Purges()
        self._purges.on_news(self._forget_content)
        self._hot: LRUCache[str, str] = LRUCache(_HOT_ROWS)
        self._unwritten: LRUCache[str, bool] = LRUCache(_HOT_ROWS)
        self.changed = False
        """True once anything was written; whoever saves a copy sets it back."""

    async def tag(self, route: Route, tag: Tag | Variant) -> TagRecord | None:
        """Return what the tag last pointed to, as far as this process knows."""
        return parse_tag_record(await self._get(tag_row(route, tag)))

    async def latest_tag(self, route: Route, tag: Tag | Variant) -> TagRecord | None:
        """Return what the tag last pointed to; another process may have written it."""
        return parse_tag_record(await self._read(tag_row(route, tag)))

    async def tags(self, names: Iterable[FullName]) -> dict[FullName, Digest]:
        """Return what those of these tags that are known point to, according to any process; raises StoreFailed."""
        keys = {tag_row(name.route, name.reference): name for name in names if isinstance(name.reference, Tag)}
        found = {keys[key]: parse_tag_record(value) for key, value in (await self._rows.some(keys)).items()}
        return {name: record.digest for name, record in found.items() if record is not None}

    async def variants(self, names: Iterable[FullName]) -> set[Digest]:
        """Return what these tags are to clients that take other types, according to any process; raises StoreFailed."""
        rows = await self._rows.beginning(variants_of(name) for name in names)
        return {record.digest for value in rows.values() if (record := parse_tag_record(value)) is not None}

    async def put_tag(self, route: Route, tag: Tag | Variant, record: TagRecord) -> None:
        """Note what the tag points to."""
        await self._put(tag_row(route, tag), render_tag_record(record))

    async def forget_tag(self, route: Route, tag: Tag | Variant) -> None:
        """Forget the tag."""
        await self._put(tag_row(route, tag), _ABSENT)

    async def media_type(self, digest: Digest) -> str | None:
        """Return the media type of a stored manifest."""
        return await self._get(f"type {digest}") or None

    async def put_media_type(self, digest: Digest, media_type: str) -> None:
        """Note the media type of a manifest."""
        await self._put(f"type {digest}", media_type)

    async def granted(self, route: Route, digest: Digest) -> bool:
        """Tell whether upstream has said yes to this digest in this repository."""
        return await self._get(f"grant {route}@{digest}") != _ABSENT

    async def grant(self, route: Route, digest: Digest) -> None:
        """Note that upstream said yes."""
        # As the table has it: another process may have forgotten what this one remembers.
        if await self._read(f"grant {route}@{digest}") == _ABSENT:
            await self._put(f"grant {route}@{digest}", "yes")

    def knows_tag(self, route: Route, tag: Tag) -> Callable[[], TagRecord | None]:
        """Return what tells at any time what is in memory of `tag`, purged or not; None if nothing is."""
        key = tag_row(route, tag)
        return lambda: parse_tag_record(self._hot.get(key, _ABSENT))

    def knows_grant(self, route: Route, digest: Digest) -> Callable[[], bool]:
        """Return what tells at any time whether a grant of the digest is in memory, purged or not."""
        key = f"grant {route}@{digest}"
        return lambda: self._hot.get(key, _ABSENT) != _ABSENT

    def recalls_grant(self, route: Route, digest: Digest) -> Callable[[], bool]:
        """Return what tells at any time whether a grant of the digest is in memory; it hears of purges first."""
        knows = self.knows_grant(route, digest)

        def recalls() -> bool:
            self._purges.heed()
            return knows()

        return recalls

    async def public(self, route: Route) -> Sighting | None:
        """Return what was last seen of the repository to be public, according to any process."""
        return parse_sighting(await self._read(f"public {route}"))

    async def put_public(self, route: Route, sighting: Sighting) -> None:
        """Note what anybody could read of the repository."""
        reference = None if sighting.reference is None else str(sighting.reference)
        await self._put(f"public {route}", json.dumps([sighting.at, sighting.kind, reference]))

    async def forget_public(self, route: Route) -> None:
        """Forget that anybody could."""
        # Whatever the table says: one that cannot be read now may be read again.
        await self._put(f"public {route}", _ABSENT)

    async def credentialed(self, upstream: str) -> bool:
        """Tell whether credentials may have opened what is stored of this upstream; True if that cannot be told."""
        try:
            return await self._rows.get(f"credentialed {upstream}") is not None
        except StoreFailed:
            return True

    async def put_credentialed(self, upstream: str) -> None:
        """Note that they may; it is never forgotten, since grants do not say how they were obtained."""
        if await self._read(f"credentialed {upstream}") == _ABSENT:
            await self._put(f"credentialed {upstream}", "yes")

    async def routes(self, digest: Digest) -> list[Route]:
        """Return the repositories that have a grant for the digest."""
        granted = [key for key in await self.rows() if key.startswith("grant ") and key.endswith(f"@{digest}")]
        return [route for key in granted if (route := route_of(key.removeprefix("grant ").rpartition("@")[0]))]

    async def any(self) -> bool:
        """Tell whether there are any rows."""
        return await self._rows.figures(queries.COUNT) not in (None, (0,))

    async def typed(self) -> set[str]:
        """Return the keys of the rows that say that there are manifests; raises StoreFailed."""
        return set(await self._rows.beginning(["type "]))

    async def rows(self) -> dict[str, str]:
        """Return a copy of all rows."""
        return await self._rows.items()

    async def prune(self, is_kept: Callable[[Digest], bool], are_kept: Kept) -> None:
        """Forget what is said of content that is not kept any more: it will be asked for again with it.

        `is_kept` is what this process knows; what it does not know of, `are_kept` is asked to find on disk. Raises
        StoreFailed.
        """
        rows = await self.rows()
        pruning = Pruning(rows, self._hot.get, is_kept, self._clock())
        await in_turns(pruning.look())
        pruning.lost = pruning.doubtful - await are_kept(pruning.doubtful)
        await in_turns(pruning.judge())
        for keys in pruning.outdated():
            # Another process may have written one anew.
            stored = await self._rows.some(keys)
            # What this one wrote meanwhile is in memory; nothing can be between that look and the removal.
            gone = pruning.gone(keys)
            for key in gone:
                self._hot.pop(key, None)
            await self._rows.write({key: None for key in gone if stored.get(key) == rows[key]})

    async def drop(self, is_dropped: Callable[[str], bool]) -> None:
        """Forget the rows whose keys are to be dropped; raises StoreFailed.

        Every process remembers some until a purge is told.
        """
        gone = [key for key in await self.rows() if is_dropped(key)]
        if not await self._rows.write(dict.fromkeys(gone)):
            raise StoreFailed("the records could not be changed")
        self.changed = True

    def _forget_content(self) -> None:
        """Forget what is in memory, but for what says who may have content: it may not be anywhere else."""
        for key in [key for key in self._hot if not key.startswith(OF_NO_CONTENT)]:
            self._hot.pop(key, None)
            self._unwritten.pop(key, None)

    async def restore(self, rows: dict[str, str]) -> None:
        """Take over rows that were saved elsewhere."""
        await self._rows.write(rows)

    async def _get(self, key: str) -> str:
        self._purges.heed()
        value = self._hot.get(key)
        return await self._read(key) if value is None else value

    async def _read(self, key: str) -> str:
        before, purges = self._hot.get(key), self._purges.seen
        if key in self._unwritten:
            return before or _ABSENT
        try:
            value = await self._rows.get(key) or _ABSENT
        except StoreFailed:
            # As good as what was known for now, but not remembered: the next look may find it.
            return before or _ABSENT
        if (now := self._hot.get(key)) is not before:
            return now or _ABSENT
        self._purges.heed()
        if value and self._purges.seen == purges:
            self._hot[key] = value
        else:
            # Not remembered: another process may write it any time, or has purged it while it was read.
            self._hot.pop(key, None)
        return value

    async def _put(self, key: str, value: str) -> None:
        # Memory first: whoever asks while the row is being written gets the new value.
        self._hot[key] = value
        changes = {key: value or None, **self._owed()}
        try:
            is_written = await self._rows.write(changes)
        finally:
            # Not before: whoever sees it looks for the row.
            self.changed = True
        if is_written:
            for written in changes:
                self._unwritten.pop(written, None)
        else:
            self._unwritten[key] = True

    def _owed(self) -> dict[str, str | None]:
        """Return what the table did not take of who may have content: what is withdrawn must not come back from it."""
        owed = [key for key in self._unwritten if key in self._hot and key.startswith(OF_NO_CONTENT)]
        return {key: self._hot[key] or None for key in owed}

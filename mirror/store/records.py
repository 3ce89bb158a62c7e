"""What upstreams said: tags, media types and grants; in the `records/` table, the hot ones in memory."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

from cachetools import LRUCache

from mirror.errors import RequestError, StoreFailed
from mirror.oci.digest import Digest
from mirror.oci.reference import Tag
from mirror.proxy.freshness import TagRecord
from mirror.proxy.routing import Route
from mirror.store.rows import Rows

_HOT_ROWS = 50_000
_ABSENT = ""


class StoredRecords:
    """Tags, media types and grants (see interfaces.Records).

    Rows are `tag <upstream>/<repository>:<tag>`, `type <digest>` and `grant <upstream>/<repository>@<digest>`.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._hot: LRUCache[str, str] = LRUCache(_HOT_ROWS)
        self.changed = False
        """True once anything was written; whoever saves a copy sets it back."""

    async def tag(self, route: Route, tag: Tag) -> TagRecord | None:
        """Return what the tag last pointed to."""
        return parse_tag_record(await self._get(f"tag {route}:{tag}"))

    async def put_tag(self, route: Route, tag: Tag, record: TagRecord) -> None:
        """Note what the tag points to."""
        await self._put(f"tag {route}:{tag}", json.dumps([str(record.digest), record.validated_at]))

    async def forget_tag(self, route: Route, tag: Tag) -> None:
        """Forget the tag."""
        await self._put(f"tag {route}:{tag}", _ABSENT)

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
        if not await self.granted(route, digest):
            await self._put(f"grant {route}@{digest}", "yes")

    async def rows(self) -> dict[str, str]:
        """Return a copy of all rows."""
        return await self._rows.items()

    async def prune(self, is_kept: Callable[[Digest], bool]) -> None:
        """Forget what is said of content that is not kept any more: it will be asked for again with it."""
        rows = await self.rows()
        # What was written meanwhile is in memory; nothing can be between this and the removal.
        gone = [key for key, value in rows.items() if not _concerns(key, self._hot.get(key) or value, is_kept)]
        for key in gone:
            self._hot.pop(key, None)
        await self._rows.write(dict.fromkeys(gone))

    async def restore(self, rows: dict[str, str]) -> None:
        """Take over rows that were saved elsewhere."""
        await self._rows.write(rows)

    async def _get(self, key: str) -> str:
        value = self._hot.get(key)
        if value is not None:
            return value
        try:
            value = await self._rows.get(key) or _ABSENT
        except StoreFailed:
            # As good as none for now, but not remembered: the next look may find it.
            return _ABSENT
        return self._hot.setdefault(key, value)

    async def _put(self, key: str, value: str) -> None:
        # Memory first: whoever asks while the row is being written gets the new value.
        self._hot[key] = value
        self.changed = True
        await self._rows.write({key: value or None})


def _concerns(key: str, value: str, is_kept: Callable[[Digest], bool]) -> bool:
    kind, _, rest = key.partition(" ")
    if kind == "tag":
        record = parse_tag_record(value)
        return record is not None and is_kept(record.digest)
    try:
        return is_kept(Digest.parse(rest.rpartition("@")[2]))
    except RequestError:
        return False


def parse_tag_record(value: str) -> TagRecord | None:
    """Return the tag record that a row holds, None for one that is absent or damaged."""
    try:
        digest, validated_at = json.loads(value or "null")
        record = TagRecord(Digest.parse(digest), float(validated_at))
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError, RequestError):
        return None
    return record if math.isfinite(record.validated_at) else None

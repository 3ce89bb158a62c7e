"""What pins hold: the files that nobody evicts, found anew before anybody does."""

from __future__ import annotations

from contextlib import suppress

from mirror.errors import StoreFailed
from mirror.oci.digest import Digest
from mirror.proxy.operations.catalogue import held_by
from mirror.proxy.operations.naming import FullName
from mirror.store.contents import StoredContents
from mirror.store.index import Index
from mirror.store.pins import Pinned, StoredPins
from mirror.store.records import StoredRecords


class Held:
    """The digests that pinned images hold, whether they are stored or not."""

    def __init__(self, pins: StoredPins, records: StoredRecords, contents: StoredContents, index: Index) -> None:
        self._pins = pins
        self._records = records
        self._contents = contents
        self._index = index
        self._digests: frozenset[Digest] = frozenset()

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._digests

    @property
    def size(self) -> int:
        """Bytes on disk of what is held."""
        return sum(entry.size for digest in self._digests if (entry := self._index.get(digest)) is not None)

    async def refresh(self) -> None:
        """Learn what is pinned, where pinned tags point to, and what that holds; raises StoreFailed."""
        pins = await self._pins.read()
        roots = await self._roots(pins) if pins else set()
        held = [await held_by(root, self._contents.of) for root in roots]
        self._digests = frozenset[Digest]().union(*held)

    async def _roots(self, pins: Pinned) -> set[Digest]:
        """Return the manifests that are pinned, and note which they are: upstream may delete a tag."""
        names = [name for name in pins if not isinstance(name.reference, Digest)]
        found = await self._records.tags(names)
        moved = {name: digest for name, digest in found.items() if pins[name] != digest}
        if moved:
            # What cannot be noted now is found anew the next time.
            with suppress(StoreFailed):
                await self._pins.note(moved)
        last = {digest for name in pins if (digest := _root(name, found.get(name) or pins[name])) is not None}
        return last | await self._records.variants(names)


def _root(name: FullName, last: Digest | None) -> Digest | None:
    return name.reference if isinstance(name.reference, Digest) else last

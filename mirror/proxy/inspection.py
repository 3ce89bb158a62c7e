"""Looking at what is cached: what a pull would be now and why, until when, and what an image holds.

Nothing is asked upstream, and nothing counts as use.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from mirror.errors import NotCached
from mirror.oci.children import Child
from mirror.oci.digest import Digest
from mirror.proxy.catalogue import Catalogue, FileUse, Images, Snapshot, images_of
from mirror.proxy.freshness import Freshness, FreshnessPolicy, Lifetime, TagRecord, judge, lifetime
from mirror.proxy.interfaces import Clock
from mirror.proxy.naming import FullName

_DEEPEST = 3
# An index of indexes is as deep as anybody builds; a document that refers to itself is not followed for ever.
_MOST_HINTS = 5


class Reason(StrEnum):
    """Why a pull would be what it would be."""

    FRESH = "upstream has vouched for the tag lately: it is not asked"
    STALE = "upstream is asked first; what is cached is served while it cannot be asked"
    EXPIRED = "upstream is asked, and what is cached is not served without it"
    GRANTED = "a digest is always fresh, and upstream has granted it to this repository"
    UNCONFIRMED = "the bytes are here, and upstream is asked whether this repository may serve them"


_STATES = {
    Reason.FRESH: "hit",
    Reason.GRANTED: "hit",
    Reason.STALE: "stale",
    Reason.UNCONFIRMED: "stale",
    Reason.EXPIRED: "miss",
}
_OF_TAGS = {Freshness.FRESH: Reason.FRESH, Freshness.STALE: Reason.STALE, Freshness.EXPIRED: Reason.EXPIRED}


@dataclass(frozen=True, slots=True)
class CachedImage:
    """An image in the cache.

    `size` is what is stored of it, `unshared` what no other image holds, in bytes; `used_at` and `kept_until` are
    epoch seconds, `kept_until` is None for what does not go by age. `record` and `lifetime` are of tags only.
    """

    name: FullName
    digest: Digest
    media_type: str
    reason: Reason
    size: int
    unshared: int
    used_at: float
    kept_until: float | None
    is_pinned: bool
    record: TagRecord | None = None
    lifetime: Lifetime | None = None

    @property
    def state(self) -> str:
        """What a pull would be now: `hit`, `stale` or `miss`."""
        return _STATES[self.reason]


@dataclass(frozen=True, slots=True)
class Part:
    """Something an image refers to, the file that is stored of it, and what that refers to in turn."""

    child: Child
    file: FileUse | None
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class ShownImage:
    """An image, by which names it is pinned, and what it consists of."""

    image: CachedImage
    pins: tuple[FullName, ...]
    parts: tuple[Part, ...]


class Inspection:
    """Judges what is cached by the very rules of a pull; `unused` is how long files are kept without being used."""

    def __init__(self, catalogue: Catalogue, policy: FreshnessPolicy, unused: timedelta | None, clock: Clock) -> None:
        self._catalogue = catalogue
        self._policy = policy
        self._unused = unused
        self._clock = clock

    async def images(self) -> list[CachedImage]:
        """Return all images, in the order of their names."""
        images = await images_of(await self._catalogue.look(), self._catalogue.contents)
        unshared = images.unshared()
        found = [self._image(images, name, digest, unshared[digest]) for name, digest in images.roots.items()]
        return sorted(found, key=lambda image: str(image.name))

    async def show(self, name: FullName) -> ShownImage:
        """Return what there is of an image; raises NotCached where there is nothing."""
        snapshot = await self._catalogue.look()
        digest = stored_root(snapshot, name)
        images = await images_of(snapshot, self._catalogue.contents)
        # Asked for by its digest, it may be a part of another image, which is none by itself.
        unshared = images.unshared().get(digest, 0)
        image = self._image(images, name, digest, unshared)
        return ShownImage(image, tuple(_pins(snapshot, name, digest)), await self._parts(snapshot, digest, _DEEPEST))

    def _image(self, images: Images, name: FullName, digest: Digest, unshared: int) -> CachedImage:
        snapshot, now = images.snapshot, self._clock()
        record = snapshot.tags.get(name)
        used_at = snapshot.files[digest].used_at
        is_pinned = any(True for _ in _pins(snapshot, name, digest))
        if record is not None:
            reason = _OF_TAGS[judge(record, self._policy, now)]
        else:
            is_granted = digest in snapshot.granted.get(name.route, frozenset())
            reason = Reason.GRANTED if is_granted else Reason.UNCONFIRMED
        return CachedImage(
            name,
            digest,
            snapshot.types[digest],
            reason,
            images.size(images.held.get(digest, frozenset([digest]))),
            unshared,
            used_at,
            None if is_pinned or self._unused is None else used_at + self._unused.total_seconds(),
            is_pinned,
            record,
            None if record is None else lifetime(record, self._policy),
        )

    async def _parts(self, snapshot: Snapshot, digest: Digest, depth: int) -> tuple[Part, ...]:
        if depth == 0:
            return ()
        return tuple(
            [
                Part(
                    child,
                    snapshot.files.get(child.digest),
                    await self._parts(snapshot, child.digest, depth - 1) if child.is_manifest else (),
                )
                for child in await self._catalogue.contents(digest)
            ]
        )


def stored_root(snapshot: Snapshot, name: FullName) -> Digest:
    """Return the stored manifest that the name is; raises NotCached, which names what else there is."""
    reference = name.reference
    record = snapshot.tags.get(name)
    digest = reference if isinstance(reference, Digest) else record.digest if record is not None else None
    if digest is not None and snapshot.is_manifest(digest):
        return digest
    tags = sorted(str(tag.reference) for tag in snapshot.tags if tag.route == name.route and tag != name)
    others = f"; of this repository there is {', '.join(tags[:_MOST_HINTS])}" if tags else ""
    raise NotCached(f"{name} is not cached{others}{' and more' if len(tags) > _MOST_HINTS else ''}")


def _pins(snapshot: Snapshot, name: FullName, digest: Digest) -> Iterator[FullName]:
    """Yield the pins that keep this image: of its name, or of the same manifest by another name of its repository."""
    for pin in snapshot.pins:
        if pin == name or (pin.route == name.route and snapshot.pinned_root(pin) == digest):
            yield pin

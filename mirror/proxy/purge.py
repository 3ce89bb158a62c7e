"""Purge, as a story: what an image is, what only it holds, its names and grants, all processes' memories, its files.

Readers keep what they have open. What is on its way at that moment goes on: its bytes come from upstream now.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from mirror.errors import NotCached, StillPinned
from mirror.oci.digest import Digest
from mirror.oci.reference import Tag
from mirror.proxy.catalogue import Catalogue, Images, held_by, images_of
from mirror.proxy.events import Observer, Purged
from mirror.proxy.inspection import stored_root
from mirror.proxy.naming import FullName
from mirror.proxy.routing import Route


@dataclass(frozen=True, slots=True)
class Swept:
    """What was removed: so many committed `files` of `size` bytes together; `under_way` are being fetched, and stay."""

    files: int
    size: int
    under_way: int


class Sweeper(Protocol):
    """What forgets and removes, for all processes. Raises StoreFailed; what was done until then stays done."""

    async def forget(self, tags: Collection[FullName], route: Route, granted: Collection[Digest]) -> None:
        """Forget tags with their variants, and the grants of a repository; no process remembers them when this ends."""

    async def forget_repository(self, route: Route) -> None:
        """Forget all that was said of a repository."""

    async def remove(self, digests: Iterable[Digest]) -> Swept:
        """Remove the files of these digests, and what an earlier fill left of them."""


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """What a purge has done; `shared` files stay because other images hold them."""

    images: tuple[FullName, ...]
    swept: Swept
    shared: int


class Purge:
    """Removes images, and what no other image holds."""

    def __init__(self, catalogue: Catalogue, sweeper: Sweeper, observer: Observer) -> None:
        self._catalogue = catalogue
        self._sweeper = sweeper
        self._observer = observer

    async def image(self, name: FullName) -> PurgeReport:
        """Purge a tag; or a digest, and the tags of its repository that point to it.

        Raises NotCached, and StillPinned if one of these is pinned.
        """
        snapshot = await self._catalogue.look()
        digest = stored_root(snapshot, name)
        images = await images_of(snapshot, self._catalogue.contents)
        doomed = {name: digest}
        if isinstance(name.reference, Digest):
            doomed |= {one: root for one, root in images.roots.items() if one.route == name.route and root == digest}
            _refuse(pin for pin in _pins_in(images, name.route) if images.snapshot.pinned_root(pin) == digest)
        _refuse(pin for pin in images.snapshot.pins if pin == name)
        return await self._purge(images, name.route, doomed)

    async def repository(self, route: Route) -> PurgeReport:
        """Purge all images of a repository; raises NotCached, and StillPinned if one of them is pinned."""
        snapshot = await self._catalogue.look()
        images = await images_of(snapshot, self._catalogue.contents)
        doomed = {name: root for name, root in images.roots.items() if name.route == route}
        if not doomed:
            raise NotCached(f"nothing of {route} is cached")
        _refuse(_pins_in(images, route))
        report = await self._purge(images, route, doomed)
        await self._sweeper.forget_repository(route)
        return report

    async def _purge(self, images: Images, route: Route, doomed: dict[FullName, Digest]) -> PurgeReport:
        doomed = doomed | _variants(images, route, doomed)
        going = await self._held(doomed.values())
        rest = {name: root for name, root in images.roots.items() if name not in doomed}
        kept = {pin: root for pin in images.snapshot.pins if (root := images.snapshot.pinned_root(pin)) is not None}
        staying = await self._held([*rest.values(), *kept.values()])
        here = await self._held(root for name, root in {**rest, **kept}.items() if name.route == route)
        tags = [name for name in doomed if isinstance(name.reference, Tag)]
        # Names first: from then on nobody is sent to what is about to go.
        await self._sweeper.forget(tags, route, going - here)
        swept = await self._sweeper.remove(going - staying)
        shared = sum(digest in images.snapshot.files for digest in going & staying)
        report = PurgeReport(tuple(sorted(doomed, key=str)), swept, shared)
        self._observer.notify(Purged(str(route), len(report.images), swept.files, swept.size))
        return report

    async def _held(self, roots: Iterable[Digest]) -> frozenset[Digest]:
        held = [await held_by(root, self._catalogue.contents) for root in set(roots)]
        return frozenset[Digest]().union(*held)


def _variants(images: Images, route: Route, doomed: Collection[FullName]) -> dict[FullName, Digest]:
    """Return the images that only these tags are to some clients."""
    records = {tag: images.snapshot.variants.get(tag, ()) for tag in images.snapshot.variants}
    elsewhere = {record.digest for tag, found in records.items() if tag not in doomed for record in found}
    here = {record.digest for tag, found in records.items() if tag in doomed for record in found}
    names = {FullName(route, digest): digest for digest in here - elsewhere}
    return {name: digest for name, digest in names.items() if name in images.roots}


def _pins_in(images: Images, route: Route) -> list[FullName]:
    return [pin for pin in images.snapshot.pins if pin.route == route]


def _refuse(pins: Iterable[FullName]) -> None:
    for pin in pins:
        raise StillPinned(f"{pin} is pinned: unpin it first")

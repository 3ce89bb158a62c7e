"""Purge, as a story: what an image is, what only it holds, its names and grants, all processes' memories, its files.

Readers keep what they have open. What is on its way at that moment goes on: its bytes come from upstream now.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from mirror.errors import NotCached, StillPinned
from mirror.oci.digest import Digest
from mirror.oci.reference import Tag
from mirror.proxy.events.observer import Observer
from mirror.proxy.events.operations import Purged
from mirror.proxy.operations.catalogue import Catalogue, Images, held_by, images_of
from mirror.proxy.operations.inspection import stored_roots
from mirror.proxy.operations.naming import FullName
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
        """Forget tags with their variants, and grants and referrers of a repository; no process remembers them then."""

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
        """Purge a tag; or a digest, and the tags of its repository that are it to any client.

        Raises NotCached, and StillPinned if one of these is pinned.
        """
        snapshot = await self._catalogue.look()
        roots = stored_roots(snapshot, name)
        images = await images_of(snapshot, self._catalogue.contents)
        doomed = {name: roots}
        if isinstance(name.reference, Digest):
            here = ((one, found) for one, found in images.roots.items() if one.route == name.route)
            doomed |= {one: found for one, found in here if name.reference in found}
            _refuse(pin for pin in _pins_in(images, name.route) if name.reference in snapshot.pinned(pin))
        _refuse(pin for pin in snapshot.pins if pin == name)
        return await self._purge(images, name.route, doomed)

    async def repository(self, route: Route) -> PurgeReport:
        """Purge all that is stored of a repository; raises NotCached, and StillPinned if an image is pinned."""
        snapshot = await self._catalogue.look()
        images = await images_of(snapshot, self._catalogue.contents)
        doomed = {name: roots for name, roots in images.roots.items() if name.route == route}
        granted = snapshot.granted.get(route, frozenset())
        if not doomed and not granted:
            raise NotCached(f"nothing of {route} is cached")
        _refuse(_pins_in(images, route))
        elsewhere = frozenset[Digest]().union(*(found for of, found in snapshot.granted.items() if of != route))
        report = await self._purge(images, route, doomed, granted - elsewhere)
        await self._sweeper.forget_repository(route)
        return report

    async def _purge(
        self,
        images: Images,
        route: Route,
        doomed: Mapping[FullName, Iterable[Digest]],
        granted: frozenset[Digest] = frozenset(),
    ) -> PurgeReport:
        """Purge these images, and beside them what was `granted` to no other repository."""
        snapshot = images.snapshot
        going = granted | images.all_of(digest for roots in doomed.values() for digest in roots)
        kept = [(name.route, images.all_of(roots)) for name, roots in images.roots.items() if name not in doomed]
        kept += [(pin.route, await self._held(snapshot.pinned(pin))) for pin in snapshot.pins]
        staying = frozenset[Digest]().union(*(held for _, held in kept))
        here = frozenset[Digest]().union(*(held for of, held in kept if of == route))
        tags = [name for name in doomed if isinstance(name.reference, Tag)]
        # Names first: from then on nobody is sent to what is about to go.
        await self._sweeper.forget(tags, route, going - here)
        swept = await self._sweeper.remove(going - staying)
        shared = sum(digest in snapshot.files for digest in going & staying)
        report = PurgeReport(tuple(sorted(doomed, key=str)), swept, shared)
        self._observer.notify(Purged(str(route), len(report.images), swept.files, swept.size))
        return report

    async def _held(self, roots: Iterable[Digest]) -> frozenset[Digest]:
        held = [await held_by(root, self._catalogue.contents) for root in roots]
        return frozenset[Digest]().union(*held)


def _pins_in(images: Images, route: Route) -> list[FullName]:
    return [pin for pin in images.snapshot.pins if pin.route == route]


def _refuse(pins: Iterable[FullName]) -> None:
    for pin in pins:
        raise StillPinned(f"{pin} is pinned: unpin it first")

"""Looking at what is cached: what a pull would be now and why, until when, and what an image holds.

Nothing is asked upstream, and nothing counts as use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from mirror.errors import NotCached
from mirror.oci.children import Child
from mirror.oci.digest import Digest
from mirror.proxy.belief import Belief, Believed
from mirror.proxy.freshness import IMMUTABLE, Freshness, FreshnessPolicy, Lifetime, TagRecord, judge, lifetime
from mirror.proxy.interfaces.clock import Clock
from mirror.proxy.operations.catalogue import Catalogue, FileUse, Images, Snapshot, images_of
from mirror.proxy.operations.naming import FullName
from mirror.proxy.rate_limit import Governor, Unlimited

_DEEPEST = 3
# An index of indexes is as deep as anybody builds; a document that refers to itself is not followed for ever.
_MOST_HINTS = 5


class Reason(StrEnum):
    """Why a pull would be what it would be."""

    FRESH = "upstream has vouched for the tag lately: it is not asked"
    SAVING = "few pulls are left of upstream's limit: its word is believed for longer"
    IMMUTABLE = "a rule says that the tag never changes: upstream is not asked any more"
    GRACE = "what is cached is served at once, and upstream is asked meanwhile (stale_while_revalidate)"
    KEPT = "upstream has deleted the tag; what is cached is served all the same (keep_deleted)"
    STALE = "upstream is asked first; what is cached is served while it cannot be asked"
    EXPIRED = "upstream is asked, and what is cached is not served without it"
    GRANTED = "a digest is always fresh, and upstream has granted it to this repository"
    UNCONFIRMED = "the bytes are here, and upstream is asked whether this repository may serve them"
    OFFLINE = "the mirror is offline: what is cached is served, whatever its age, and nobody is asked"
    UNGRANTED = "the bytes are here, but upstream never let this repository have them, and the mirror is offline"
    DOUBTED = "upstream is asked first whether it is still public; it is served while that cannot be asked"
    UNSEEN = "not known to be public yet: without upstream's word for it clients get nothing (serve_private: nobody)"
    PRIVATE = "not public: clients get 403 (serve_private: nobody)"
    UNREACHABLE = "its registry is not among the mirror's upstreams any more: clients get 404"


_STATES = {
    Reason.FRESH: "hit",
    Reason.SAVING: "hit",
    Reason.IMMUTABLE: "hit",
    Reason.GRANTED: "hit",
    Reason.GRACE: "stale",
    Reason.KEPT: "kept",
    Reason.OFFLINE: "stale",
    Reason.STALE: "stale",
    Reason.UNCONFIRMED: "stale",
    Reason.DOUBTED: "stale",
    Reason.EXPIRED: "miss",
    Reason.UNGRANTED: "miss",
    Reason.UNSEEN: "miss",
    Reason.PRIVATE: "denied",
    Reason.UNREACHABLE: "denied",
}
_OFFLINE = {Reason.STALE: Reason.OFFLINE, Reason.DOUBTED: Reason.OFFLINE, Reason.UNCONFIRMED: Reason.UNGRANTED}
_OF_TAGS = {
    Freshness.FRESH: Reason.FRESH,
    Freshness.GRACE: Reason.GRACE,
    Freshness.KEPT: Reason.KEPT,
    Freshness.STALE: Reason.STALE,
    Freshness.EXPIRED: Reason.EXPIRED,
}


@dataclass(frozen=True, slots=True)
class CachedImage:
    """An image in the cache.

    `size` is what is stored of it, `unshared` what no other image holds, in bytes; `used_at` and `kept_until` are
    epoch seconds, `kept_until` is None for what does not go by age. `record` and `lifetime` are of tags only, and so is
    `rule`, the glob by which the tag has a TTL of its own.
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
    rule: str | None = None

    @property
    def state(self) -> str:
        """What a pull would be now: `hit`, `stale`, `kept` although it was deleted, `miss` or `denied`."""
        return _STATES[self.reason]


@dataclass(frozen=True, slots=True)
class Part:
    """Something an image refers to, the file that is stored of it, and what that refers to in turn."""

    child: Child
    file: FileUse | None
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class ShownImage:
    """An image, the names it is pinned by, what it consists of, and what it is to clients that take other types."""

    image: CachedImage
    pins: tuple[FullName, ...]
    parts: tuple[Part, ...]
    variants: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """What a pull goes by: how long tags are good, which `upstreams` there are, and who may see their repositories.

    `unused` is how long files are kept without being used, `governor` knows where pulls are to be saved.
    """

    freshness: FreshnessPolicy
    upstreams: frozenset[str]
    believed: Believed
    unused: timedelta | None
    governor: Governor = Unlimited()  # noqa: RUF009  # it has no state

    def terms(self, name: FullName) -> FreshnessPolicy:
        """Return what holds for a tag now."""
        return self.freshness.of(str(name.reference)).for_spending(self.governor.spending(name.route.upstream))


class Inspection:
    """Judges what is cached by the very rules of a pull."""

    def __init__(self, catalogue: Catalogue, rules: Rules, clock: Clock) -> None:
        self._catalogue = catalogue
        self._rules = rules
        self._clock = clock

    async def images(self) -> list[CachedImage]:
        """Return all images, in the order of their names."""
        images = await images_of(await self._catalogue.look(), self._catalogue.contents)
        unshared = await images.unshared()
        beliefs = {route: await self._rules.believed(route) for route in {name.route for name in images.roots}}
        found = [
            self._image(images, name, roots, unshared[roots], beliefs[name.route])
            for name, roots in images.roots.items()
        ]
        return sorted(found, key=lambda image: str(image.name))

    async def show(self, name: FullName) -> ShownImage:
        """Return what there is of an image; raises NotCached where there is nothing."""
        snapshot = await self._catalogue.look()
        roots = stored_roots(snapshot, name)
        images = await images_of(snapshot, self._catalogue.contents)
        # Asked for by its digest, it may be a part of another image, which is none by itself.
        unshared = (await images.unshared()).get(roots, 0)
        image = self._image(images, name, roots, unshared, await self._rules.believed(name.route))
        variants = [Child(digest, snapshot.types[digest], is_manifest=True) for digest in roots[1:]]
        return ShownImage(
            image,
            tuple(_pins(snapshot, name, roots)),
            await self._parts(snapshot, await self._catalogue.contents(roots[0]), _DEEPEST),
            await self._parts(snapshot, variants, _DEEPEST),
        )

    def _image(
        self, images: Images, name: FullName, roots: tuple[Digest, ...], unshared: int, belief: Belief
    ) -> CachedImage:
        snapshot, unused = images.snapshot, self._rules.unused
        record = snapshot.record(name)
        use = snapshot.files[roots[0]]
        is_pinned = any(True for _ in _pins(snapshot, name, roots))
        rule = None if record is None else self._rules.freshness.rule(str(name.reference))
        return CachedImage(
            name,
            roots[0],
            snapshot.types[roots[0]],
            self._reason(snapshot, name, record, belief),
            images.size(images.all_of(roots)),
            unshared,
            use.used_at,
            None if is_pinned or unused is None else use.used_at + use.absent + unused.total_seconds(),
            is_pinned,
            record,
            None if record is None else lifetime(record, self._rules.terms(name)),
            None if rule is None else str(rule.match),
        )

    def _reason(self, snapshot: Snapshot, name: FullName, record: TagRecord | None, belief: Belief) -> Reason:
        """Return what comes first in the way of a pull, in the order of a request's doubts."""
        if name.route.upstream not in self._rules.upstreams:
            return Reason.UNREACHABLE
        if belief is Belief.PRIVATE:
            return Reason.PRIVATE
        if belief is Belief.UNKNOWN:
            return Reason.UNSEEN
        if record is not None:
            reason = self._reason_of_tag(name, record)
        else:
            is_granted = name.reference in snapshot.granted.get(name.route, frozenset())
            reason = Reason.GRANTED if is_granted else Reason.UNCONFIRMED
        if belief is Belief.DOUBTED and _STATES[reason] == "hit":
            reason = Reason.DOUBTED
        return _OFFLINE.get(reason, reason) if self._rules.freshness.is_offline else reason

    def _reason_of_tag(self, name: FullName, record: TagRecord) -> Reason:
        configured = self._rules.freshness.of(str(name.reference))
        reason = _OF_TAGS[judge(record, self._rules.terms(name), self._clock())]
        if reason is not Reason.FRESH:
            return reason
        if judge(record, configured, self._clock()) is not Freshness.FRESH:
            return Reason.SAVING
        return Reason.IMMUTABLE if configured.tag_ttl == IMMUTABLE else reason

    async def _parts(self, snapshot: Snapshot, children: Iterable[Child], depth: int) -> tuple[Part, ...]:
        if depth == 0:
            return ()
        return tuple([await self._part(snapshot, child, depth) for child in children])

    async def _part(self, snapshot: Snapshot, child: Child, depth: int) -> Part:
        inner = await self._catalogue.contents(child.digest) if child.is_manifest else ()
        return Part(child, snapshot.files.get(child.digest), await self._parts(snapshot, inner, depth - 1))


def stored_roots(snapshot: Snapshot, name: FullName) -> tuple[Digest, ...]:
    """Return the stored manifests that the name is, at least one; raises NotCached, which names what else there is."""
    if roots := snapshot.stored(name):
        return roots
    known = snapshot.tags.keys() | snapshot.variants.keys()
    tags = sorted(str(tag.reference) for tag in known if tag.route == name.route and tag != name)
    others = f"; of this repository there is {', '.join(tags[:_MOST_HINTS])}" if tags else ""
    raise NotCached(f"{name} is not cached{others}{' and more' if len(tags) > _MOST_HINTS else ''}")


def _pins(snapshot: Snapshot, name: FullName, roots: tuple[Digest, ...]) -> Iterator[FullName]:
    """Yield the pins that keep this image: of its name, or of the same manifest by another name of its repository."""
    for pin in snapshot.pins:
        if pin == name or (pin.route == name.route and roots[0] in snapshot.pinned(pin)):
            yield pin

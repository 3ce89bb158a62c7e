"""Pulling a manifest, as a story: the record, its freshness, one flight, upstream's HEAD, the digest, the store.

What is fresh is served; what is past that for not too long is served as well, and upstream asked meanwhile; else
upstream is asked first. While few pulls are left, tags are fresh for longer, and none is spent on one that has moved.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace

from mirror.errors import ManifestUnknown, PullSaved, Refused, UpstreamInvalid, UpstreamUnavailable
from mirror.oci.digest import Digest
from mirror.oci.media_types import MANIFEST_TYPES
from mirror.oci.reference import Tag, Variant
from mirror.proxy.access import Access
from mirror.proxy.cache_status import (
    DELETED_UPSTREAM,
    REVALIDATING,
    CacheStatus,
    Kind,
    Outcome,
    stale_because,
)
from mirror.proxy.deadline import ANSWER_WITHIN, REVALIDATE_WITHIN, answer_within
from mirror.proxy.deletions import Deletions
from mirror.proxy.events.observer import Observer
from mirror.proxy.freshness import IMMUTABLE, Freshness, TagRecord, judge, usable
from mirror.proxy.interfaces.upstream import Upstream
from mirror.proxy.look_ups import LookUps
from mirror.proxy.pull_digest import PullDigest
from mirror.proxy.pulled_manifest import Memory, PulledManifest
from mirror.proxy.rate_limit import Spending
from mirror.proxy.refreshed import Refreshed
from mirror.proxy.routing import Route
from mirror.proxy.standing import Vouched
from mirror.proxy.tag_terms import TagTerms
from mirror.proxy.tasks import Tasks


class PullManifest:
    """Serves manifests by tag and by digest, and keeps them."""

    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        memory: Memory,
        access: Access,
        tasks: Tasks,
        observer: Observer,
    ) -> None:
        self._upstreams = upstreams
        self._manifests = memory.manifests
        self._records = memory.records
        self._failures = memory.failures
        self._terms = TagTerms(memory.policy, memory.governor, memory.clock)
        self._clock = memory.clock
        self._governor = memory.governor
        self._look_ups = LookUps[PulledManifest](tasks, observer)
        self._digests = PullDigest(upstreams, memory, access, self._look_ups, observer)
        self._deletions = Deletions(memory.records, memory.policy, memory.clock, observer)

    async def pull(
        self, route: Route, reference: Tag | Digest, accepted: Collection[str] = MANIFEST_TYPES
    ) -> PulledManifest:
        """Return the manifest; what a tag answers was upstream's within its TTL, or says that it is stale.

        A tag is answered in one of the `accepted` media types, if upstream knows it in one; a digest is what it is.
        Raises Refused or UpstreamUnavailable with what upstream said, StoreFailed if the disk will not be read.
        """
        if isinstance(reference, Digest):
            return await self._digests.pull(route, reference)
        async with answer_within():
            pulled = await self._by_tag(route, reference)
            if pulled.manifest.media_type in accepted:
                return pulled
            return await self._by_variant(route, Variant(reference, tuple(accepted)))

    async def refresh(self, route: Route, tag: Tag) -> Refreshed:
        """Ask upstream now what the tag is, fresh or not, and fetch what is new; return what was found.

        For work in the background, since nothing is served. Of a tag that is immutable, and here, nobody is asked.
        """
        before = await self._records.latest_tag(route, tag)
        if (
            before is not None
            and self._terms.rules(tag).tag_ttl == IMMUTABLE
            and await self._manifests.get(before.digest)
        ):
            return Refreshed.UNCHANGED
        try:
            found = await self._look_ups.join((route, tag), lambda: self._ask(route, tag))
        except Refused:
            return Refreshed.GONE
        except UpstreamUnavailable:
            return Refreshed.UNREACHABLE
        if found.status.detail == DELETED_UPSTREAM:
            return Refreshed.GONE
        is_same = before is not None and before.digest == found.manifest.digest
        return Refreshed.UNCHANGED if is_same else Refreshed.MOVED

    # By tag. ---------------------------------------------------------------------------------------------

    async def _by_variant(self, route: Route, variant: Variant) -> PulledManifest:
        """Pull what upstream has for clients that do not take what the tag points to; it ages as tags do, by itself."""
        try:
            return await self._by_tag(route, variant)
        except ManifestUnknown as error:
            unknown = ManifestUnknown("upstream has it in no type that the client accepts")
            unknown.remembered = error.remembered
            raise unknown from error

    async def _by_tag(self, route: Route, tag: Tag | Variant) -> PulledManifest:
        record = await self._records.tag(route, tag)
        if at_once := await self._at_once(route, tag, record):
            return at_once
        stale = await self._stale(route, tag, record)
        try:
            if stale is not None:
                await self._recall_outage(route, tag)
            seconds = ANSWER_WITHIN if stale is None else REVALIDATE_WITHIN
            return await self._look_ups.join((route, tag), lambda: self._look_up(route, tag), seconds)
        except UpstreamUnavailable as error:
            await self._failures.remember(Kind.MANIFEST, route, tag, error)
            # Another process may know more than was known before.
            latest = await self._stale(route, tag, await self._records.tag(route, tag), error)
            if latest is None:
                raise
            return latest

    async def _at_once(self, route: Route, tag: Tag | Variant, record: TagRecord | None) -> PulledManifest | None:
        """Return what is served without waiting for upstream, if anything is."""
        if record is None:
            return None
        if status := self._terms.fresh(route, tag, record):
            held = await self._held(record, status)
            return held if held is None or isinstance(tag, Variant) else self._standing(held, route, tag, record)
        match judge(record, self._terms.now(route, tag), self._clock()):
            case Freshness.GRACE if not await self._failures.known(Kind.MANIFEST, route, tag):
                held = await self._held(record, CacheStatus(Outcome.STALE, detail=REVALIDATING))
                if held is not None:
                    self._look_ups.begin(
                        (route, tag), route.upstream, f"{route}:{tag}", lambda: self._look_up(route, tag)
                    )
                return held
            case Freshness.KEPT if await self._failures.known(Kind.MANIFEST, route, tag):
                return await self._held(record, CacheStatus(Outcome.STALE, detail=DELETED_UPSTREAM))
        return None

    async def _recall_outage(self, route: Route, tag: Tag | Variant) -> None:
        """Raise UpstreamUnavailable if somebody has just waited in vain: nobody waits for the same again."""
        # A refusal is looked at together with what is known of the tag.
        with suppress(Refused):
            await self._failures.recall(Kind.MANIFEST, route, tag)

    async def _stale(
        self, route: Route, tag: Tag | Variant, record: TagRecord | None, error: UpstreamUnavailable | None = None
    ) -> PulledManifest | None:
        """Return what is served if upstream cannot be asked, because of this error, if anything is."""
        if record is None or not usable(record, self._terms.now(route, tag), self._clock()):
            return None
        deleted = CacheStatus(Outcome.STALE, detail=DELETED_UPSTREAM)
        held = await self._held(record, stale_because(error) if record.gone_since is None else deleted)
        return None if held is None else replace(held, trouble=error)

    def _standing(self, held: PulledManifest, route: Route, tag: Tag, record: TagRecord) -> PulledManifest:
        known, fresh = self._records.knows_tag(route, tag), self._terms.stays(route, tag, record, held.status)
        standing = Vouched(held.manifest, self._manifests, record, known, fresh, self._terms)
        return replace(held, standing=standing)

    async def _held(self, record: TagRecord, status: CacheStatus) -> PulledManifest | None:
        manifest = await self._manifests.get(record.digest)
        return None if manifest is None else PulledManifest(manifest, status, record.age(self._clock()))

    async def _look_up(self, route: Route, tag: Tag | Variant) -> PulledManifest:
        record = await self._records.latest_tag(route, tag)
        if record is not None and (status := self._terms.fresh(route, tag, record)):
            fresh = await self._held(record, status)
            if fresh is not None:
                return fresh
        return await self._ask(route, tag)

    async def _ask(self, route: Route, tag: Tag | Variant) -> PulledManifest:
        try:
            await self._failures.recall(Kind.MANIFEST, route, tag)
            async with answer_within():
                return await self._answered(route, tag)
        except UpstreamUnavailable as error:
            await self._failures.remember(Kind.MANIFEST, route, tag, error)
            raise
        except Refused as error:
            await self._failures.remember(Kind.MANIFEST, route, tag, error)
            kept = await self._kept(route, tag, error)
            if kept is None:
                raise
            return kept

    async def _kept(self, route: Route, tag: Tag | Variant, error: Refused) -> PulledManifest | None:
        """Return what is served although upstream refuses the tag; None where that is nothing, and forgotten."""
        record = await self._records.latest_tag(route, tag)
        status = CacheStatus(Outcome.STALE, detail=DELETED_UPSTREAM)
        held = None if record is None else await self._held(record, status)
        if record is None or held is None:
            await self._records.forget_tag(route, tag)
            return None
        return held if await self._deletions.keeps(route, tag, record, error) else None

    async def _answered(self, route: Route, tag: Tag | Variant) -> PulledManifest:
        asked_at = self._clock()
        found = await self._resolve(route, tag)
        record = TagRecord(found.manifest.digest, asked_at)
        await self._records.put_tag(route, tag, record)
        return replace(found, age=record.age(self._clock()))

    async def _resolve(self, route: Route, tag: Tag | Variant) -> PulledManifest:
        upstream = self._upstreams[route.upstream]
        remote = await upstream.head_manifest(route.repository, tag)
        if remote is None:
            await self._spare(route, tag)
            return await self._digests.take(route, await upstream.get_manifest(route.repository, tag))
        await self._records.grant(route, remote.digest)
        await self._failures.forget(Kind.MANIFEST, route, remote.digest)
        if manifest := await self._manifests.get(remote.digest):
            return PulledManifest(manifest, CacheStatus(Outcome.REVALIDATED))
        await self._spare(route, tag)
        try:
            return await self._digests.fetch(route, remote.digest)
        except Refused as error:
            raise UpstreamInvalid("upstream names a manifest and then refuses it") from error

    async def _spare(self, route: Route, tag: Tag | Variant) -> None:
        """Raise PullSaved if the next pull is to be saved: few are left, and something is here that can be served."""
        if self._governor.spending(route.upstream) is Spending.FREE:
            return
        if await self._stale(route, tag, await self._records.latest_tag(route, tag)) is not None:
            raise PullSaved("upstream has a newer one, which would cost one of the last pulls")

"""Pulling a list of tags or referrers, as a story: the kept list, its freshness, one flight, upstream, the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from mirror.errors import (
    ManifestUnknown,
    PullSaved,
    ReferrersUnknown,
    Refused,
    StoreFailed,
    UpstreamInvalid,
    UpstreamUnavailable,
)
from mirror.oci.digest import Digest
from mirror.oci.referrers import parse_referrers, referrers_tag
from mirror.proxy.cache_status import REVALIDATING, SAVING_PULLS, CacheStatus, Kind, Outcome, stale_because
from mirror.proxy.deadline import ANSWER_WITHIN, REVALIDATE_WITHIN, answer_within
from mirror.proxy.events.observer import Observer
from mirror.proxy.events.troubles import StoreTroubled
from mirror.proxy.failures import Failures
from mirror.proxy.freshness import Freshness, FreshnessPolicy, judge_age, outlasts
from mirror.proxy.interfaces.clock import Clock
from mirror.proxy.listing import Listed, Listing, ListingStore, ListingUpstream
from mirror.proxy.look_ups import LookUps
from mirror.proxy.rate_limit import Governor, Spending, Unlimited
from mirror.proxy.routing import Route
from mirror.proxy.tasks import Tasks

LISTED_WITHIN = 120.0
"""Seconds upstream has for all pages of a list. Whoever gave up before finds it when they ask again."""


@dataclass(frozen=True, slots=True)
class PulledListing:
    """A list ready to be sent; `age` in seconds since upstream vouched for it, `trouble` is why it is stale."""

    entries: tuple[str, ...]
    status: CacheStatus
    age: int
    trouble: UpstreamUnavailable | None = None

    def with_status(self, status: CacheStatus) -> PulledListing:
        """Return the same, for which the cache did something else."""
        return replace(self, status=status)


@dataclass(frozen=True, slots=True)
class ListingMemory:
    """What lists are pulled into and from. `negative_ttl` is for how long one with nothing in it is believed."""

    listings: ListingStore
    failures: Failures
    policy: FreshnessPolicy
    negative_ttl: timedelta
    clock: Clock
    governor: Governor = Unlimited()  # noqa: RUF009  # it has no state


class PullListing:
    """Serves whole lists, and keeps them."""

    def __init__(
        self, upstreams: Mapping[str, ListingUpstream], memory: ListingMemory, tasks: Tasks, observer: Observer
    ) -> None:
        self._upstreams = upstreams
        self._listings = memory.listings
        self._failures = memory.failures
        self._policy = memory.policy
        # That there is nothing is believed for a moment, and not beyond: a signature may follow its image.
        self._empty = replace(
            memory.policy,
            tag_ttl=min(memory.policy.tag_ttl, memory.negative_ttl),
            stale_while_revalidate=timedelta(),
        )
        self._clock = memory.clock
        self._governor = memory.governor
        self._observer = observer
        self._look_ups = LookUps[PulledListing](tasks, observer)

    async def tags(self, route: Route) -> PulledListing:
        """Return the tags of a repository, in their order: upstream's within the TTL, or marked as stale.

        Raises Refused or UpstreamUnavailable with what upstream said; that is never turned into an empty list.
        """
        return await self._pull(Listed(Kind.TAGS, route))

    async def referrers(self, route: Route, digest: Digest) -> PulledListing:
        """Return the referrers of a digest, each as the JSON text of its descriptor; otherwise as `tags`."""
        return await self._pull(Listed(Kind.REFERRERS, route, digest))

    async def _pull(self, listed: Listed) -> PulledListing:
        if at_once := await self._at_once(listed, await self._listings.get(listed)):
            return at_once
        latest = await self._listings.latest(listed)
        if at_once := await self._at_once(listed, latest):
            return at_once
        stale = self._stale(listed, latest)
        try:
            await self._failures.recall(listed.kind, listed.route, listed.digest)
            seconds = ANSWER_WITHIN if stale is None else REVALIDATE_WITHIN
            return await self._look_ups.join(listed, lambda: self._look_up(listed), seconds)
        except UpstreamUnavailable as error:
            await self._failures.remember(listed.kind, listed.route, listed.digest, error)
            if stale is None:
                raise
            return replace(stale, status=stale_because(error), trouble=error)

    # What is kept. ---------------------------------------------------------------------------------------

    async def _at_once(self, listed: Listed, listing: Listing | None) -> PulledListing | None:
        """Return what is served without waiting for upstream, if anything is."""
        if fresh := self._fresh(listed, listing):
            return fresh
        if listing is None or self._judge(listed, listing) is not Freshness.GRACE:
            return None
        if await self._failures.known(listed.kind, listed.route, listed.digest):
            return None
        self._look_ups.begin(listed, listed.route.upstream, str(listed), lambda: self._look_up(listed))
        return self._pulled(listing, CacheStatus(Outcome.STALE, detail=REVALIDATING))

    def _fresh(self, listed: Listed, listing: Listing | None) -> PulledListing | None:
        if listing is None:
            return None
        if judge_age(self._clock() - listing.validated_at, self._rules(listing)) is Freshness.FRESH:
            return self._pulled(listing, CacheStatus(Outcome.HIT))
        if self._judge(listed, listing) is Freshness.FRESH:
            return self._pulled(listing, CacheStatus(Outcome.HIT, detail=SAVING_PULLS))
        return None

    def _stale(self, listed: Listed, listing: Listing | None) -> PulledListing | None:
        """Return what is served if upstream cannot be asked, if anything is."""
        if listing is None or not outlasts(self._clock() - listing.validated_at, self._terms(listed, listing)):
            return None
        return self._pulled(listing, CacheStatus(Outcome.STALE))

    def _judge(self, listed: Listed, listing: Listing) -> Freshness:
        return judge_age(self._clock() - listing.validated_at, self._terms(listed, listing))

    def _rules(self, listing: Listing) -> FreshnessPolicy:
        """Return what is configured."""
        return self._policy if listing.entries else self._empty

    def _terms(self, listed: Listed, listing: Listing) -> FreshnessPolicy:
        """Return what holds now."""
        return self._rules(listing).for_spending(self._governor.spending(listed.route.upstream))

    def _pulled(self, listing: Listing, status: CacheStatus) -> PulledListing:
        return PulledListing(listing.entries, status, max(0, int(self._clock() - listing.validated_at)))

    # What upstream says. ---------------------------------------------------------------------------------

    async def _look_up(self, listed: Listed) -> PulledListing:
        known = await self._listings.latest(listed)
        if fresh := self._fresh(listed, known):
            return fresh
        try:
            listing = await self._asked(listed)
        except (Refused, UpstreamUnavailable) as error:
            await self._failures.remember(listed.kind, listed.route, listed.digest, error)
            if isinstance(error, Refused):
                await self._forget(listed)
            raise
        is_same = known is not None and known.entries == listing.entries
        outcome = Outcome.REVALIDATED if is_same else Outcome.MISS
        return self._pulled(listing, CacheStatus(outcome, stored=await self._kept(listed, listing)))

    async def _asked(self, listed: Listed) -> Listing:
        asked_at = self._clock()
        async with answer_within(LISTED_WITHIN):
            if listed.digest is None:
                entries = await self._upstreams[listed.route.upstream].list_tags(listed.route.repository)
            else:
                entries = await self._list_referrers(listed, listed.digest)
        return Listing(entries, asked_at)

    async def _list_referrers(self, listed: Listed, digest: Digest) -> tuple[str, ...]:
        try:
            return await self._upstreams[listed.route.upstream].list_referrers(listed.route.repository, digest)
        except ReferrersUnknown:
            return await self._referrers_by_tag(listed, digest)

    async def _referrers_by_tag(self, listed: Listed, digest: Digest) -> tuple[str, ...]:
        """Return what the referrers' tag lists. Where there is none either, there are no referrers, says the spec."""
        route, upstream, tag = listed.route, self._upstreams[listed.route.upstream], referrers_tag(digest)
        try:
            # Clients ask for the tag by themselves as well: what one of both has learned, the other need not ask.
            await self._failures.recall(Kind.MANIFEST, route, tag)
            # First a HEAD: mostly there is no such tag, and a HEAD is no pull on Docker Hub.
            remote = await upstream.head_manifest(route.repository, tag)
        except ManifestUnknown as error:
            await self._failures.remember(Kind.MANIFEST, route, tag, error)
            return ()
        await self._spare(listed)
        try:
            manifest = await upstream.get_manifest(route.repository, remote.digest if remote else tag)
        except ManifestUnknown as error:
            if remote is None:
                return ()
            raise UpstreamInvalid("upstream names a list of referrers and then refuses it") from error
        if manifest.digest == digest:
            # GitLab takes the tag for the digest (oras-go#1396): what it answers with is the one referred to.
            return ()
        return tuple(parse_referrers(manifest.media_type, manifest.data))

    async def _spare(self, listed: Listed) -> None:
        """Raise PullSaved if the next pull is to be saved: few are left, and there is a list that can be served."""
        if self._governor.spending(listed.route.upstream) is Spending.FREE:
            return
        if self._stale(listed, await self._listings.latest(listed)) is not None:
            raise PullSaved("upstream may have a newer list, which would cost one of the last pulls")

    async def _kept(self, listed: Listed, listing: Listing) -> bool:
        try:
            await self._listings.put(listed, listing)
        except StoreFailed as error:
            self._observer.notify(StoreTroubled("keeping of a list", error))
            return False
        return True

    async def _forget(self, listed: Listed) -> None:
        try:
            await self._listings.forget(listed)
        except StoreFailed as error:
            self._observer.notify(StoreTroubled("forgetting of a list", error))

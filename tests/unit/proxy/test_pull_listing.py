from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from mirror import errors
from mirror.errors import MirrorError
from mirror.oci.descriptor import Descriptor, Manifest
from mirror.oci.digest import Digest
from mirror.oci.media_types import OCI_INDEX, OCI_MANIFEST
from mirror.proxy.cache_status import Kind, Outcome
from mirror.proxy.deadline import ANSWER_WITHIN, REVALIDATE_WITHIN
from mirror.proxy.events.troubles import StoreTroubled
from mirror.proxy.failures import UNAVAILABLE_SECONDS, Failures
from mirror.proxy.freshness import FreshnessPolicy
from mirror.proxy.listing import Listed, Listing
from mirror.proxy.pull_listing import LISTED_WITHIN, ListingMemory, PulledListing, PullListing
from mirror.proxy.tasks import Tasks
from tests.unit.proxy.doubles import (
    HUB,
    Held,
    MemoryCache,
    MemoryListings,
    Never,
    ScriptedUpstream,
    SettableClock,
    SettableGovernor,
)
from tests.unit.recorder import Recorder
from tests.unit.virtual_time import in_virtual_time, settle, steps

TTL, NEGATIVE_TTL, STALE_IF_ERROR = 300, 30, 86400
FRESH, STALE, EXPIRED = 100, TTL + 100, TTL + STALE_IF_ERROR + 100
POLICY = FreshnessPolicy(timedelta(seconds=TTL), timedelta(seconds=STALE_IF_ERROR))

SUBJECT = Digest.of(b"what is referred to")
TAGS, REFERRERS = Listed(Kind.TAGS, HUB), Listed(Kind.REFERRERS, HUB, SUBJECT)
OLD, NEW = ("1.0", "latest"), ("1.0", "2.0", "latest")
BOTH = [TAGS, REFERRERS]
FALLBACK = f"sha256-{SUBJECT.encoded}"

UNAVAILABLE = [
    errors.UpstreamUnreachable("no connection"),
    errors.UpstreamTimeout("silent"),
    errors.UpstreamThrottled("429", 60),
    errors.UpstreamFailed("502"),
    errors.UpstreamInvalid("HTML"),
]
REFUSED = [errors.NameUnknown("404"), errors.Denied("403")]


class Mirror:
    """Pulling lists, with everything around it in memory; it has the old lists, of the given age."""

    def __init__(
        self,
        age: float | None = None,
        entries: tuple[str, ...] = OLD,
        listings: MemoryListings | None = None,
        policy: FreshnessPolicy = POLICY,
    ) -> None:
        self.clock = SettableClock()
        self.governor = SettableGovernor()
        self.upstream = ScriptedUpstream()
        self.listings = listings or MemoryListings()
        self.observer = Recorder()
        self.tasks = Tasks(self.observer)
        failures = Failures(MemoryCache(self.clock), timedelta(seconds=NEGATIVE_TTL))
        negative_ttl = timedelta(seconds=NEGATIVE_TTL)
        memory = ListingMemory(self.listings, failures, policy, negative_ttl, self.clock, self.governor)
        self.puller = PullListing({"docker.io": self.upstream}, memory, self.tasks, self.observer)
        if age is not None:
            self.listings.kept = {listed: Listing(entries, self.clock.now - age) for listed in BOTH}

    async def pull(self, listed: Listed = TAGS) -> PulledListing:
        if listed.digest is None:
            return await self.puller.tags(listed.route)
        return await self.puller.referrers(listed.route, listed.digest)

    @property
    def asked(self) -> list[str]:
        """What upstream was asked, in short."""
        return [question.replace("library/alpine ", "") for question in self.upstream.asked]

    def will_say(self, *answers: tuple[str, ...] | MirrorError | Held[tuple[str, ...]] | Never) -> None:
        """Prepare upstream's answers for both lists."""
        self.upstream.tags += answers
        self.upstream.referrers += answers


def index(*descriptors: dict[str, object], media_type: str = OCI_INDEX) -> Manifest:
    """An image index of these descriptors."""
    data = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": descriptors}).encode()
    return Manifest(Digest.of(data), media_type, data)


# Kept. -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("listed", BOTH)
@in_virtual_time
async def test_a_fresh_list_asks_nobody(listed: Listed) -> None:
    mirror = Mirror(FRESH)
    pulled = await mirror.pull(listed)
    assert (pulled.entries, pulled.status.outcome, pulled.age, pulled.trouble) == (OLD, Outcome.HIT, FRESH, None)
    assert mirror.asked == []


@in_virtual_time
async def test_what_another_process_has_listed_asks_nobody() -> None:
    mirror = Mirror(STALE)
    mirror.listings.elsewhere[TAGS] = Listing(NEW, mirror.clock.now - FRESH)
    pulled = await mirror.pull()
    assert (pulled.entries, pulled.status.outcome, pulled.age) == (NEW, Outcome.HIT, FRESH)
    assert mirror.asked == []


@pytest.mark.parametrize("listed", BOTH)
@in_virtual_time
async def test_a_list_is_fetched_once_and_kept(listed: Listed) -> None:
    mirror = Mirror()
    mirror.will_say(NEW)
    pulled = await mirror.pull(listed)
    assert (pulled.entries, pulled.age) == (NEW, 0)
    assert (pulled.status.outcome, pulled.status.stored) == (Outcome.MISS, True)
    mirror.clock.now += TTL - 1
    assert (await mirror.pull(listed)).status.outcome is Outcome.HIT
    assert len(mirror.asked) == 1


@pytest.mark.parametrize("listed", BOTH)
@in_virtual_time
async def test_that_there_is_nothing_is_believed_for_a_shorter_time(listed: Listed) -> None:
    mirror = Mirror()
    mirror.will_say((), NEW)
    assert (await mirror.pull(listed)).entries == ()
    mirror.clock.now += NEGATIVE_TTL - 1
    assert (await mirror.pull(listed)).status.outcome is Outcome.HIT
    mirror.clock.now += 1
    assert (await mirror.pull(listed)).entries == NEW


@in_virtual_time
async def test_that_there_is_nothing_is_never_believed_for_longer_than_that_there_is_something() -> None:
    mirror = Mirror(5, entries=(), policy=replace(POLICY, tag_ttl=timedelta(seconds=5)))
    mirror.will_say(NEW)
    assert (await mirror.pull()).entries == NEW


@in_virtual_time
async def test_tags_and_the_referrers_of_each_digest_are_lists_of_their_own() -> None:
    mirror = Mirror()
    mirror.upstream.tags.append(OLD)
    mirror.upstream.referrers += [NEW, ()]
    other = Listed(Kind.REFERRERS, HUB, Digest.of(b"other"))
    assert [(await mirror.pull(listed)).entries for listed in (TAGS, REFERRERS, other)] == [OLD, NEW, ()]


# Upstream answers. -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("age", [STALE, -1000.0])
@pytest.mark.parametrize(("answer", "outcome"), [(OLD, Outcome.REVALIDATED), (NEW, Outcome.MISS)])
@in_virtual_time
async def test_a_stale_list_is_asked_for_again(age: float, answer: tuple[str, ...], outcome: Outcome) -> None:
    mirror = Mirror(age)
    mirror.will_say(answer)
    pulled = await mirror.pull()
    assert (pulled.entries, pulled.status.outcome, pulled.age) == (answer, outcome, 0)
    assert mirror.listings.kept[TAGS] == Listing(answer, mirror.clock.now)


@pytest.mark.parametrize("listed", BOTH)
@pytest.mark.parametrize("age", [None, STALE])
@pytest.mark.parametrize("error", REFUSED)
@in_virtual_time
async def test_a_no_is_passed_on_remembered_and_forgets_the_list(
    listed: Listed, age: float | None, error: MirrorError
) -> None:
    mirror = Mirror(age)
    mirror.will_say(error, errors.UpstreamFailed("502"))
    for remembered in (False, True):
        with pytest.raises(type(error)) as raised:
            await mirror.pull(listed)
        assert raised.value.remembered is remembered
    assert len(mirror.asked) == 1
    mirror.clock.now += NEGATIVE_TTL
    with pytest.raises(errors.UpstreamFailed):
        await mirror.pull(listed)


# Upstream cannot be asked. ---------------------------------------------------------------------------------


@pytest.mark.parametrize("listed", BOTH)
@pytest.mark.parametrize("error", UNAVAILABLE)
@in_virtual_time
async def test_an_outage_serves_the_list_stale(listed: Listed, error: MirrorError) -> None:
    mirror = Mirror(STALE)
    mirror.will_say(error, OLD)
    for remembered in (False, True, True):
        pulled = await mirror.pull(listed)
        assert (pulled.entries, pulled.status.outcome, pulled.age) == (OLD, Outcome.STALE, STALE)
        assert (type(pulled.trouble), pulled.trouble and pulled.trouble.remembered) == (type(error), remembered)
    assert len(mirror.asked) == 1
    mirror.clock.now += UNAVAILABLE_SECONDS
    assert (await mirror.pull(listed)).status.outcome is Outcome.REVALIDATED


@in_virtual_time
async def test_that_there_was_nothing_is_said_as_stale_too() -> None:
    mirror = Mirror(STALE, entries=())
    mirror.will_say(errors.UpstreamFailed("502"))
    pulled = await mirror.pull(REFERRERS)
    assert (pulled.entries, pulled.status.outcome) == ((), Outcome.STALE)


@pytest.mark.parametrize("listed", BOTH)
@pytest.mark.parametrize("age", [None, EXPIRED])
@pytest.mark.parametrize("error", UNAVAILABLE)
@in_virtual_time
async def test_a_failure_is_never_an_empty_list(listed: Listed, age: float | None, error: MirrorError) -> None:
    mirror = Mirror(age)
    mirror.will_say(error)
    for _ in range(2):
        with pytest.raises(type(error)):
            await mirror.pull(listed)
    assert len(mirror.asked) == 1
    assert TAGS not in mirror.listings.kept or age is not None


@pytest.mark.parametrize(("age", "seconds"), [(None, ANSWER_WITHIN), (STALE, REVALIDATE_WITHIN)])
@in_virtual_time
async def test_a_long_list_arrives_for_the_next_who_asks(age: float | None, seconds: float) -> None:
    mirror = Mirror(age)
    gate = asyncio.Event()
    mirror.will_say(Held(gate, NEW))
    asyncio.get_running_loop().call_later(LISTED_WITHIN - 1, gate.set)
    if age is None:
        with pytest.raises(errors.UpstreamTimeout):
            await mirror.pull()
    else:
        assert (await mirror.pull()).status.outcome is Outcome.STALE
    assert asyncio.get_running_loop().time() == pytest.approx(seconds)
    await mirror.tasks.finished()
    pulled = await mirror.pull()
    assert (pulled.entries, pulled.status.outcome) == (NEW, Outcome.HIT)
    assert len(mirror.asked) == 1


@in_virtual_time
async def test_a_list_without_end_is_given_up() -> None:
    mirror = Mirror()
    mirror.will_say(Never())
    with pytest.raises(errors.UpstreamTimeout):
        await mirror.pull()
    await mirror.tasks.finished()
    assert asyncio.get_running_loop().time() == pytest.approx(LISTED_WITHIN)


@in_virtual_time
async def test_while_a_stale_list_is_served_nobody_waits_for_a_silent_upstream_again() -> None:
    mirror = Mirror(STALE)
    mirror.will_say(Never())
    for _ in range(3):
        assert (await mirror.pull()).status.outcome is Outcome.STALE
    assert asyncio.get_running_loop().time() == pytest.approx(REVALIDATE_WITHIN)
    await mirror.tasks.cancel()


# Referrers by their tag. -----------------------------------------------------------------------------------


@in_virtual_time
async def test_where_there_is_no_api_referrers_are_found_by_their_tag() -> None:
    mirror = Mirror()
    found = index({"mediaType": OCI_MANIFEST, "digest": str(SUBJECT), "size": 1, "x": "y"})
    mirror.upstream.referrers.append(errors.ReferrersUnknown("404"))
    mirror.upstream.head_manifests.append(found.descriptor)
    mirror.upstream.manifests.append(found)
    [entry] = (await mirror.pull(REFERRERS)).entries
    assert json.loads(entry) == {"mediaType": OCI_MANIFEST, "digest": str(SUBJECT), "size": 1, "x": "y"}
    assert mirror.asked == [
        f"GET referrers {SUBJECT}",
        f"HEAD manifest {FALLBACK}",
        f"GET manifest {found.digest}",
    ]
    assert (await mirror.pull(REFERRERS)).status.outcome is Outcome.HIT


@pytest.mark.parametrize("heads", [[errors.ManifestUnknown("404")], [None]])
@in_virtual_time
async def test_no_on_both_ways_is_no_referrers_and_costs_nothing_again(heads: list[Descriptor | None]) -> None:
    mirror = Mirror()
    mirror.upstream.referrers.append(errors.ReferrersUnknown("404"))
    mirror.upstream.head_manifests += heads
    mirror.upstream.manifests.append(errors.ManifestUnknown("404"))
    pulled = await mirror.pull(REFERRERS)
    assert (pulled.entries, pulled.status.outcome, pulled.status.stored) == ((), Outcome.MISS, True)
    asked = list(mirror.asked)
    assert (await mirror.pull(REFERRERS)).status.outcome is Outcome.HIT
    assert mirror.asked == asked


@pytest.mark.parametrize("knows_head", [True, False])
@in_virtual_time
async def test_a_tag_that_is_taken_for_the_digest_lists_no_referrers(knows_head: bool) -> None:
    mirror = Mirror()
    children = index({"mediaType": OCI_MANIFEST, "digest": str(SUBJECT), "size": 1})
    mirror.upstream.referrers.append(errors.ReferrersUnknown("404"))
    mirror.upstream.head_manifests.append(children.descriptor if knows_head else None)
    mirror.upstream.manifests.append(children)
    assert (await mirror.pull(Listed(Kind.REFERRERS, HUB, children.digest))).entries == ()


@pytest.mark.parametrize("error", [*UNAVAILABLE, errors.Denied("403")])
@in_virtual_time
async def test_no_on_one_way_and_a_failure_on_the_other_is_a_failure(error: MirrorError) -> None:
    mirror = Mirror()
    mirror.upstream.referrers.append(errors.ReferrersUnknown("404"))
    mirror.upstream.head_manifests.append(error)
    with pytest.raises(type(error)):
        await mirror.pull(REFERRERS)
    assert mirror.listings.kept == {}


@pytest.mark.parametrize("answer", [errors.ManifestUnknown("404"), index(media_type=OCI_MANIFEST)])
@in_virtual_time
async def test_a_tag_that_leads_to_no_index_is_a_failure(answer: Manifest | MirrorError) -> None:
    mirror = Mirror()
    mirror.upstream.referrers.append(errors.ReferrersUnknown("404"))
    mirror.upstream.head_manifests.append(index().descriptor)
    mirror.upstream.manifests.append(answer)
    with pytest.raises(errors.UpstreamInvalid):
        await mirror.pull(REFERRERS)


# Together. -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "error", "outcomes"),
    [
        (None, None, {Outcome.MISS: 1, Outcome.COLLAPSED: 99}),
        (STALE, errors.UpstreamFailed("502"), {Outcome.STALE: 100}),
    ],
)
@in_virtual_time
async def test_a_hundred_clients_ask_upstream_once(
    age: float | None, error: MirrorError | None, outcomes: dict[Outcome, int]
) -> None:
    mirror = Mirror(age)
    gate = asyncio.Event()
    mirror.will_say(Held(gate, error or NEW))
    pulling = [asyncio.create_task(mirror.pull()) for _ in range(100)]
    await settle()
    gate.set()
    got = [pulled.status.outcome for pulled in await asyncio.gather(*pulling)]
    assert {outcome: got.count(outcome) for outcome in got} == outcomes
    assert mirror.asked == ["GET tags"]


@pytest.mark.parametrize("turns", range(15))
@in_virtual_time
async def test_a_client_may_leave_at_any_await(turns: int) -> None:
    mirror = Mirror()
    mirror.will_say(NEW)
    victim = asyncio.create_task(mirror.pull())
    await steps(turns)
    other = asyncio.create_task(mirror.pull())
    victim.cancel()
    assert (await other).entries == NEW
    assert len(mirror.asked) == 1
    await mirror.tasks.finished()


# The disk. -------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_disk_that_takes_nothing_does_not_cost_the_answer() -> None:
    mirror = Mirror()
    mirror.listings.failing = True
    mirror.will_say(NEW)
    pulled = await mirror.pull()
    assert (pulled.entries, pulled.status.stored) == (NEW, False)
    assert len(mirror.observer.of(StoreTroubled)) == 1


@in_virtual_time
async def test_a_disk_that_forgets_nothing_does_not_hide_the_no() -> None:
    mirror = Mirror(STALE)
    mirror.listings.failing = True
    mirror.will_say(errors.NameUnknown("404"))
    with pytest.raises(errors.NameUnknown):
        await mirror.pull()
    assert len(mirror.observer.of(StoreTroubled)) == 1


class LandingBetween(MemoryListings):
    """Lists of which another flight lands right after the second look."""

    def __init__(self, landing: Listing) -> None:
        super().__init__()
        self._landing = landing

    async def latest(self, listed: Listed) -> Listing | None:
        before = await super().latest(listed)
        self.kept[listed] = self._landing
        return before


@in_virtual_time
async def test_a_flight_looks_once_more_before_it_asks() -> None:
    mirror = Mirror(listings=LandingBetween(Listing(NEW, SettableClock().now)))
    assert (await mirror.pull()).status.outcome is Outcome.HIT
    assert mirror.asked == []

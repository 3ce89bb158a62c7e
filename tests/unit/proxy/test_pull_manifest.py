from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from mirror import errors
from mirror.errors import MirrorError
from mirror.oci.descriptor import Descriptor, Manifest
from mirror.oci.digest import Digest
from mirror.oci.media_types import OCI_MANIFEST
from mirror.oci.reference import Tag, Variant
from mirror.proxy.access import Access
from mirror.proxy.cache_status import Outcome
from mirror.proxy.deadline import ANSWER_WITHIN, REVALIDATE_WITHIN
from mirror.proxy.events.troubles import StoreTroubled
from mirror.proxy.failures import Failures
from mirror.proxy.freshness import FreshnessPolicy, TagRecord
from mirror.proxy.pull_manifest import PullManifest
from mirror.proxy.pulled_manifest import Memory, PulledManifest
from mirror.proxy.routing import Route
from mirror.proxy.tasks import Tasks
from tests.unit.proxy.doubles import (
    HUB,
    OTHER,
    Held,
    MemoryCache,
    MemoryManifests,
    MemoryRecords,
    Never,
    ScriptedUpstream,
    SettableClock,
    SettableGovernor,
    Step,
)
from tests.unit.recorder import Recorder
from tests.unit.virtual_time import in_virtual_time, settle, steps

LATEST = Tag("latest")
TTL, STALE_IF_ERROR = 300, 86400
FRESH, STALE, EXPIRED = 100, TTL + 100, TTL + STALE_IF_ERROR + 100
POLICY = FreshnessPolicy(timedelta(seconds=TTL), timedelta(seconds=STALE_IF_ERROR))


def manifest(content: bytes) -> Manifest:
    """A manifest of these bytes."""
    return Manifest(Digest.of(content), OCI_MANIFEST, content)


OLD, NEW = manifest(b"old"), manifest(b"new")


class Mirror:
    """Pulling manifests, with everything around it in memory; it has the old one for a tag of the given age."""

    def __init__(
        self,
        age: float | None = None,
        negative_ttl: float = 30,
        records: MemoryRecords | None = None,
        manifests: MemoryManifests | None = None,
        policy: FreshnessPolicy = POLICY,
    ) -> None:
        self.clock = SettableClock()
        self.governor = SettableGovernor()
        self.upstream = ScriptedUpstream()
        self.manifests = manifests or MemoryManifests()
        self.records = records or MemoryRecords()
        self.observer = Recorder()
        self.tasks = Tasks(self.observer)
        self.failures = failures = Failures(MemoryCache(self.clock), timedelta(seconds=negative_ttl))
        self.puller = PullManifest(
            {"docker.io": self.upstream},
            Memory(self.manifests, self.records, failures, policy, self.clock, self.governor),
            Access(self.records, failures, self.tasks),
            self.tasks,
            self.observer,
        )
        if age is not None:
            self.manifests.kept[OLD.digest] = OLD
            self.records.tags[HUB, LATEST] = TagRecord(OLD.digest, self.clock.now - age)
            self.records.grants.add((HUB, OLD.digest))

    async def pull(self, reference: Tag | Digest = LATEST, route: Route = HUB) -> PulledManifest:
        return await self.puller.pull(route, reference)

    @property
    def record(self) -> TagRecord | None:
        return self.records.tags.get((HUB, LATEST))

    @property
    def asked(self) -> list[str]:
        """What upstream was asked, in short."""
        return [question.replace(" library/alpine manifest", "").split(":")[0] for question in self.upstream.asked]


UNAVAILABLE = [
    errors.UpstreamUnreachable("no connection"),
    errors.UpstreamTimeout("silent"),
    errors.UpstreamThrottled("429", 60),
    errors.UpstreamFailed("502"),
    errors.UpstreamInvalid("HTML"),
    errors.DigestMismatch("wrong bytes"),
]
REFUSED = [errors.ManifestUnknown("404"), errors.Denied("403")]


# By tag: fresh. --------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_fresh_tag_asks_nobody() -> None:
    mirror = Mirror(FRESH)
    pulled = await mirror.pull()
    assert (pulled.manifest, pulled.status.outcome, pulled.age) == (OLD, Outcome.HIT, FRESH)
    assert pulled.trouble is None
    assert mirror.asked == []


@in_virtual_time
async def test_a_fresh_tag_without_its_file_is_a_miss() -> None:
    mirror = Mirror(FRESH)
    mirror.manifests.kept.clear()
    mirror.upstream.head_manifests.append(OLD.descriptor)
    mirror.upstream.manifests.append(OLD)
    pulled = await mirror.pull()
    assert (pulled.manifest, pulled.status.outcome, pulled.status.stored) == (OLD, Outcome.MISS, True)
    assert mirror.manifests.kept == {OLD.digest: OLD}


# By tag: upstream answers. ---------------------------------------------------------------------------------


@pytest.mark.parametrize("age", [STALE, EXPIRED, -1000.0])
@in_virtual_time
async def test_upstream_says_the_same(age: float) -> None:
    mirror = Mirror(age)
    mirror.upstream.head_manifests.append(OLD.descriptor)
    pulled = await mirror.pull()
    assert (pulled.manifest, pulled.status.outcome, pulled.age) == (OLD, Outcome.REVALIDATED, 0)
    assert mirror.record == TagRecord(OLD.digest, mirror.clock.now)
    assert mirror.asked == ["HEAD latest"]
    assert (await mirror.pull()).status.outcome is Outcome.HIT


@pytest.mark.parametrize("age", [None, STALE, EXPIRED])
@in_virtual_time
async def test_upstream_says_another_and_is_asked_for_it_by_digest(age: float | None) -> None:
    mirror = Mirror(age)
    mirror.upstream.head_manifests.append(NEW.descriptor)
    mirror.upstream.manifests.append(NEW)
    pulled = await mirror.pull()
    assert (pulled.manifest, pulled.status.outcome, pulled.status.stored) == (NEW, Outcome.MISS, True)
    assert mirror.upstream.asked == ["HEAD library/alpine manifest latest", f"GET library/alpine manifest {NEW.digest}"]
    assert mirror.record == TagRecord(NEW.digest, mirror.clock.now)
    assert (HUB, NEW.digest) in mirror.records.grants
    assert mirror.manifests.kept[NEW.digest] == NEW


@in_virtual_time
async def test_upstream_says_another_that_is_here_already() -> None:
    mirror = Mirror(STALE)
    mirror.manifests.kept[NEW.digest] = NEW
    mirror.upstream.head_manifests.append(NEW.descriptor)
    pulled = await mirror.pull()
    assert (pulled.manifest, pulled.status.outcome) == (NEW, Outcome.REVALIDATED)
    assert mirror.asked == ["HEAD latest"]
    assert (HUB, NEW.digest) in mirror.records.grants


@pytest.mark.parametrize("age", [None, STALE, EXPIRED])
@in_virtual_time
async def test_upstream_tells_no_digest_and_is_asked_for_the_whole(age: float | None) -> None:
    mirror = Mirror(age)
    mirror.upstream.head_manifests.append(None)
    mirror.upstream.manifests.append(NEW)
    pulled = await mirror.pull()
    assert (pulled.manifest, pulled.status.outcome) == (NEW, Outcome.MISS)
    assert mirror.asked == ["HEAD latest", "GET latest"]


@in_virtual_time
async def test_the_age_counts_from_the_question() -> None:
    mirror = Mirror(STALE)
    gate = asyncio.Event()
    mirror.upstream.head_manifests.append(Held(gate, OLD.descriptor))
    asked_at = mirror.clock.now
    pulling = asyncio.create_task(mirror.pull())
    await settle()
    mirror.clock.now += 3
    gate.set()
    assert (await pulling).age == 3
    assert mirror.record == TagRecord(OLD.digest, asked_at)


# By tag: upstream refuses. ---------------------------------------------------------------------------------


@pytest.mark.parametrize("age", [None, STALE, EXPIRED])
@pytest.mark.parametrize("error", REFUSED)
@in_virtual_time
async def test_a_no_is_passed_on_and_remembered(age: float | None, error: MirrorError) -> None:
    mirror = Mirror(age)
    mirror.upstream.head_manifests.append(error)
    for remembered in (False, True, True):
        with pytest.raises(type(error)) as raised:
            await mirror.pull()
        assert raised.value.remembered is remembered
        assert mirror.record is None
    assert mirror.asked == ["HEAD latest"]
    assert not mirror.observer.events


@in_virtual_time
async def test_a_no_is_not_believed_for_ever() -> None:
    mirror = Mirror(negative_ttl=30)
    mirror.upstream.head_manifests += [errors.ManifestUnknown("404"), NEW.descriptor]
    mirror.upstream.manifests.append(NEW)
    with pytest.raises(errors.ManifestUnknown):
        await mirror.pull()
    mirror.clock.now += 31
    assert (await mirror.pull()).manifest == NEW


@in_virtual_time
async def test_a_no_to_a_manifest_that_was_just_named_proves_nothing() -> None:
    mirror = Mirror(STALE)
    mirror.upstream.head_manifests.append(NEW.descriptor)
    mirror.upstream.manifests.append(errors.ManifestUnknown("not replicated yet"))
    pulled = await mirror.pull()
    assert (pulled.manifest, pulled.status.outcome) == (OLD, Outcome.STALE)
    assert isinstance(pulled.trouble, errors.UpstreamInvalid)
    assert mirror.record is not None


@pytest.mark.parametrize("age", [None, STALE, EXPIRED])
@pytest.mark.parametrize("error", [*REFUSED, *UNAVAILABLE])
@in_virtual_time
async def test_a_tag_that_names_a_digest_overrules_a_remembered_failure_of_it(
    age: float | None, error: MirrorError
) -> None:
    mirror = Mirror(age)
    mirror.upstream.manifests += [error, NEW]
    with pytest.raises(type(error)):
        await mirror.pull(NEW.digest)
    mirror.upstream.head_manifests.append(NEW.descriptor)
    pulled = await mirror.pull()
    assert (pulled.manifest, pulled.status.outcome) == (NEW, Outcome.MISS)
    assert mirror.record == TagRecord(NEW.digest, mirror.clock.now)


@in_virtual_time
async def test_a_tag_of_one_repository_overrules_nothing_in_another() -> None:
    mirror = Mirror()
    mirror.upstream.manifests += [errors.ManifestUnknown("404"), NEW]
    with pytest.raises(errors.ManifestUnknown):
        await mirror.pull(NEW.digest, OTHER)
    mirror.upstream.head_manifests.append(NEW.descriptor)
    assert (await mirror.pull()).manifest == NEW
    with pytest.raises(errors.ManifestUnknown) as raised:
        await mirror.pull(NEW.digest, OTHER)
    assert raised.value.remembered


# By tag: upstream cannot be asked. -------------------------------------------------------------------------


@pytest.mark.parametrize("age", [STALE, -1000])
@pytest.mark.parametrize("error", UNAVAILABLE)
@in_virtual_time
async def test_a_stale_tag_is_served_and_says_so(age: float, error: MirrorError) -> None:
    mirror = Mirror(age)
    before = mirror.record
    mirror.upstream.head_manifests.append(error)
    pulled = await mirror.pull()
    assert (pulled.manifest, pulled.status.outcome, pulled.age) == (OLD, Outcome.STALE, max(0, age))
    assert mirror.record == before
    assert pulled.trouble is error


@pytest.mark.parametrize("error", UNAVAILABLE)
@in_virtual_time
async def test_upstream_is_left_in_peace_for_a_moment(error: MirrorError) -> None:
    mirror = Mirror(STALE)
    mirror.upstream.head_manifests += [error, OLD.descriptor]
    for remembered in (False, True, True):
        pulled = await mirror.pull()
        assert pulled.status.outcome is Outcome.STALE
        assert (type(pulled.trouble), pulled.trouble and pulled.trouble.remembered) == (type(error), remembered)
    assert mirror.asked == ["HEAD latest"]
    mirror.clock.now += 6
    assert (await mirror.pull()).status.outcome is Outcome.REVALIDATED


@pytest.mark.parametrize("age", [None, EXPIRED])
@pytest.mark.parametrize("error", UNAVAILABLE)
@in_virtual_time
async def test_with_nothing_to_fall_back_on_it_is_an_error(age: float | None, error: MirrorError) -> None:
    mirror = Mirror(age)
    mirror.upstream.head_manifests.append(error)
    with pytest.raises(type(error)):
        await mirror.pull()
    assert not mirror.observer.events


@in_virtual_time
async def test_a_stale_tag_without_its_file_is_nothing_to_fall_back_on() -> None:
    mirror = Mirror(STALE)
    mirror.manifests.kept.clear()
    mirror.upstream.head_manifests.append(errors.UpstreamFailed("502"))
    with pytest.raises(errors.UpstreamFailed):
        await mirror.pull()


@pytest.mark.parametrize(
    ("age", "seconds"), [(None, ANSWER_WITHIN), (EXPIRED, ANSWER_WITHIN), (STALE, REVALIDATE_WITHIN)]
)
@pytest.mark.parametrize("answers", [[Never()], [NEW.descriptor]])
@in_virtual_time
async def test_silence_ends_in_time(age: float | None, seconds: float, answers: list[Step[Descriptor | None]]) -> None:
    mirror = Mirror(age)
    mirror.upstream.head_manifests += answers
    mirror.upstream.manifests.append(Never())
    if age == STALE:
        assert (await mirror.pull()).status.outcome is Outcome.STALE
    else:
        with pytest.raises(errors.UpstreamTimeout):
            await mirror.pull()
    assert asyncio.get_running_loop().time() == pytest.approx(seconds)


# By tag: together. -----------------------------------------------------------------------------------------


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
    mirror.upstream.head_manifests.append(Held(gate, error or NEW.descriptor))
    mirror.upstream.manifests.append(NEW)
    pulling = [asyncio.create_task(mirror.pull()) for _ in range(100)]
    await settle()
    gate.set()
    got = [pulled.status.outcome for pulled in await asyncio.gather(*pulling)]
    assert {outcome: got.count(outcome) for outcome in got} == outcomes
    assert mirror.asked.count("HEAD latest") == 1


@in_virtual_time
async def test_every_waiter_gets_the_same_error() -> None:
    mirror = Mirror()
    gate = asyncio.Event()
    error = errors.ManifestUnknown("404")
    mirror.upstream.head_manifests.append(Held(gate, error))
    pulling = [asyncio.create_task(mirror.pull()) for _ in range(10)]
    await settle()
    gate.set()
    assert await asyncio.gather(*pulling, return_exceptions=True) == [error] * 10


@pytest.mark.parametrize("turns", range(15))
@in_virtual_time
async def test_a_client_may_leave_at_any_await(turns: int) -> None:
    mirror = Mirror()
    mirror.upstream.head_manifests.append(NEW.descriptor)
    mirror.upstream.manifests.append(NEW)
    victim = asyncio.create_task(mirror.pull())
    await steps(turns)
    other = asyncio.create_task(mirror.pull())
    victim.cancel()
    assert (await other).manifest == NEW
    assert len(mirror.asked) == 2


class LandingBetween(MemoryRecords):
    """Records in which another flight lands right after the first look."""

    def __init__(self, record: TagRecord) -> None:
        super().__init__()
        self._landing = record

    async def tag(self, route: Route, tag: Tag | Variant) -> TagRecord | None:
        before = await super().tag(route, tag)
        await self.put_tag(route, tag, self._landing)
        return before


@in_virtual_time
async def test_a_flight_looks_once_more_before_it_asks() -> None:
    mirror = Mirror(STALE, records=LandingBetween(TagRecord(OLD.digest, SettableClock().now)))
    assert (await mirror.pull()).status.outcome is Outcome.HIT
    assert mirror.asked == []


# The disk. -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", [LATEST, NEW.digest])
@in_virtual_time
async def test_a_disk_that_takes_nothing_does_not_keep_the_client_waiting(reference: Tag | Digest) -> None:
    mirror = Mirror()
    mirror.manifests.failing = True
    mirror.upstream.head_manifests.append(NEW.descriptor)
    mirror.upstream.manifests.append(NEW)
    pulled = await mirror.pull(reference)
    assert (pulled.manifest, pulled.status.stored) == (NEW, False)
    assert len(mirror.observer.of(StoreTroubled)) == 1


# By digest. ------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_digest_never_ages() -> None:
    mirror = Mirror(EXPIRED)
    pulled = await mirror.pull(OLD.digest)
    assert (pulled.manifest, pulled.status.outcome, pulled.age) == (OLD, Outcome.HIT, None)
    assert mirror.asked == []


@in_virtual_time
async def test_a_digest_that_is_not_here_is_fetched_and_kept() -> None:
    mirror = Mirror()
    mirror.upstream.manifests.append(NEW)
    pulled = await mirror.pull(NEW.digest)
    assert (pulled.manifest, pulled.status.outcome, pulled.status.stored) == (NEW, Outcome.MISS, True)
    assert (await mirror.pull(NEW.digest)).status.outcome is Outcome.HIT
    assert len(mirror.upstream.asked) == 1


@in_virtual_time
async def test_another_repository_has_to_ask_for_what_is_stored() -> None:
    mirror = Mirror(FRESH)
    mirror.upstream.head_manifests.append(OLD.descriptor)
    assert (await mirror.pull(OLD.digest, OTHER)).status.outcome is Outcome.REVALIDATED
    assert (await mirror.pull(OLD.digest, OTHER)).status.outcome is Outcome.HIT
    assert mirror.upstream.asked == [f"HEAD someone/else manifest {OLD.digest}"]


@pytest.mark.parametrize("error", [*REFUSED, *UNAVAILABLE[:4]])
@in_virtual_time
async def test_without_a_grant_what_is_stored_stays_closed(error: MirrorError) -> None:
    mirror = Mirror(FRESH)
    mirror.upstream.head_manifests.append(error)
    for _ in range(2):
        with pytest.raises(type(error)):
            await mirror.pull(OLD.digest, OTHER)
    assert len(mirror.upstream.asked) == 1
    assert (await mirror.pull(OLD.digest)).status.outcome is Outcome.HIT


@pytest.mark.parametrize("error", [*REFUSED, *UNAVAILABLE])
@in_virtual_time
async def test_a_failed_fetch_by_digest_is_remembered(error: MirrorError) -> None:
    mirror = Mirror()
    mirror.upstream.manifests.append(error)
    for remembered in (False, True):
        with pytest.raises(type(error)) as raised:
            await mirror.pull(NEW.digest)
        assert raised.value.remembered is remembered
    assert len(mirror.upstream.asked) == 1


@in_virtual_time
async def test_silence_to_a_digest_ends_in_time_and_is_remembered() -> None:
    mirror = Mirror()
    mirror.upstream.manifests.append(Never())
    for _ in range(2):
        with pytest.raises(errors.UpstreamTimeout):
            await mirror.pull(NEW.digest)
    assert asyncio.get_running_loop().time() == pytest.approx(ANSWER_WITHIN)


@in_virtual_time
async def test_clients_of_one_digest_share_a_fetch() -> None:
    mirror = Mirror()
    gate = asyncio.Event()
    mirror.upstream.manifests.append(Held(gate, NEW))
    pulling = [asyncio.create_task(mirror.pull(NEW.digest)) for _ in range(10)]
    await settle()
    gate.set()
    outcomes = [pulled.status.outcome for pulled in await asyncio.gather(*pulling)]
    assert sorted(outcomes) == sorted([Outcome.MISS, *[Outcome.COLLAPSED] * 9])
    assert len(mirror.upstream.asked) == 1


class StuckManifests(MemoryManifests):
    """A disk that takes its time with every new manifest."""

    async def put(self, manifest: Manifest) -> None:
        await asyncio.sleep(3600)


@pytest.mark.parametrize("reference", [LATEST, NEW.digest])
@in_virtual_time
async def test_whatever_a_flight_waits_for_its_clients_have_an_answer_in_time(reference: Tag | Digest) -> None:
    mirror = Mirror(manifests=StuckManifests())
    mirror.upstream.head_manifests.append(NEW.descriptor)
    mirror.upstream.manifests.append(NEW)
    pulling = [asyncio.create_task(mirror.pull(reference)) for _ in range(3)]
    for result in await asyncio.gather(*pulling, return_exceptions=True):
        assert isinstance(result, errors.UpstreamTimeout)
    assert asyncio.get_running_loop().time() == pytest.approx(ANSWER_WITHIN)
    await mirror.tasks.cancel()

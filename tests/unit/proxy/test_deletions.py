"""What upstream has deleted, and is served all the same for a while."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror import errors
from mirror.errors import MirrorError
from mirror.oci.digest import Digest
from mirror.oci.media_types import OCI_INDEX
from mirror.oci.reference import Tag, Variant
from mirror.proxy.cache_status import CacheStatus, Kind, Outcome
from mirror.proxy.events.upstreams import DeletionSeen
from mirror.proxy.freshness import Freshness, FreshnessPolicy, TagRecord, deleted, judge, lifetime, usable
from mirror.proxy.refreshed import Refreshed
from mirror.proxy.routing import Route
from tests.unit.proxy.doubles import HUB, Held, MemoryRecords
from tests.unit.proxy.test_pull_manifest import EXPIRED, LATEST, NEW, OLD, POLICY, STALE, UNAVAILABLE, Mirror
from tests.unit.virtual_time import in_virtual_time, settle

KEPT_FOR = 7 * 86400.0
NEGATIVE_TTL = 30
KEEPING = replace(POLICY, keep_deleted=timedelta(seconds=KEPT_FOR))
DELETED = CacheStatus(Outcome.STALE, detail="deleted-upstream")
GONE = errors.ManifestUnknown("404")
DIGEST = Digest.of(b"manifest")

times = st.floats(0, 4e9)
durations = st.timedeltas(timedelta(0), timedelta(days=400))
policies = st.builds(FreshnessPolicy, durations, durations, durations, durations)


def keeping(age: float = STALE, policy: FreshnessPolicy = KEEPING) -> Mirror:
    """A mirror that keeps what is deleted, and has the old manifest."""
    return Mirror(age, policy=policy)


# The rules. ------------------------------------------------------------------------------------------------


@given(times, times, times, policies)
def test_what_is_gone_is_kept_or_nothing(validated: float, since: float, now: float, policy: FreshnessPolicy) -> None:
    record = TagRecord(DIGEST, validated, since)
    kept = policy.keep_deleted.total_seconds()
    expected = Freshness.KEPT if kept > 0 and now - since < kept else Freshness.EXPIRED
    assert judge(record, policy, now) is expected
    assert usable(record, policy, now) == (expected is Freshness.KEPT)
    assert lifetime(record, policy).deleted_until == since + kept


@pytest.mark.parametrize("now", [0.0, 50.0, 150.0])
def test_where_nothing_is_kept_nothing_is_whatever_the_clock_says(now: float) -> None:
    assert judge(TagRecord(DIGEST, 0.0, 100.0), POLICY, now) is Freshness.EXPIRED


@given(times, times, times)
def test_a_deletion_counts_from_when_it_was_first_heard_of_and_never_from_later(
    validated: float, first: float, now: float
) -> None:
    known = deleted(TagRecord(DIGEST, validated), first)
    assert known.gone_since == first
    again = deleted(known, now)
    assert again.gone_since == min(first, now)


@given(times, times, policies)
def test_a_clock_that_jumps_immortalises_nothing(since: float, now: float, policy: FreshnessPolicy) -> None:
    heard = deleted(TagRecord(DIGEST, 0.0, since), now)
    later = now + policy.keep_deleted.total_seconds() + 1
    assert judge(heard, policy, later) is Freshness.EXPIRED


# Tags. -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("age", [STALE, EXPIRED, -1000.0])
@in_virtual_time
async def test_a_tag_that_is_deleted_is_served_and_says_so(age: float) -> None:
    mirror = keeping(age)
    mirror.upstream.head_manifests.append(GONE)
    for _ in range(3):
        pulled = await mirror.pull()
        assert (pulled.manifest, pulled.status, pulled.age) == (OLD, DELETED, max(0, age))
        assert pulled.trouble is None
    assert mirror.asked == ["HEAD latest"]
    assert mirror.record == TagRecord(OLD.digest, mirror.clock.now - age, mirror.clock.now)
    assert mirror.observer.of(DeletionSeen) == [DeletionSeen("docker.io", "docker.io/library/alpine:latest")]


@in_virtual_time
async def test_a_tag_that_was_refused_a_moment_ago_is_looked_at_together_with_what_is_cached() -> None:
    mirror = keeping()
    # Another process, or an earlier life of this tag, has heard it.
    await mirror.failures.remember(Kind.MANIFEST, HUB, LATEST, GONE)
    assert (await mirror.pull()).status == DELETED
    assert mirror.asked == []


class FarRecords(MemoryRecords):
    """Records of which it is counted how often the table is read."""

    def __init__(self) -> None:
        super().__init__()
        self.read = 0

    async def latest_tag(self, route: Route, tag: Tag | Variant) -> TagRecord | None:
        self.read += 1
        return await super().latest_tag(route, tag)


@in_virtual_time
async def test_what_is_kept_is_served_from_memory() -> None:
    mirror = Mirror(STALE, records=FarRecords(), policy=KEEPING)
    assert isinstance(mirror.records, FarRecords)
    mirror.upstream.head_manifests.append(GONE)
    await mirror.pull()
    before = mirror.records.read
    assert [(await mirror.pull()).status for _ in range(5)] == [DELETED] * 5
    assert mirror.records.read == before


@in_virtual_time
async def test_upstream_is_asked_now_and_then_whether_it_is_back() -> None:
    mirror = keeping()
    mirror.upstream.head_manifests += [GONE] * 5
    began = mirror.clock.now
    for _ in range(10):
        assert (await mirror.pull()).status == DELETED
        mirror.clock.now += NEGATIVE_TTL / 2
    assert mirror.asked == ["HEAD latest"] * 5
    assert mirror.record is not None
    assert mirror.record.gone_since == began
    assert len(mirror.observer.of(DeletionSeen)) == 1


@in_virtual_time
async def test_a_tag_that_comes_back_is_as_good_as_any() -> None:
    mirror = keeping()
    mirror.upstream.head_manifests += [GONE, NEW.descriptor, GONE]
    mirror.upstream.manifests.append(NEW)
    assert (await mirror.pull()).status == DELETED
    mirror.clock.now += NEGATIVE_TTL
    assert (await mirror.pull()).status.outcome is Outcome.MISS
    assert mirror.record == TagRecord(NEW.digest, mirror.clock.now)
    assert (await mirror.pull()).status.outcome is Outcome.HIT
    mirror.clock.now += KEPT_FOR
    pulled = await mirror.pull()
    assert (pulled.manifest, pulled.status) == (NEW, DELETED)
    assert len(mirror.observer.of(DeletionSeen)) == 2


@in_virtual_time
async def test_after_that_time_it_is_gone() -> None:
    mirror = keeping()
    mirror.upstream.head_manifests += [GONE, GONE, errors.UpstreamFailed("502")]
    await mirror.pull()
    mirror.clock.now += KEPT_FOR
    with pytest.raises(errors.ManifestUnknown):
        await mirror.pull()
    assert mirror.record is None
    mirror.clock.now += NEGATIVE_TTL
    with pytest.raises(errors.UpstreamFailed):
        await mirror.pull()


@in_virtual_time
async def test_where_nothing_is_kept_any_more_an_outage_does_not_bring_it_back() -> None:
    mirror = keeping()
    mirror.upstream.head_manifests += [GONE]
    await mirror.pull()
    records, manifests = mirror.records, mirror.manifests
    strict = Mirror(records=records, manifests=manifests)
    strict.upstream.head_manifests.append(errors.UpstreamFailed("502"))
    with pytest.raises(errors.UpstreamFailed):
        await strict.pull()


@pytest.mark.parametrize("error", UNAVAILABLE)
@in_virtual_time
async def test_an_outage_of_what_has_deleted_it_changes_nothing(error: MirrorError) -> None:
    mirror = keeping(policy=replace(KEEPING, stale_if_error=timedelta()))
    mirror.upstream.head_manifests += [GONE, error, GONE]
    assert (await mirror.pull()).status == DELETED
    before = mirror.record
    mirror.clock.now += NEGATIVE_TTL
    for _ in range(3):
        pulled = await mirror.pull()
        assert (pulled.manifest, pulled.status) == (OLD, DELETED)
    mirror.clock.now += NEGATIVE_TTL
    assert (await mirror.pull()).status == DELETED
    assert mirror.record == before
    assert mirror.asked == ["HEAD latest"] * 3


@in_virtual_time
async def test_a_hundred_clients_of_a_deleted_tag_ask_once_each_time() -> None:
    mirror = keeping()
    for times_asked in (1, 2):
        gate = asyncio.Event()
        mirror.upstream.head_manifests.append(Held(gate, GONE))
        pulling = [asyncio.create_task(mirror.pull()) for _ in range(100)]
        await settle()
        gate.set()
        assert {pulled.status for pulled in await asyncio.gather(*pulling)} == {DELETED}
        assert mirror.asked == ["HEAD latest"] * times_asked
        mirror.clock.now += NEGATIVE_TTL
    assert len(mirror.observer.of(DeletionSeen)) == 1


@in_virtual_time
async def test_a_deletion_that_is_heard_of_meanwhile_is_kept_too() -> None:
    mirror = keeping(policy=replace(KEEPING, stale_while_revalidate=timedelta(days=1)))
    mirror.upstream.head_manifests.append(GONE)
    assert (await mirror.pull()).status == CacheStatus(Outcome.STALE, detail="revalidating")
    await mirror.tasks.finished()
    assert (await mirror.pull()).status == DELETED


@in_virtual_time
async def test_a_restart_begins_no_new_time_and_tells_nothing_again() -> None:
    mirror = keeping()
    mirror.upstream.head_manifests.append(GONE)
    await mirror.pull()
    began = mirror.clock.now
    after = Mirror(policy=KEEPING, records=mirror.records, manifests=mirror.manifests)
    after.clock.now = began + KEPT_FOR - 1
    after.upstream.head_manifests += [GONE, GONE]
    assert (await after.pull()).status == DELETED
    assert not after.observer.events
    after.clock.now = began + KEPT_FOR + NEGATIVE_TTL
    with pytest.raises(errors.ManifestUnknown):
        await after.pull()


@in_virtual_time
async def test_what_has_no_file_any_more_is_not_kept_nor_said_to_be() -> None:
    mirror = keeping()
    mirror.manifests.kept.clear()
    mirror.upstream.head_manifests.append(GONE)
    with pytest.raises(errors.ManifestUnknown):
        await mirror.pull()
    assert mirror.record is None
    assert not mirror.observer.events


@in_virtual_time
async def test_what_was_never_there_is_not_deleted() -> None:
    mirror = Mirror(policy=KEEPING)
    mirror.upstream.head_manifests.append(GONE)
    for _ in range(2):
        with pytest.raises(errors.ManifestUnknown):
            await mirror.pull()
    assert not mirror.observer.events


@in_virtual_time
async def test_what_a_tag_was_to_some_clients_is_kept_with_it() -> None:
    mirror = keeping()
    variant = Variant(LATEST, (OCI_INDEX,))
    mirror.manifests.kept[NEW.digest] = NEW
    mirror.records.tags[HUB, variant] = TagRecord(NEW.digest, mirror.clock.now - STALE)
    mirror.upstream.head_manifests += [GONE, GONE]
    for _ in range(2):
        pulled = await mirror.puller.pull(HUB, LATEST, variant.types)
        assert (pulled.manifest, pulled.status) == (NEW, DELETED)
    assert len(mirror.observer.of(DeletionSeen)) == 1


@in_virtual_time
async def test_a_refresh_of_what_is_kept_says_that_it_is_gone() -> None:
    mirror = keeping()
    mirror.upstream.head_manifests += [GONE, OLD.descriptor]
    for _ in range(2):
        assert await mirror.puller.refresh(HUB, LATEST) is Refreshed.GONE
    assert (await mirror.pull()).status == DELETED
    mirror.clock.now += NEGATIVE_TTL
    assert await mirror.puller.refresh(HUB, LATEST) is Refreshed.UNCHANGED
    assert (await mirror.pull()).status.outcome is Outcome.HIT


# Who may have it. ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opened_by_credentials", [False, True])
@pytest.mark.parametrize(
    ("error", "of_public", "of_private"),
    [
        (GONE, True, True),
        (errors.Unauthorized("401"), True, False),
        (errors.Denied("403"), False, False),
        (errors.NotPublic("403"), False, False),
        (errors.NameUnknown("not said of manifests"), False, False),
    ],
)
@in_virtual_time
async def test_which_no_means_that_it_was_deleted(
    error: MirrorError, of_public: bool, of_private: bool, opened_by_credentials: bool
) -> None:
    mirror = keeping()
    if opened_by_credentials:
        mirror.records.with_credentials.add("docker.io")
    mirror.upstream.head_manifests.append(error)
    for _ in range(2):
        if of_private if opened_by_credentials else of_public:
            assert (await mirror.pull()).status == DELETED
        else:
            with pytest.raises(type(error)):
                await mirror.pull()
            assert mirror.record is None
            assert not mirror.observer.events
    assert mirror.asked == ["HEAD latest"]

"""Served at once while upstream is asked: tags, what they are to some clients, lists; and asking without serving."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from mirror import errors
from mirror.errors import MirrorError
from mirror.oci.descriptor import Descriptor
from mirror.oci.media_types import OCI_INDEX
from mirror.oci.reference import Tag, Variant
from mirror.proxy.background import MOST_AT_ONCE
from mirror.proxy.cache_status import CacheStatus, Outcome
from mirror.proxy.deadline import ANSWER_WITHIN
from mirror.proxy.events.upstreams import RevalidationFailed
from mirror.proxy.failures import UNAVAILABLE_SECONDS
from mirror.proxy.freshness import IMMUTABLE, TagRecord
from mirror.proxy.listing import Listed, Listing
from mirror.proxy.pull_listing import LISTED_WITHIN
from mirror.proxy.refreshed import Refreshed
from mirror.proxy.tag_rules import TagGlob, TagRule
from tests.unit.proxy import test_pull_listing as lists
from tests.unit.proxy.doubles import HUB, Held, Never, Step
from tests.unit.proxy.test_pull_manifest import LATEST, NEW, OLD, POLICY, REFUSED, TTL, UNAVAILABLE, Mirror, manifest
from tests.unit.virtual_time import in_virtual_time, settle, steps

GRACE = 60
WITHIN, BEYOND = TTL + 1.0, TTL + GRACE
AT_ONCE = CacheStatus(Outcome.STALE, detail="revalidating")
RELAXED = replace(POLICY, stale_while_revalidate=timedelta(seconds=GRACE))


def relaxed(age: float) -> Mirror:
    """A mirror that has the old manifest, and serves it while it asks."""
    return Mirror(age, policy=RELAXED)


# Tags. -----------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_tag_is_served_at_once_and_asked_about_meanwhile() -> None:
    mirror = relaxed(WITHIN)
    mirror.upstream.head_manifests.append(NEW.descriptor)
    mirror.upstream.manifests.append(NEW)
    pulled = await mirror.pull()
    assert (pulled.manifest, pulled.status, pulled.age, pulled.trouble) == (OLD, AT_ONCE, WITHIN, None)
    await mirror.tasks.finished()
    assert mirror.asked == ["HEAD latest", "GET sha256"]
    pulled = await mirror.pull()
    assert (pulled.manifest, pulled.status.outcome) == (NEW, Outcome.HIT)


@pytest.mark.parametrize("age", [BEYOND, -1.0])
@in_virtual_time
async def test_beyond_that_time_upstream_is_asked_first(age: float) -> None:
    mirror = relaxed(age)
    mirror.upstream.head_manifests.append(OLD.descriptor)
    assert (await mirror.pull()).status.outcome is Outcome.REVALIDATED


@in_virtual_time
async def test_any_number_of_clients_cause_one_question_and_none_of_them_waits() -> None:
    mirror = relaxed(WITHIN)
    mirror.upstream.head_manifests.append(Never())
    pulled = await asyncio.gather(*(mirror.pull() for _ in range(100)))
    assert {one.status for one in pulled} == {AT_ONCE}
    assert asyncio.get_running_loop().time() == 0
    await settle()
    assert mirror.asked == ["HEAD latest"]


@pytest.mark.parametrize("error", UNAVAILABLE)
@in_virtual_time
async def test_once_upstream_could_not_be_asked_it_is_an_outage(error: MirrorError) -> None:
    mirror = relaxed(WITHIN)
    mirror.upstream.head_manifests += [error, OLD.descriptor]
    assert (await mirror.pull()).status == AT_ONCE
    await mirror.tasks.finished()
    pulled = await mirror.pull()
    assert pulled.status == CacheStatus(Outcome.STALE, detail="upstream-unavailable")
    assert type(pulled.trouble) is type(error)
    mirror.clock.now += UNAVAILABLE_SECONDS
    assert (await mirror.pull()).status == AT_ONCE
    await mirror.tasks.finished()
    assert (await mirror.pull()).status.outcome is Outcome.HIT
    assert mirror.asked == ["HEAD latest"] * 2
    assert mirror.observer.events == [RevalidationFailed("docker.io", "docker.io/library/alpine:latest", error)]


@in_virtual_time
async def test_where_nothing_may_be_stale_in_an_outage_that_is_so_once_there_is_one() -> None:
    mirror = Mirror(WITHIN, policy=replace(RELAXED, stale_if_error=timedelta()))
    mirror.upstream.head_manifests.append(errors.UpstreamFailed("502"))
    assert (await mirror.pull()).status == AT_ONCE
    await mirror.tasks.finished()
    with pytest.raises(errors.UpstreamFailed):
        await mirror.pull()


@pytest.mark.parametrize("error", REFUSED)
@in_virtual_time
async def test_a_no_that_is_heard_meanwhile_holds_for_the_next(error: MirrorError) -> None:
    mirror = relaxed(WITHIN)
    mirror.upstream.head_manifests.append(error)
    assert (await mirror.pull()).status == AT_ONCE
    await mirror.tasks.finished()
    with pytest.raises(type(error)) as raised:
        await mirror.pull()
    assert raised.value.remembered
    assert mirror.record is None
    # A no is an answer.
    assert not mirror.observer.events


@pytest.mark.parametrize("error", [errors.PullSaved("few are left"), errors.LimitReached("none is left", 60), None])
@in_virtual_time
async def test_what_was_told_elsewhere_is_not_told_of_each_tag(error: MirrorError | None) -> None:
    mirror = relaxed(WITHIN)
    known = errors.UpstreamDown("it does not answer", 60)
    known.remembered = True
    mirror.upstream.head_manifests.append(error or known)
    assert (await mirror.pull()).status == AT_ONCE
    await mirror.tasks.finished()
    assert not mirror.observer.events


@in_virtual_time
async def test_of_a_question_that_ends_with_the_mirror_nothing_is_told() -> None:
    mirror = relaxed(WITHIN)
    mirror.upstream.head_manifests.append(Never())
    await mirror.pull()
    await settle()
    await mirror.tasks.cancel()
    assert not mirror.observer.events


@in_virtual_time
async def test_a_question_that_nobody_waits_for_has_a_deadline() -> None:
    mirror = relaxed(WITHIN)
    mirror.upstream.head_manifests.append(Never())
    await mirror.pull()
    await mirror.tasks.finished()
    assert asyncio.get_running_loop().time() == pytest.approx(ANSWER_WITHIN)
    assert isinstance((await mirror.pull()).trouble, errors.UpstreamTimeout)


@in_virtual_time
async def test_who_has_to_wait_joins_the_question_and_waits_as_long_as_always() -> None:
    mirror = relaxed(WITHIN)
    mirror.upstream.head_manifests.append(Never())
    await mirror.pull()
    mirror.clock.now += GRACE
    assert isinstance((await mirror.pull()).trouble, errors.UpstreamTimeout)
    assert asyncio.get_running_loop().time() == pytest.approx(5)
    # Whoever comes later does not wait for the same again.
    assert isinstance((await mirror.pull()).trouble, errors.UpstreamTimeout)
    assert asyncio.get_running_loop().time() == pytest.approx(5)
    assert mirror.asked == ["HEAD latest"]


@in_virtual_time
async def test_few_questions_are_under_way_at_a_time() -> None:
    mirror = relaxed(WITHIN)
    tags = [Tag(f"v{number}") for number in range(MOST_AT_ONCE + 5)]
    gate = asyncio.Event()
    held: list[Step[Descriptor | None]] = [Held(gate, OLD.descriptor) for _ in tags]
    mirror.upstream.head_manifests += held
    for tag in tags:
        mirror.records.tags[HUB, tag] = TagRecord(OLD.digest, mirror.clock.now - WITHIN)
        assert (await mirror.pull(tag)).status == AT_ONCE
    await settle()
    assert len(mirror.asked) == MOST_AT_ONCE
    gate.set()
    await mirror.tasks.finished()
    assert [(await mirror.pull(tag)).status for tag in tags[-5:]] == [AT_ONCE] * 5
    await mirror.tasks.finished()
    assert len(mirror.asked) == len(tags)


@pytest.mark.parametrize("turns", range(6))
@in_virtual_time
async def test_a_client_that_leaves_takes_nothing_along(turns: int) -> None:
    mirror = relaxed(WITHIN)
    mirror.upstream.head_manifests.append(OLD.descriptor)
    victim = asyncio.create_task(mirror.pull())
    await steps(turns)
    victim.cancel()
    assert (await mirror.pull()).manifest == OLD
    await mirror.tasks.finished()
    assert mirror.asked == ["HEAD latest"]


@in_virtual_time
async def test_a_stop_ends_the_question() -> None:
    mirror = relaxed(WITHIN)
    mirror.upstream.head_manifests.append(Never())
    await mirror.pull()
    await settle()
    await mirror.tasks.cancel()
    assert (await mirror.pull()).status == AT_ONCE
    await mirror.tasks.cancel()


@in_virtual_time
async def test_what_has_no_file_any_more_is_fetched_first() -> None:
    mirror = relaxed(WITHIN)
    mirror.manifests.kept.clear()
    mirror.upstream.head_manifests.append(OLD.descriptor)
    mirror.upstream.manifests.append(OLD)
    assert (await mirror.pull()).status.outcome is Outcome.MISS


@in_virtual_time
async def test_what_a_tag_is_to_some_clients_is_served_at_once_as_well() -> None:
    mirror = relaxed(0)
    variant = Variant(LATEST, (OCI_INDEX,))
    mirror.manifests.kept[NEW.digest] = NEW
    mirror.records.tags[HUB, variant] = TagRecord(NEW.digest, mirror.clock.now - WITHIN)
    mirror.upstream.head_manifests.append(NEW.descriptor)
    pulled = await mirror.puller.pull(HUB, LATEST, variant.types)
    assert (pulled.manifest, pulled.status) == (NEW, AT_ONCE)
    await mirror.tasks.finished()
    assert (await mirror.puller.pull(HUB, LATEST, variant.types)).status.outcome is Outcome.HIT


# Rules. ----------------------------------------------------------------------------------------------------

RULES = (TagRule(TagGlob("v*"), timedelta(days=1)), TagRule(TagGlob("latest"), IMMUTABLE))


@pytest.mark.parametrize("age", [-1e9, 0.0, 1e9])
@in_virtual_time
async def test_what_is_immutable_is_never_asked_about_again(age: float) -> None:
    mirror = Mirror(age, policy=replace(POLICY, rules=RULES))
    assert (await mirror.pull()).status.outcome is Outcome.HIT
    assert await mirror.puller.refresh(HUB, LATEST) is Refreshed.UNCHANGED
    assert mirror.asked == []


@in_virtual_time
async def test_what_is_immutable_and_not_here_is_asked_for() -> None:
    mirror = Mirror(0, policy=replace(POLICY, rules=RULES))
    mirror.manifests.kept.clear()
    mirror.upstream.head_manifests.append(OLD.descriptor)
    mirror.upstream.manifests.append(OLD)
    assert (await mirror.pull()).status.outcome is Outcome.MISS


@pytest.mark.parametrize(("tag", "outcome"), [("v1", Outcome.HIT), ("w1", Outcome.REVALIDATED)])
@in_virtual_time
async def test_a_rule_holds_for_the_tags_that_it_matches(tag: str, outcome: Outcome) -> None:
    mirror = Mirror(0, policy=replace(POLICY, rules=RULES))
    mirror.records.tags[HUB, Tag(tag)] = TagRecord(OLD.digest, mirror.clock.now - TTL)
    mirror.upstream.head_manifests.append(OLD.descriptor)
    assert (await mirror.pull(Tag(tag))).status.outcome is outcome


# Refreshing. -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("age", [0.0, WITHIN, BEYOND, 1e9])
@pytest.mark.parametrize(("says", "found"), [(OLD, Refreshed.UNCHANGED), (NEW, Refreshed.MOVED)])
@in_virtual_time
async def test_a_refresh_asks_whether_the_tag_is_fresh_or_not(age: float, says: object, found: Refreshed) -> None:
    mirror = relaxed(age)
    is_new = says is NEW
    mirror.upstream.head_manifests.append((NEW if is_new else OLD).descriptor)
    mirror.upstream.manifests.append(NEW)
    assert await mirror.puller.refresh(HUB, LATEST) is found
    assert mirror.asked == ["HEAD latest", *(["GET sha256"] if is_new else [])]
    assert mirror.record == TagRecord((NEW if is_new else OLD).digest, mirror.clock.now)
    assert (await mirror.pull()).status.outcome is Outcome.HIT


@in_virtual_time
async def test_a_refresh_fetches_what_was_not_known() -> None:
    mirror = Mirror()
    mirror.upstream.head_manifests.append(NEW.descriptor)
    mirror.upstream.manifests.append(NEW)
    assert await mirror.puller.refresh(HUB, LATEST) is Refreshed.MOVED
    assert mirror.manifests.kept == {NEW.digest: NEW}


@pytest.mark.parametrize("error", [*REFUSED, *UNAVAILABLE])
@in_virtual_time
async def test_a_refresh_tells_why_it_found_nothing_and_does_not_insist(error: MirrorError) -> None:
    mirror = relaxed(0)
    mirror.upstream.head_manifests.append(error)
    expected = Refreshed.GONE if isinstance(error, errors.Refused) else Refreshed.UNREACHABLE
    for _ in range(2):
        assert await mirror.puller.refresh(HUB, LATEST) is expected
    assert mirror.asked == ["HEAD latest"]
    assert (mirror.record is None) == (expected is Refreshed.GONE)


@in_virtual_time
async def test_a_refresh_of_what_moved_and_cannot_be_fetched_keeps_what_is_here() -> None:
    mirror = relaxed(0)
    mirror.upstream.head_manifests.append(NEW.descriptor)
    mirror.upstream.manifests.append(errors.DigestMismatch("wrong bytes"))
    assert await mirror.puller.refresh(HUB, LATEST) is Refreshed.UNREACHABLE
    assert (await mirror.pull()).manifest == OLD


@in_virtual_time
async def test_a_refresh_and_a_pull_are_one_question() -> None:
    mirror = relaxed(BEYOND)
    gate = asyncio.Event()
    mirror.upstream.head_manifests.append(Held(gate, manifest(b"old").descriptor))
    both = asyncio.gather(mirror.pull(), mirror.puller.refresh(HUB, LATEST))
    await settle()
    gate.set()
    pulled, found = await both
    assert (pulled.status.outcome, found) == (Outcome.REVALIDATED, Refreshed.UNCHANGED)
    assert mirror.asked == ["HEAD latest"]


# Lists. ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("listed", lists.BOTH)
@in_virtual_time
async def test_a_list_is_served_at_once_and_asked_for_meanwhile(listed: Listed) -> None:
    mirror = lists.Mirror(WITHIN, policy=RELAXED)
    mirror.will_say(lists.NEW)
    pulled = await asyncio.gather(*(mirror.pull(listed) for _ in range(20)))
    assert {(one.entries, one.status, one.age) for one in pulled} == {(lists.OLD, AT_ONCE, WITHIN)}
    await mirror.tasks.finished()
    assert len(mirror.asked) == 1
    after = await mirror.pull(listed)
    assert (after.entries, after.status.outcome) == (lists.NEW, Outcome.HIT)


@pytest.mark.parametrize("error", lists.UNAVAILABLE)
@in_virtual_time
async def test_once_a_list_could_not_be_had_it_is_an_outage(error: MirrorError) -> None:
    mirror = lists.Mirror(WITHIN, policy=RELAXED)
    mirror.will_say(error)
    assert (await mirror.pull()).status == AT_ONCE
    await mirror.tasks.finished()
    pulled = await mirror.pull()
    assert pulled.status == CacheStatus(Outcome.STALE, detail="upstream-unavailable")
    assert type(pulled.trouble) is type(error)
    assert len(mirror.asked) == 1
    assert mirror.observer.events == [RevalidationFailed("docker.io", "tags docker.io/library/alpine", error)]


@pytest.mark.parametrize("error", lists.REFUSED)
@in_virtual_time
async def test_a_list_that_was_refused_meanwhile_is_gone(error: MirrorError) -> None:
    mirror = lists.Mirror(WITHIN, policy=RELAXED)
    mirror.will_say(error)
    assert (await mirror.pull()).status == AT_ONCE
    await mirror.tasks.finished()
    with pytest.raises(type(error)):
        await mirror.pull()
    assert lists.TAGS not in mirror.listings.kept


@in_virtual_time
async def test_that_there_was_nothing_is_not_served_while_there_may_be_something() -> None:
    mirror = lists.Mirror(lists.NEGATIVE_TTL, entries=(), policy=RELAXED)
    mirror.will_say(lists.NEW)
    assert (await mirror.pull(lists.REFERRERS)).entries == lists.NEW


@in_virtual_time
async def test_what_another_process_has_listed_meanwhile_asks_nobody() -> None:
    mirror = lists.Mirror(WITHIN, policy=RELAXED)
    mirror.listings.elsewhere[lists.TAGS] = Listing(lists.NEW, mirror.clock.now)
    assert (await mirror.pull()).status == AT_ONCE
    await mirror.tasks.finished()
    assert mirror.asked == []


@in_virtual_time
async def test_a_long_list_has_time() -> None:
    mirror = lists.Mirror(WITHIN, policy=RELAXED)
    gate = asyncio.Event()
    mirror.will_say(Held(gate, lists.NEW))
    asyncio.get_running_loop().call_later(LISTED_WITHIN - 1, gate.set)
    assert (await mirror.pull()).status == AT_ONCE
    await mirror.tasks.finished()
    assert (await mirror.pull()).entries == lists.NEW

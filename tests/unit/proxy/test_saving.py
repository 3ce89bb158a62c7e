"""What is pulled, and what is not, while little is left of an upstream's limit."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mirror import errors
from mirror.errors import LimitReached, PullSaved
from mirror.oci.reference import Tag
from mirror.proxy.cache_status import CacheStatus, Outcome
from mirror.proxy.failures import UNAVAILABLE_SECONDS
from mirror.proxy.freshness import IMMUTABLE, TagRecord
from mirror.proxy.rate_limit import STRETCH, Spending
from mirror.proxy.refreshed import Refreshed
from mirror.proxy.tag_rules import TagGlob, TagRule
from tests.unit.proxy import test_pull_listing as lists
from tests.unit.proxy.doubles import HUB
from tests.unit.proxy.test_pull_manifest import EXPIRED, LATEST, NEW, OLD, POLICY, STALE, TTL, Mirror
from tests.unit.virtual_time import in_virtual_time

SCARCE = pytest.mark.parametrize("spending", [Spending.SAVING, Spending.EXHAUSTED])
OLDER = STRETCH * TTL + 1
SAVED = CacheStatus(Outcome.STALE, detail="saving-pulls")


def scarce(spending: Spending, age: float | None = OLDER) -> Mirror:
    """A mirror that may spend little, and has the old manifest for a tag of this age."""
    mirror = Mirror(age)
    mirror.governor.now = spending
    return mirror


@in_virtual_time
async def test_a_tag_is_believed_for_longer_and_says_so() -> None:
    mirror = scarce(Spending.SAVING, STALE)
    assert (await mirror.pull()).status == CacheStatus(Outcome.HIT, detail="saving-pulls")
    mirror = scarce(Spending.SAVING, TTL - 1)
    assert (await mirror.pull()).status == CacheStatus(Outcome.HIT)
    assert mirror.asked == []


@in_virtual_time
async def test_where_nothing_is_left_upstream_is_asked_at_the_usual_times() -> None:
    mirror = scarce(Spending.EXHAUSTED, STALE)
    mirror.upstream.head_manifests.append(OLD.descriptor)
    assert (await mirror.pull()).status.outcome is Outcome.REVALIDATED


@SCARCE
@in_virtual_time
async def test_upstream_is_asked_whether_a_tag_has_moved_which_is_free(spending: Spending) -> None:
    mirror = scarce(spending)
    mirror.upstream.head_manifests.append(OLD.descriptor)
    assert (await mirror.pull()).status.outcome is Outcome.REVALIDATED
    assert mirror.record == TagRecord(OLD.digest, mirror.clock.now)


@SCARCE
@pytest.mark.parametrize("tells_digest", [True, False])
@in_virtual_time
async def test_a_tag_that_has_moved_is_served_as_it_was(spending: Spending, tells_digest: bool) -> None:
    mirror = scarce(spending)
    mirror.upstream.head_manifests.append(NEW.descriptor if tells_digest else None)
    pulled = await mirror.pull()
    assert (pulled.manifest, pulled.status, pulled.age) == (OLD, SAVED, OLDER)
    assert isinstance(pulled.trouble, PullSaved)
    # For a moment nobody asks again.
    assert (await mirror.pull()).status == SAVED
    assert mirror.asked == ["HEAD latest"]
    mirror.clock.now += UNAVAILABLE_SECONDS
    mirror.upstream.head_manifests.append(NEW.descriptor)
    assert (await mirror.pull()).status == SAVED
    # And when pulls may be spent again, it is fetched.
    mirror.clock.now += UNAVAILABLE_SECONDS
    mirror.governor.now = Spending.FREE
    mirror.upstream.head_manifests.append(NEW.descriptor)
    mirror.upstream.manifests.append(NEW)
    assert (await mirror.pull()).manifest == NEW


@SCARCE
@in_virtual_time
async def test_what_a_tag_has_moved_to_is_served_if_it_is_here_already(spending: Spending) -> None:
    mirror = scarce(spending)
    mirror.manifests.kept[NEW.digest] = NEW
    mirror.upstream.head_manifests.append(NEW.descriptor)
    pulled = await mirror.pull()
    assert (pulled.manifest, pulled.status.outcome) == (NEW, Outcome.REVALIDATED)


@SCARCE
@pytest.mark.parametrize("age", [None, EXPIRED + OLDER])
@in_virtual_time
async def test_what_is_not_here_is_worth_a_pull(spending: Spending, age: float | None) -> None:
    mirror = scarce(spending, age)
    mirror.upstream.head_manifests.append(NEW.descriptor)
    mirror.upstream.manifests.append(NEW)
    assert (await mirror.pull()).manifest == NEW
    other = scarce(spending, None)
    other.upstream.manifests.append(NEW)
    assert (await other.pull(NEW.digest)).manifest == NEW


@SCARCE
@in_virtual_time
async def test_a_tag_whose_manifest_is_gone_is_worth_a_pull(spending: Spending) -> None:
    mirror = scarce(spending)
    mirror.manifests.kept.clear()
    mirror.upstream.head_manifests.append(NEW.descriptor)
    mirror.upstream.manifests.append(NEW)
    assert (await mirror.pull()).manifest == NEW


@SCARCE
@in_virtual_time
async def test_a_no_of_upstream_is_one_also_now(spending: Spending) -> None:
    mirror = scarce(spending)
    mirror.upstream.head_manifests.append(errors.ManifestUnknown("404"))
    with pytest.raises(errors.ManifestUnknown):
        await mirror.pull()


@SCARCE
@in_virtual_time
async def test_what_never_changes_is_not_asked_for_any_longer_than_before(spending: Spending) -> None:
    rules = (TagRule(TagGlob("v*"), IMMUTABLE),)
    mirror = Mirror(policy=replace(POLICY, rules=rules))
    mirror.governor.now = spending
    mirror.manifests.kept[OLD.digest] = OLD
    mirror.records.tags[HUB, Tag("v1")] = TagRecord(OLD.digest, mirror.clock.now - EXPIRED)
    assert (await mirror.pull(Tag("v1"))).status == CacheStatus(Outcome.HIT)


@in_virtual_time
async def test_where_nothing_may_be_asked_what_is_stale_says_why() -> None:
    mirror = scarce(Spending.EXHAUSTED)
    mirror.upstream.head_manifests.append(LimitReached("none is left", 60))
    pulled = await mirror.pull()
    assert (pulled.manifest, pulled.status) == (OLD, CacheStatus(Outcome.STALE, detail="limit-reached"))


@SCARCE
@in_virtual_time
async def test_a_tag_that_is_refreshed_spends_nothing_either(spending: Spending) -> None:
    mirror = scarce(spending)
    mirror.upstream.head_manifests.append(NEW.descriptor)
    assert await mirror.puller.refresh(HUB, LATEST) is Refreshed.UNREACHABLE
    assert mirror.asked == ["HEAD latest"]


@SCARCE
@in_virtual_time
async def test_what_is_served_while_upstream_is_asked_does_not_spend_either(spending: Spending) -> None:
    mirror = Mirror(OLDER, policy=replace(POLICY, stale_while_revalidate=timedelta(hours=1)))
    mirror.governor.now = spending
    mirror.upstream.head_manifests.append(NEW.descriptor)
    assert (await mirror.pull()).status.detail == "revalidating"
    await mirror.tasks.finished()
    assert (await mirror.pull()).status == SAVED
    assert mirror.asked == ["HEAD latest"]


# Lists. ----------------------------------------------------------------------------------------------------


def scarce_lists(spending: Spending, age: float | None) -> lists.Mirror:
    mirror = lists.Mirror(age)
    mirror.governor.now = spending
    return mirror


@in_virtual_time
async def test_lists_are_believed_for_longer() -> None:
    stretched = await scarce_lists(Spending.SAVING, lists.STALE).pull()
    assert stretched.status == CacheStatus(Outcome.HIT, detail="saving-pulls")
    assert (await scarce_lists(Spending.SAVING, lists.FRESH).pull()).status == CacheStatus(Outcome.HIT)
    mirror = scarce_lists(Spending.SAVING, OLDER)
    mirror.will_say(lists.NEW)
    # That one is asked for costs nothing on Docker Hub.
    assert (await mirror.pull()).entries == lists.NEW


@SCARCE
@in_virtual_time
async def test_the_tag_of_referrers_is_worth_a_pull_only_if_there_is_no_list(spending: Spending) -> None:
    described = lists.index({"mediaType": "application/x", "digest": "sha256:x"})
    for age, asked in ((OLDER, 0), (None, 1)):
        mirror = scarce_lists(spending, age)
        mirror.upstream.referrers.append(errors.ReferrersUnknown("404"))
        mirror.upstream.head_manifests.append(described.descriptor)
        mirror.upstream.manifests.append(described)
        pulled = await mirror.pull(lists.REFERRERS)
        assert sum(question.startswith("GET manifest") for question in mirror.asked) == asked
        assert (pulled.status == SAVED) is (asked == 0)

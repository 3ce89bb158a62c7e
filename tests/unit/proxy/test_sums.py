"""What waiting adds up to: an answer or an error within 25 s, whatever of upstream hangs; sooner with a copy at hand.

In the order of a request: whether anybody may see the repository, then the content.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from mirror import errors
from mirror.oci.media_types import OCI_INDEX
from mirror.proxy.cache_status import Outcome
from mirror.proxy.freshness import TagRecord
from mirror.proxy.listing import Listed
from mirror.proxy.pulled_manifest import PulledManifest
from tests.unit.proxy import test_pull_listing as lists
from tests.unit.proxy import test_visibility as seeing
from tests.unit.proxy.doubles import HUB, Never
from tests.unit.proxy.test_pull_manifest import LATEST, NEW, OLD, POLICY, STALE, Mirror
from tests.unit.virtual_time import in_virtual_time

PROMISED = 25.0
WITH_A_COPY = 5.0
NEVER = 1e6
"""Seconds until anybody is told whether a repository is public."""

KEEPING = replace(POLICY, keep_deleted=timedelta(days=1))

Hanging = Callable[[Mirror], None]


def head_hangs(mirror: Mirror) -> None:
    mirror.upstream.head_manifests.append(Never())


def fetch_hangs(mirror: Mirror) -> None:
    """The tag has moved, and what it moved to does not come, or trickles."""
    mirror.upstream.head_manifests.append(NEW.descriptor)
    mirror.upstream.manifests.append(Never())


def fetch_by_tag_hangs(mirror: Mirror) -> None:
    """The registry knows no HEAD, and does not answer a GET."""
    mirror.upstream.head_manifests.append(None)
    mirror.upstream.manifests.append(Never())


HANGING = [head_hangs, fetch_hangs, fetch_by_tag_hangs]


async def elapsed(*steps: Callable[[], Awaitable[object]]) -> float:
    """Take the steps of a request, until one is an error, and return how many seconds that took."""
    began = asyncio.get_running_loop().time()
    with suppress(errors.UpstreamTimeout):
        for step in steps:
            await step()
    return asyncio.get_running_loop().time() - began


@pytest.mark.parametrize("hangs", HANGING)
@pytest.mark.parametrize("told_after", [0.01, 3.9, NEVER])
@in_virtual_time
async def test_a_tag_that_is_not_cached(hangs: Hanging, told_after: float) -> None:
    mirror, gate = Mirror(), seeing.Gate(told_after)
    hangs(mirror)
    assert await elapsed(gate.check, mirror.pull) <= PROMISED


@pytest.mark.parametrize("hangs", HANGING)
@in_virtual_time
async def test_a_tag_that_is_cached(hangs: Hanging) -> None:
    mirror, pulled = Mirror(STALE), list[PulledManifest]()
    hangs(mirror)

    async def pull() -> None:
        pulled.append(await mirror.pull())

    assert await elapsed(pull) <= WITH_A_COPY
    assert await elapsed(pull, pull) == 0
    assert [one.status.outcome for one in pulled] == [Outcome.STALE] * 3


@in_virtual_time
async def test_a_tag_that_is_deleted_and_kept() -> None:
    mirror = Mirror(STALE, policy=KEEPING)
    mirror.records.tags[HUB, LATEST] = TagRecord(OLD.digest, 0.0, mirror.clock.now - 100)
    head_hangs(mirror)
    assert await elapsed(mirror.pull) <= WITH_A_COPY
    assert await elapsed(mirror.pull) == 0


@in_virtual_time
async def test_a_tag_that_is_cached_where_nobody_tells_whether_it_is_still_public() -> None:
    mirror, gate = Mirror(STALE), seeing.Gate(None, NEVER)
    head_hangs(mirror)
    await gate.check()
    gate.clock.now += seeing.TTL
    # What was public is so until somebody says no; that nobody does is waited for once.
    assert await elapsed(gate.check, mirror.pull) <= 4 + WITH_A_COPY
    assert await elapsed(gate.check, mirror.pull) == 0


@pytest.mark.parametrize("keeps_deleted", [False, True])
@in_virtual_time
async def test_a_repository_of_which_nothing_is_told_but_that_something_is_gone(keeps_deleted: bool) -> None:
    gone = errors.ManifestUnknown("404")
    mirror, gate = Mirror(), seeing.Gate(None, gone, NEVER, keeps_deleted=keeps_deleted)
    head_hangs(mirror)
    await gate.check()
    gate.clock.now += seeing.TTL
    assert await elapsed(gate.check, mirror.pull) <= PROMISED


@pytest.mark.parametrize("age", [None, STALE])
@pytest.mark.parametrize("told_after", [0.01, 3.9])
@in_virtual_time
async def test_what_a_tag_is_to_clients_of_other_types(age: float | None, told_after: float) -> None:
    mirror, gate = Mirror(age), seeing.Gate(told_after)
    # What the tag is comes late, and what it is to this client does not come.
    mirror.upstream.head_manifests += [OLD.descriptor, Never()]
    mirror.upstream.manifests.append(OLD)
    assert await elapsed(gate.check, lambda: mirror.puller.pull(HUB, LATEST, (OCI_INDEX,))) <= PROMISED


@pytest.mark.parametrize("stored", [False, True])
@in_virtual_time
async def test_a_digest_that_has_to_be_asked_for(stored: bool) -> None:
    mirror, gate = Mirror(), seeing.Gate(3.9)
    mirror.upstream.manifests.append(Never())
    if stored:
        # It is here through another repository, and upstream does not say whether it is in this one.
        mirror.manifests.kept[NEW.digest] = NEW
        head_hangs(mirror)
    assert await elapsed(gate.check, lambda: mirror.pull(NEW.digest)) <= PROMISED


@pytest.mark.parametrize("listed", lists.BOTH)
@in_virtual_time
async def test_a_list(listed: Listed) -> None:
    cold, gate = lists.Mirror(), seeing.Gate(3.9)
    cold.will_say(Never())
    assert await elapsed(gate.check, lambda: cold.pull(listed)) <= PROMISED
    stale = lists.Mirror(STALE)
    stale.will_say(Never())
    assert await elapsed(lambda: stale.pull(listed)) <= WITH_A_COPY
    assert await elapsed(lambda: stale.pull(listed)) == 0


@in_virtual_time
async def test_referrers_that_are_found_by_their_tag() -> None:
    mirror, gate = lists.Mirror(), seeing.Gate(3.9)
    mirror.upstream.referrers.append(errors.ReferrersUnknown("404"))
    mirror.upstream.head_manifests.append(Never())
    assert await elapsed(gate.check, lambda: mirror.pull(lists.REFERRERS)) <= PROMISED

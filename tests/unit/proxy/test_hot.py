from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from datetime import timedelta

import pytest

from mirror import errors
from mirror.oci.descriptor import Manifest
from mirror.oci.reference import Tag
from mirror.proxy.events.troubles import TaskCrashed
from mirror.proxy.events.warming import HotTagRefreshed
from mirror.proxy.freshness import TagRecord
from mirror.proxy.rate_limit import Spending
from mirror.proxy.tasks import cancelled
from mirror.proxy.warming.hot import LEAD_SECONDS, MOST_TAGS, RETRY_SECONDS, SPAN, TIMES, Asking, KeepHot, Requests
from tests.unit.proxy.doubles import HUB
from tests.unit.proxy.warmed import TTL, Warmer, image
from tests.unit.virtual_time import in_virtual_time

BEGAN = 1_700_000_000.0
LATEST = Tag("latest")
OLD, NEW = image(b"old"), image(b"new")


class Hot:
    """A tag that was validated just now, and clients that ask for it; wall clock and loop go together."""

    def __init__(self, ttl: float = TTL) -> None:
        loop = asyncio.get_running_loop()
        self.warmer = Warmer(lambda: BEGAN + loop.time())
        self.requests = Requests(loop.time)
        self.warmer.manifests.kept[OLD.digest] = OLD
        self.warmer.records.tags[HUB, LATEST] = TagRecord(OLD.digest, BEGAN)
        self.warmer.records.grants.add((HUB, OLD.digest))
        asking = Asking(
            self.warmer.puller,
            self.warmer.records,
            self.warmer.gate.visibility,
            self.warmer.governor,
            replace(self.warmer.policy, tag_ttl=timedelta(seconds=ttl)),
            self.warmer.clock,
        )
        self.keep = KeepHot(self.requests, asking, self.warmer.observer)

    def ask(self, times: int = TIMES) -> None:
        for _ in range(times):
            self.requests.note(HUB, LATEST)

    def offer(self, *answers: Manifest | Exception) -> None:
        """Have upstream answer so when it is asked by HEAD."""
        self.warmer.upstream.head_manifests += [one.descriptor if isinstance(one, Manifest) else one for one in answers]

    async def goes_on(self, seconds: float) -> list[str]:
        """Let that much time pass; return how tags were found."""
        task = asyncio.create_task(self.keep.run())
        await asyncio.sleep(seconds)
        await cancelled(task)
        assert not self.warmer.observer.of(TaskCrashed)
        return [event.outcome for event in self.warmer.observer.of(HotTagRefreshed)]


@in_virtual_time
async def test_a_tag_that_clients_keep_asking_for_never_gets_too_old() -> None:
    hot = Hot()
    hot.ask()
    hot.offer(OLD, OLD, OLD)
    assert await hot.goes_on(TTL - LEAD_SECONDS - 1) == []
    assert await hot.goes_on(LEAD_SECONDS) == ["unchanged"]
    validated_at = hot.warmer.records.tags[HUB, LATEST].validated_at
    assert hot.warmer.clock() - validated_at < LEAD_SECONDS
    assert {question.split()[0] for question in hot.warmer.upstream.asked} == {"HEAD"}


@in_virtual_time
async def test_it_cools_down_when_nobody_asks_any_more() -> None:
    hot = Hot()
    hot.ask()
    hot.offer(*[OLD] * 10)
    assert len(await hot.goes_on(TTL * SPAN * 3)) == SPAN


@pytest.mark.parametrize("times", [0, TIMES - 1])
@in_virtual_time
async def test_a_few_requests_make_nothing_hot(times: int) -> None:
    hot = Hot()
    hot.ask(times)
    assert await hot.goes_on(TTL * 2) == []


@in_virtual_time
async def test_a_tag_that_has_moved_is_fetched() -> None:
    hot = Hot()
    hot.ask()
    hot.offer(NEW)
    hot.warmer.upstream.manifests.append(NEW)
    assert await hot.goes_on(TTL) == ["moved"]
    assert hot.warmer.records.tags[HUB, LATEST].digest == NEW.digest


@pytest.mark.parametrize("spending", [Spending.SAVING, Spending.EXHAUSTED])
@in_virtual_time
async def test_where_pulls_are_saved_it_is_left_to_clients(spending: Spending) -> None:
    hot = Hot()
    hot.ask()
    hot.warmer.governor.now = spending
    assert await hot.goes_on(TTL * 2) == []
    assert hot.warmer.upstream.asked == []


@in_virtual_time
async def test_an_upstream_that_is_down_is_not_asked_all_the_time() -> None:
    hot = Hot()
    hot.ask()
    hot.offer(*[errors.UpstreamUnreachable("down")] * 20)
    assert await hot.goes_on(TTL - LEAD_SECONDS + 2 * RETRY_SECONDS + 1) == ["failed"] * 3


@in_virtual_time
async def test_a_tag_that_is_gone_is_forgotten() -> None:
    hot = Hot()
    hot.ask()
    hot.offer(errors.ManifestUnknown("no"))
    assert await hot.goes_on(TTL * 3) == ["failed"]


@in_virtual_time
async def test_what_became_private_is_not_asked_for_with_credentials() -> None:
    hot = Hot()
    hot.ask()
    hot.warmer.gate.anybody.answers[:] = [errors.Denied("no")]
    await hot.warmer.gate.visibility.guard(["docker.io"])
    assert await hot.goes_on(TTL) == []
    assert hot.warmer.upstream.asked == []


@pytest.mark.parametrize("ttl", [0.0, 59.0])
@in_virtual_time
async def test_tags_that_are_hardly_believed_are_left_to_clients(ttl: float) -> None:
    hot = Hot(ttl)
    hot.ask()
    assert await hot.goes_on(300) == []


@in_virtual_time
async def test_a_bug_is_not_the_end_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    hot = Hot()
    hot.ask()
    hot.offer(OLD)
    broken = [ZeroDivisionError()]
    tags = hot.requests.tags
    monkeypatch.setattr(hot.requests, "tags", lambda: (_ for _ in ()).throw(broken.pop()) if broken else tags())
    task = asyncio.create_task(hot.keep.run())
    await asyncio.sleep(TTL)
    await cancelled(task)
    assert [type(event.error) for event in hot.warmer.observer.of(TaskCrashed)] == [ZeroDivisionError]
    assert len(hot.warmer.observer.of(HotTagRefreshed)) == 1


def test_what_is_remembered_of_requests_is_bounded() -> None:
    requests = Requests(itertools.count().__next__)
    for number in range(MOST_TAGS * 2):
        requests.note(HUB, Tag("kept"))
        requests.note(HUB, Tag(f"t{number}"))
        assert len(requests.tags()) <= MOST_TAGS
    assert requests.are_many((HUB, Tag("kept")), 10)
    assert (HUB, Tag(f"t{number}")) in requests.tags()
    assert (HUB, Tag("t0")) not in requests.tags()

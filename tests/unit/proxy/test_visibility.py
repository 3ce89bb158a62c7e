from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from mirror.errors import (
    Denied,
    ManifestUnknown,
    MirrorError,
    NotPublic,
    UpstreamFailed,
    UpstreamInvalid,
    UpstreamThrottled,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from mirror.oci.reference import Reference, Repository, Tag
from mirror.proxy.belief import Belief
from mirror.proxy.cache_status import Kind
from mirror.proxy.events.access import VisibilityAsked
from mirror.proxy.failures import UNAVAILABLE_SECONDS, Failures
from mirror.proxy.interfaces.views import Sighting
from mirror.proxy.routing import Route
from mirror.proxy.tasks import Tasks
from mirror.proxy.visibility import WAIT_WITHIN, Memory, View, Visibility
from tests.unit.proxy.doubles import HUB, OTHER, MemoryCache, SettableClock
from tests.unit.recorder import Recorder
from tests.unit.virtual_time import in_virtual_time, settle

TTL = 300.0
STALE = 3600.0
TAG, ANOTHER = Tag("3.20"), Tag("edge")

Answer = MirrorError | float | None
"""A yes is None, a no or trouble an error; a number is seconds until a yes."""


class ScriptedViewer:
    """Answers in order, the last answer for good."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def look(self, repository: Repository, kind: Kind, reference: Reference | None) -> None:
        self.asked.append(f"{repository}:{reference}")
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        await asyncio.sleep(answer if isinstance(answer, float) else 0.01)
        if isinstance(answer, MirrorError):
            raise answer


class MemorySightings:
    """What a table would hold."""

    def __init__(self) -> None:
        self.seen: dict[Route, Sighting] = {}
        self.marked: set[str] = set()
        self.takes_marks = True

    async def public(self, route: Route) -> Sighting | None:
        return self.seen.get(route)

    async def put_public(self, route: Route, sighting: Sighting) -> None:
        self.seen[route] = sighting

    async def forget_public(self, route: Route) -> None:
        self.seen.pop(route, None)

    async def credentialed(self, upstream: str) -> bool:
        return upstream in self.marked

    async def put_credentialed(self, upstream: str) -> None:
        if self.takes_marks:
            self.marked.add(upstream)


class Gate:
    """The visibility of one upstream, as anybody sees it."""

    def __init__(self, *anybody: Answer, keeps_deleted: bool = False) -> None:
        self.keeps_deleted = keeps_deleted
        self.clock = SettableClock()
        self.anybody = ScriptedViewer(anybody or (None,))
        self.sightings = MemorySightings()
        self.observer = Recorder()
        self.restart()

    def restart(self) -> None:
        """Forget all that is only in memory."""
        cache = MemoryCache(self.clock)
        failures = Failures(cache, timedelta(seconds=30))
        memory = Memory(self.sightings, cache, failures, timedelta(seconds=STALE), self.clock, self.keeps_deleted)
        views = {"docker.io": View(self.anybody, timedelta(seconds=TTL))}
        self.visibility = Visibility(views, memory, Tasks(self.observer), self.observer)

    async def check(self, reference: Tag = TAG, route: Route = HUB) -> None:
        await self.visibility.guard(["docker.io"])
        await self.visibility.check(route, Kind.MANIFEST, reference)

    @property
    def asked(self) -> int:
        return len(self.anybody.asked)

    @property
    def outcomes(self) -> list[str]:
        return [event.outcome for event in self.observer.of(VisibilityAsked)]


@in_virtual_time
async def test_public_is_believed_of_the_repository_for_its_time() -> None:
    gate = Gate()
    await gate.check()
    gate.clock.now += TTL - 1
    await gate.check(ANOTHER)
    assert gate.asked == 1
    await gate.check(route=OTHER)
    assert gate.asked == 2
    gate.clock.now += 1
    await gate.check()
    assert gate.asked == 3
    assert gate.outcomes == ["public"] * 3


@in_virtual_time
async def test_private_is_believed_for_its_time_and_asked_again_then() -> None:
    gate = Gate(Denied("no"), None)
    for remembered in (False, True, True):
        with pytest.raises(NotPublic) as raised:
            await gate.check()
        assert raised.value.remembered is remembered
    gate.clock.now += TTL
    await gate.check()
    assert gate.outcomes == ["private", "public"]


@in_virtual_time
async def test_what_was_seen_before_a_restart_is_as_old_as_it_is() -> None:
    gate = Gate()
    await gate.check()
    gate.clock.now += TTL - 10
    gate.restart()
    await gate.check()
    assert gate.asked == 1
    gate.clock.now += 10
    await gate.check()
    assert gate.asked == 2


@in_virtual_time
async def test_a_sighting_from_the_future_is_not_believed_unasked() -> None:
    gate = Gate(Denied("no"))
    gate.sightings.seen[HUB] = Sighting(gate.clock.now + 1000, Kind.MANIFEST, TAG)
    with pytest.raises(NotPublic):
        await gate.check()
    assert not gate.sightings.seen


@in_virtual_time
async def test_public_outlasts_an_outage_for_as_long_as_it_may() -> None:
    gate = Gate(None, UpstreamUnreachable("down"))
    await gate.check()
    gate.clock.now += TTL + STALE - 1
    await gate.check()
    # Not asked again in the same breath.
    await gate.check(ANOTHER)
    assert gate.asked == 2
    gate.clock.now += UNAVAILABLE_SECONDS
    with pytest.raises(UpstreamUnreachable, match="cannot be told: down"):
        await gate.check()
    with pytest.raises(UpstreamUnreachable):
        await gate.check(ANOTHER)
    assert gate.asked == 3
    assert gate.outcomes == ["public", "untold", "untold"]


@in_virtual_time
async def test_private_never_goes_stale() -> None:
    gate = Gate(None, Denied("no"), UpstreamFailed("down"))
    await gate.check()
    gate.clock.now += TTL
    with pytest.raises(NotPublic):
        await gate.check()
    gate.clock.now += TTL
    with pytest.raises(UpstreamFailed):
        await gate.check()
    gate.restart()
    with pytest.raises(UpstreamFailed):
        await gate.check()


@in_virtual_time
async def test_a_limit_of_the_rate_is_told_as_one() -> None:
    with pytest.raises(UpstreamThrottled) as raised:
        await Gate(UpstreamThrottled("slow down", 17)).check()
    assert raised.value.retry_after == 17


@in_virtual_time
async def test_what_was_seen_is_asked_for_again_whatever_a_client_asks_for() -> None:
    gate = Gate()
    await gate.check(TAG)
    gate.clock.now += TTL
    await gate.check(ANOTHER)
    assert gate.anybody.asked == [f"{HUB.repository}:{TAG}"] * 2
    # Once it is too old to be of use, it is of no use here either.
    gate.clock.now += TTL + STALE
    await gate.check(ANOTHER)
    assert gate.anybody.asked[2:] == [f"{HUB.repository}:{ANOTHER}"]


@in_virtual_time
async def test_what_was_seen_and_is_gone_withdraws_the_repository() -> None:
    gate = Gate(None, ManifestUnknown("gone"), UpstreamUnreachable("down"))
    await gate.check()
    gate.clock.now += TTL
    with pytest.raises(UpstreamUnreachable):
        await gate.check(ANOTHER)
    assert not gate.sightings.seen
    assert gate.outcomes == ["public", "missing", "untold"]


@in_virtual_time
async def test_what_was_seen_and_is_gone_gives_way_to_what_is_there() -> None:
    gate = Gate(None, ManifestUnknown("gone"), None)
    await gate.check()
    gate.clock.now += TTL
    await gate.check(ANOTHER)
    assert gate.sightings.seen[HUB].reference == ANOTHER


@in_virtual_time
async def test_what_is_missing_is_told_as_missing_and_remembered() -> None:
    gate = Gate(ManifestUnknown("none"), None)
    for remembered in (False, True):
        with pytest.raises(ManifestUnknown, match="as far as anybody may see") as raised:
            await gate.check(ANOTHER)
        assert raised.value.remembered is remembered
    await gate.check(TAG)
    assert gate.outcomes == ["missing", "public"]


@pytest.mark.parametrize("trouble", [UpstreamInvalid("nonsense"), UpstreamFailed("upstream answered 500")])
def test_trouble_with_one_question_is_no_trouble_of_the_repository(trouble: MirrorError) -> None:
    @in_virtual_time
    async def story() -> None:
        gate = Gate(trouble, None)
        first = asyncio.create_task(gate.check(ANOTHER))
        await settle()
        await gate.check(TAG)
        with pytest.raises(type(trouble), match="cannot be told"):
            await first
        assert gate.outcomes == ["untold", "public"]

    story()


@in_virtual_time
async def test_everybody_waits_for_one_question() -> None:
    gate = Gate(1.0)
    await asyncio.gather(*(gate.check(tag) for tag in (TAG, ANOTHER) * 10))
    assert gate.asked == 1


@in_virtual_time
async def test_who_waited_for_a_question_about_something_missing_asks_for_its_own() -> None:
    gate = Gate(ManifestUnknown("none"), None)
    first = asyncio.create_task(gate.check(ANOTHER))
    await settle()
    await gate.check(TAG)
    with pytest.raises(ManifestUnknown):
        await first
    assert gate.anybody.asked == [f"{HUB.repository}:{ANOTHER}", f"{HUB.repository}:{TAG}"]


@in_virtual_time
async def test_who_stops_waiting_leaves_the_question_to_the_others() -> None:
    gate = Gate(1.0)
    first = asyncio.create_task(gate.check())
    await settle()
    second = asyncio.create_task(gate.check())
    first.cancel()
    await second
    assert gate.asked == 1
    await gate.check()
    assert gate.asked == 1


@in_virtual_time
async def test_nobody_waits_longer_than_there_is_time_for() -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(UpstreamTimeout):
        await Gate(60.0).check()
    assert loop.time() <= WAIT_WITHIN


@in_virtual_time
async def test_an_upstream_that_never_had_credentials_is_not_guarded() -> None:
    gate = Gate(Denied("no"))
    await gate.visibility.guard([])
    await gate.visibility.check(HUB, Kind.BLOB, TAG)
    gate.sightings.marked.add("docker.io")
    await gate.visibility.guard([])
    with pytest.raises(NotPublic):
        await gate.visibility.check(HUB, Kind.BLOB, TAG)


@in_virtual_time
async def test_an_upstream_with_credentials_is_guarded_even_if_that_cannot_be_noted() -> None:
    gate = Gate(Denied("no"))
    gate.sightings.takes_marks = False
    with pytest.raises(NotPublic):
        await gate.check()


@in_virtual_time
async def test_an_upstream_that_serves_everyone_is_marked_and_not_guarded() -> None:
    gate = Gate()
    await gate.visibility.guard(["ghcr.io"])
    await gate.visibility.check(Route("ghcr.io", HUB.repository), Kind.BLOB, TAG)
    assert gate.sightings.marked == {"ghcr.io"}


# Belief: what is known without asking. ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "belief"),
    [
        (0, Belief.OPEN),
        (TTL - 1, Belief.OPEN),
        (TTL, Belief.DOUBTED),
        (-1, Belief.DOUBTED),
        (TTL + STALE - 1, Belief.DOUBTED),
        (TTL + STALE, Belief.UNKNOWN),
    ],
)
@in_virtual_time
async def test_public_is_believed_for_its_time_and_then_doubted(age: float, belief: Belief) -> None:
    gate = Gate()
    assert await gate.visibility.belief(HUB) is Belief.OPEN
    await gate.visibility.guard(["docker.io"])
    assert await gate.visibility.belief(HUB) is Belief.UNKNOWN
    await gate.check()
    gate.restart()
    await gate.visibility.guard(["docker.io"])
    gate.clock.now += age
    assert await gate.visibility.belief(HUB) is belief
    assert await gate.visibility.belief(OTHER) is Belief.UNKNOWN
    assert gate.asked == 1


@in_virtual_time
async def test_a_no_is_believed_for_its_time_and_leaves_nothing_known() -> None:
    gate = Gate(None, Denied("no"))
    await gate.check()
    gate.clock.now += TTL
    with pytest.raises(NotPublic):
        await gate.check()
    assert await gate.visibility.belief(HUB) is Belief.PRIVATE
    gate.clock.now += TTL
    assert await gate.visibility.belief(HUB) is Belief.UNKNOWN


# What was deleted, and what was closed. ----------------------------------------------------------------------


@in_virtual_time
async def test_what_is_gone_from_a_repository_that_shows_anything_else_was_deleted() -> None:
    gate = Gate(None, ManifestUnknown("404"), None, keeps_deleted=True)
    await gate.check()
    gate.clock.now += TTL
    await gate.check()
    assert gate.anybody.asked == [f"{HUB.repository}:3.20"] * 2 + [f"{HUB.repository}:None"]
    # From now on it is asked by what it lists.
    assert gate.sightings.seen[HUB] == Sighting(gate.clock.now, Kind.TAGS, None)
    assert gate.outcomes == ["public", "missing", "public"]


@pytest.mark.parametrize(
    "answer", [ManifestUnknown("404"), UpstreamInvalid("lists no tags"), UpstreamFailed("502"), UpstreamTimeout("")]
)
@in_virtual_time
async def test_what_is_gone_from_a_repository_that_shows_nothing_may_be_closed(answer: MirrorError) -> None:
    gate = Gate(None, ManifestUnknown("404"), answer, ManifestUnknown("404"), keeps_deleted=True)
    await gate.check()
    gate.clock.now += TTL
    with pytest.raises(ManifestUnknown):
        await gate.check()
    assert gate.sightings.seen == {}


@in_virtual_time
async def test_a_repository_that_is_closed_while_its_tag_is_gone_is_private() -> None:
    gate = Gate(None, ManifestUnknown("404"), Denied("401"), keeps_deleted=True)
    await gate.check()
    gate.clock.now += TTL
    with pytest.raises(NotPublic):
        await gate.check()


@in_virtual_time
async def test_where_nothing_deleted_is_kept_nobody_asks_which_of_both_it_is() -> None:
    gate = Gate(None, ManifestUnknown("404"))
    await gate.check()
    gate.clock.now += TTL
    with pytest.raises(ManifestUnknown):
        await gate.check()
    assert gate.asked == 3

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from mirror.errors import ListUnreadable, ManifestUnknown, StoreFailed
from mirror.oci.children import Child
from mirror.oci.platforms import ALL, Platforms
from mirror.proxy.events.troubles import StoreTroubled, TaskCrashed
from mirror.proxy.events.warming import ImageWarmed, WarmingRoundFinished
from mirror.proxy.operations.catalogue import Pins
from mirror.proxy.rate_limit import Spending
from mirror.proxy.tasks import cancelled
from mirror.proxy.warming.kept import Kept
from mirror.proxy.warming.rounds import AGAIN, JITTER, Plan, Rounds
from mirror.proxy.warming.warmth import Wanted
from tests.unit.proxy.memory_catalogue import MemoryCatalogue, digest_of, named
from tests.unit.proxy.warmed import Warmer, image
from tests.unit.virtual_time import in_virtual_time

AMD64 = Platforms.parse(["linux/amd64"])
HOURS = timedelta(hours=6)
MINUTE = 60.0
IMAGE = image(b"layer")


class Site:
    """Rounds of what `listed` names; an error in its place is raised."""

    def __init__(self, *listed: str, every: timedelta | None = HOURS, chance: float = 0.5) -> None:
        self.warmer = Warmer()
        self.listed: list[str] | Exception = list(listed)
        self.catalogue = MemoryCatalogue()
        self.begins: list[float] = []
        kept = Kept(self._pins, self.catalogue, {"docker.io"}, AMD64)
        plan = Plan(self._listed, ALL, every)
        self.rounds = Rounds(self.warmer.warm, plan, kept, self.warmer.clock, self.warmer.observer, lambda: chance)

    async def _listed(self) -> Sequence[str]:
        self.begins.append(asyncio.get_running_loop().time())
        if isinstance(self.listed, Exception):
            raise self.listed
        return self.listed

    async def _pins(self) -> Pins:
        return self.catalogue.pins

    async def goes_on(self, seconds: float) -> list[dict[str, int]]:
        """Let that much time pass; return how many images ended how, round by round."""
        task = asyncio.create_task(self.rounds.run())
        await asyncio.sleep(seconds)
        await cancelled(task)
        told = [event.images for event in self.warmer.observer.of(WarmingRoundFinished)]
        return [{warmth: count for warmth, count in images.items() if count} for images in told]


@in_virtual_time
async def test_what_is_listed_is_warmed_at_the_start_and_every_so_often() -> None:
    site = Site("alpine:1")
    site.warmer.offer(IMAGE)
    site.warmer.upstream.head_manifests *= 4
    site.warmer.upstream.manifests.append(IMAGE)
    site.warmer.offer_blobs(b"layer")
    assert await site.goes_on(1) == [{"warmed": 1}]
    assert (await site.goes_on(HOURS.total_seconds() * 2 + 1))[1:] == [{"present": 1}] * 3


@pytest.mark.parametrize("chance", [0.0, 1.0])
@in_virtual_time
async def test_rounds_of_many_mirrors_do_not_begin_at_once(chance: float) -> None:
    site = Site(chance=chance)
    seconds = HOURS.total_seconds() * (1 + JITTER * (2 * chance - 1))
    assert len(await site.goes_on(seconds - 1)) == 1
    site = Site(chance=chance)
    assert len(await site.goes_on(seconds + 1)) == 2


@in_virtual_time
async def test_without_a_time_there_is_one_round() -> None:
    site = Site(every=None)
    assert len(await site.goes_on(HOURS.total_seconds() * 10)) == 1


@in_virtual_time
async def test_a_round_of_which_something_is_not_there_is_soon_repeated_and_then_ever_later() -> None:
    site = Site()
    site.listed = trouble = ListUnreadable("it cannot be read")
    task = asyncio.create_task(site.rounds.run())
    await asyncio.sleep(16 * MINUTE)
    site.listed = []
    await asyncio.sleep(HOURS.total_seconds())
    site.listed = trouble
    await asyncio.sleep(18 * 60 * MINUTE)
    await cancelled(task)
    minutes = [begin / MINUTE for begin in site.begins]
    assert minutes == [0, 5, 15, 35, 395, 400, 410, 430, 470, 550, 710, 1030, 1390]


@in_virtual_time
async def test_what_is_left_while_few_pulls_are_is_tried_again_soon() -> None:
    site = Site("alpine:1")
    site.warmer.governor.now = Spending.SAVING
    site.warmer.upstream.head_manifests += [IMAGE.descriptor] * 10
    assert await site.goes_on(AGAIN.total_seconds() + 1) == [{"spared": 1}] * 2


@in_virtual_time
async def test_rounds_are_no_further_apart_after_a_failure_than_without_one() -> None:
    site = Site("alpine:1", every=timedelta(minutes=1))
    site.warmer.upstream.head_manifests += [ManifestUnknown("no")] * 10
    assert len(await site.goes_on(181)) == 4


@in_virtual_time
async def test_what_fails_is_told_once_a_round_and_tried_again() -> None:
    site = Site("alpine:1")
    site.warmer.upstream.head_manifests += [ManifestUnknown("no")] * 10
    assert await site.goes_on(AGAIN.total_seconds() + 1) == [{"failed": 1}] * 2
    assert len(site.warmer.observer.of(ImageWarmed)) == 2


@in_virtual_time
async def test_a_list_that_cannot_be_read_is_a_failure_and_not_the_end() -> None:
    site = Site()
    site.listed = ListUnreadable("it cannot be read")
    assert await site.goes_on(AGAIN.total_seconds() + 1) == [{"failed": 1}] * 2
    assert [event.error for event in site.warmer.observer.of(ImageWarmed)] == [site.listed] * 2


@in_virtual_time
async def test_a_bug_is_not_the_end_of_all_rounds() -> None:
    site = Site()
    site.listed = ZeroDivisionError()
    await site.goes_on(AGAIN.total_seconds() + 1)
    assert (len(site.warmer.observer.of(TaskCrashed)), len(site.begins)) == (2, 2)


@in_virtual_time
async def test_pins_that_cannot_be_looked_at_are_told_and_the_others_warmed(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site("alpine:1")
    site.warmer.upstream.head_manifests += [ManifestUnknown("no")] * 10
    site.catalogue.pins[named("nginx:1")] = None

    async def look() -> None:
        raise StoreFailed("the disk refused")

    monkeypatch.setattr(site.catalogue, "look", look)
    assert await site.goes_on(1) == [{"failed": 2}]
    assert [event.doing for event in site.warmer.observer.of(StoreTroubled)] == ["look at what is pinned"]


# Pins. ---------------------------------------------------------------------------------------------------


def child(name: str, platform: str) -> Child:
    return Child(digest_of(name), platform=platform, is_manifest=True)


def pinned(catalogue: MemoryCatalogue, *cached: str) -> None:
    """Pin `app:1`, an index of three platforms of which some are cached."""
    catalogue.manifest("index", manifests=["amd64", "arm64", "s390x"])
    catalogue.children[digest_of("index")] = tuple(child(name, f"linux/{name}") for name in ("amd64", "arm64", "s390x"))
    for name in cached:
        catalogue.manifest(name, f"{name} layer")
    catalogue.pins[catalogue.tag("app:1", "index")] = digest_of("index")


async def wanted(catalogue: MemoryCatalogue, *upstreams: str) -> list[Wanted]:
    async def pins() -> Pins:
        return catalogue.pins

    return await Kept(pins, catalogue, upstreams or ("docker.io",), AMD64).wanted()


async def test_of_a_pinned_image_those_platforms_are_wanted_that_are_cached() -> None:
    catalogue = MemoryCatalogue()
    pinned(catalogue, "arm64", "s390x")
    platforms = Platforms(("linux/arm64", "linux/s390x"))
    assert await wanted(catalogue) == [Wanted("docker.io/library/app:1", platforms)]


async def test_of_one_that_is_not_cached_the_usual_platforms_are_wanted() -> None:
    catalogue = MemoryCatalogue()
    pinned(catalogue)
    catalogue.pins[named("ghost:1")] = None
    assert [one.platforms for one in await wanted(catalogue)] == [AMD64, AMD64]


async def test_pins_of_a_registry_that_is_no_upstream_any_more_are_left_alone() -> None:
    catalogue = MemoryCatalogue()
    pinned(catalogue, "amd64")
    assert await wanted(catalogue, "ghcr.io") == []


@in_virtual_time
async def test_what_is_listed_and_pinned_is_warmed_once() -> None:
    site = Site("app:1", "docker.io/library/app:1", "UPPER")
    pinned(site.catalogue, "amd64")
    site.warmer.upstream.head_manifests += [ManifestUnknown("no")] * 10
    assert await site.goes_on(1) == [{"failed": 2}]

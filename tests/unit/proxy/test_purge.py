from __future__ import annotations

import pytest

from mirror.errors import NotCached, StillPinned
from mirror.proxy.events.operations import Purged
from mirror.proxy.operations.purge import Purge, PurgeReport
from tests.unit.proxy.memory_catalogue import ALPINE, DEBIAN, SIZE, MemoryCatalogue, digest_of, named
from tests.unit.recorder import Recorder


async def purge(cache: MemoryCatalogue, text: str) -> PurgeReport:
    return await Purge(cache, cache, Recorder()).image(named(text))


def left(cache: MemoryCatalogue, *names: str) -> list[str]:
    """Those of these files that are there still."""
    return [name for name in names if digest_of(name) in cache.files]


async def test_names_go_before_files() -> None:
    cache, observer = MemoryCatalogue(), Recorder()
    cache.manifest("image", "layer")
    cache.tag("alpine:1", "image")
    report = await Purge(cache, cache, observer).image(named("alpine:1"))
    assert cache.steps == ["forget", "remove"]
    assert (report.images, report.swept.files, report.swept.size) == ((named("alpine:1"),), 2, 2 * SIZE)
    assert observer.events == [Purged("docker.io/library/alpine", 1, 2, 2 * SIZE)]


async def test_what_any_other_image_holds_stays_and_only_its_own_repository_keeps_the_grant() -> None:
    cache = MemoryCatalogue()
    cache.manifest("one", "own", "shared here", "shared there")
    cache.manifest("two", "shared here")
    cache.manifest("three", "shared there")
    cache.tag("alpine:1", "one")
    cache.tag("alpine:2", "two")
    cache.tag("debian:3", "three")
    report = await purge(cache, "alpine:1")
    assert (report.swept.files, report.shared) == (2, 2)
    assert left(cache, "one", "own", "shared here", "shared there") == ["shared here", "shared there"]
    assert cache.granted[ALPINE] == {digest_of("two"), digest_of("shared here")}
    assert cache.granted[DEBIAN] == {digest_of("three"), digest_of("shared there")}


async def test_a_tag_goes_with_what_it_is_to_other_clients() -> None:
    cache = MemoryCatalogue()
    cache.manifest("plain", "layer")
    cache.manifest("variant", "another layer")
    cache.tag("alpine:1", "plain")
    tag = cache.tag("alpine:1", "variant", variant=True)
    report = await purge(cache, "alpine:1")
    assert (report.images, report.swept.files) == ((tag,), 4)
    assert (cache.tags, cache.variants, cache.files) == ({}, {}, {})


async def test_a_tag_that_is_cached_only_as_other_clients_get_it_can_be_purged() -> None:
    cache = MemoryCatalogue()
    cache.manifest("variant", "layer")
    cache.tag("alpine:1", "variant", variant=True)
    assert (await purge(cache, "alpine:1")).swept.files == 2
    assert cache.variants == {}


async def test_a_digest_goes_with_the_tags_that_are_it_to_any_client() -> None:
    cache = MemoryCatalogue()
    cache.manifest("plain")
    cache.manifest("variant")
    cache.tag("alpine:1", "plain")
    cache.tag("alpine:1", "variant", variant=True)
    cache.tag("alpine:2", "plain")
    report = await purge(cache, f"alpine@{digest_of('variant')}")
    assert set(report.images) == {named("alpine:1"), named(f"alpine@{digest_of('variant')}")}
    assert left(cache, "plain", "variant") == ["plain"]


@pytest.mark.parametrize("other", [False, True])
async def test_what_a_pin_holds_is_not_purged_whatever_it_is_to_whom(other: bool) -> None:
    cache = MemoryCatalogue()
    cache.manifest("image", "layer")
    cache.pins[cache.tag("alpine:1", "image", variant=other)] = None
    cache.tag("alpine:2", "image")
    for text in ("alpine:1", f"alpine@{digest_of('image')}"):
        with pytest.raises(StillPinned, match="alpine:1 is pinned"):
            await purge(cache, text)
    with pytest.raises(StillPinned):
        await Purge(cache, cache, Recorder()).repository(ALPINE)
    assert (await purge(cache, "alpine:2")).swept.files == 0
    assert left(cache, "image", "layer") == ["image", "layer"]


async def test_what_a_pinned_tag_was_before_upstream_deleted_it_stays() -> None:
    cache = MemoryCatalogue()
    cache.manifest("image", "layer")
    cache.pins[named("alpine:1")] = digest_of("image")
    cache.tag("debian:1", "image")
    assert (await purge(cache, "debian:1")).swept.files == 0


async def test_a_repository_goes_with_blobs_that_no_image_holds_and_no_other_repository_has() -> None:
    cache = MemoryCatalogue()
    cache.store("loose", "lent")
    cache.grant(ALPINE, "loose")
    cache.grant(ALPINE, "lent")
    cache.grant(DEBIAN, "lent")
    report = await Purge(cache, cache, Recorder()).repository(ALPINE)
    assert (report.images, report.swept.files) == ((), 1)
    assert left(cache, "loose", "lent") == ["lent"]
    assert cache.steps == ["forget", "remove", "forget all"]
    with pytest.raises(NotCached):
        await Purge(cache, cache, Recorder()).repository(ALPINE)


async def test_a_manifest_that_holds_itself_ends() -> None:
    cache = MemoryCatalogue()
    cache.manifest("loop", manifests=["loop", "missing"])
    cache.tag("alpine:1", "loop")
    assert (await purge(cache, "alpine:1")).swept.files == 1

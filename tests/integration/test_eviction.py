"""Eviction: the limit holds, the least recently used goes first, and what is being read stays."""

from __future__ import annotations

import asyncio
import errno

import pytest

from mirror.store.folder import Folder
from tests.fakes import content
from tests.fakes.content import FakeBlob
from tests.fakes.faults import both, chunked, healthy, stop_at, wrong_bytes
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import RunningMirror, StartMirror
from tests.integration.joins import Joins
from tests.integration.paths import path_of
from tests.integration.raw_http import raw_client
from tests.integration.waiting import until, until_metric

MIB = 1024 * 1024
EVICTIONS = 'mirror_evictions_total{reason="size"}'


def put(registry: FakeRegistry, size: int, seed: object = 0) -> FakeBlob:
    blob = content.blob(size, seed)
    registry.put_blob("library/alpine", blob)
    return blob


def put_many(registry: FakeRegistry, count: int, size: int = MIB) -> list[FakeBlob]:
    return [put(registry, size, number) for number in range(count)]


async def pull(mirror: RunningMirror, *blobs: FakeBlob) -> None:
    """Pull one after the other, each committed before the next."""
    for blob in blobs:
        response, body = await mirror.get(path_of(blob))
        assert (response.status, body) == (200, blob.data)
        await until_metric(mirror, "mirror_fills_in_flight", 0)


async def assert_metrics_tell_what_is_there(mirror: RunningMirror, folder: CacheFolder, manifests: int = 0) -> None:
    await until_metric(mirror, "mirror_cache_bytes", folder.size())
    assert await mirror.metric('mirror_cache_objects{kind="manifest"}') == manifests
    assert await mirror.metric('mirror_cache_objects{kind="blob"}') == len(folder.digests()) - manifests


async def test_the_limit_holds(registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder) -> None:
    blobs = put_many(registry, 10)
    async with start_mirror(cache={"max_size": "4MiB"}) as mirror:
        assert await mirror.metric("mirror_cache_max_bytes") == 4 * MIB
        for done, blob in enumerate(blobs, 1):
            await pull(mirror, blob)
            assert cache_folder.size() <= 4 * MIB
            await assert_metrics_tell_what_is_there(mirror, cache_folder)
            assert await mirror.metric(EVICTIONS) == max(0, done - 4)
        assert cache_folder.digests() == {blob.digest for blob in blobs[-4:]}


async def test_the_least_recently_used_goes_first(
    registry: FakeRegistry, journal: Journal, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    first, second, third, fourth, fifth, sixth = put_many(registry, 6)
    async with start_mirror(cache={"max_size": "3MiB"}) as mirror:
        await pull(mirror, first, second, third)
        await pull(mirror, first)
        await pull(mirror, fourth)
        assert cache_folder.digests() == {first.digest, third.digest, fourth.digest}
        # A HEAD and a part are uses too.
        await mirror.get(path_of(third), "HEAD")
        await pull(mirror, fifth)
        assert cache_folder.digests() == {third.digest, fourth.digest, fifth.digest}
        await mirror.get(path_of(fourth), headers={"Range": "bytes=-1"})
        await pull(mirror, sixth)
        assert cache_folder.digests() == {fourth.digest, fifth.digest, sixth.digest}
        assert await mirror.metric(EVICTIONS) == 3

        journal.clear()
        await pull(mirror, first)
        assert journal.paths() == [f"GET {path_of(first)}"]


async def test_one_large_blob_takes_the_place_of_many(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    blobs = put_many(registry, 4)
    large = put(registry, 2 * MIB, "large")
    async with start_mirror(cache={"max_size": "4MiB"}) as mirror:
        await pull(mirror, *blobs, large)
        assert cache_folder.digests() == {*(blob.digest for blob in blobs[2:]), large.digest}
        assert await mirror.metric(EVICTIONS) == 2
        await assert_metrics_tell_what_is_there(mirror, cache_folder)


async def test_no_blob_costs_more_than_half_of_the_cache(
    registry: FakeRegistry, journal: Journal, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    blobs = put_many(registry, 4)
    half, more = put(registry, 2 * MIB, "half"), put(registry, 2 * MIB + 1, "more")
    async with start_mirror(cache={"max_size": "4MiB"}) as mirror:
        await pull(mirror, *blobs)
        for _ in range(2):
            response, body = await mirror.get(path_of(more))
            assert (response.headers["Cache-Status"], body) == ("mirror; fwd=miss", more.data)
        await until_metric(mirror, "mirror_fills_in_flight", 0)
        assert cache_folder.digests() == {blob.digest for blob in blobs}
        assert journal.count("GET", path_of(more)) == 2
        response, body = await mirror.get(path_of(half))
        assert (response.headers["Cache-Status"], body) == ("mirror; fwd=miss; stored", half.data)
        await until(lambda: half.digest in cache_folder.digests(), "half is kept")
        assert await mirror.metric(EVICTIONS) == 2


async def test_room_is_made_before_the_first_byte(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    blobs, large = put_many(registry, 4), put(registry, 2 * MIB, "large")
    gate = Gate()
    registry.fault(path_of(large), stop_at(0, gate))
    async with start_mirror(cache={"max_size": "4MiB"}) as mirror:
        await pull(mirror, *blobs)
        reader = asyncio.create_task(mirror.get(path_of(large)))
        await gate.reached()
        await until(lambda: cache_folder.digests() == {blob.digest for blob in blobs[2:]}, "two have gone")
        # What is on its way counts with the length that it will have.
        assert (await mirror.get(path_of(blobs[0])))[1] == blobs[0].data
        await until(lambda: cache_folder.digests() == {blobs[3].digest, blobs[0].digest}, "one more has gone")
        gate.open()
        assert (await reader)[1] == large.data
        await until(lambda: large.digest in cache_folder.digests(), "the blob is committed")
        assert cache_folder.size() == 4 * MIB


async def test_manifests_count_and_stay_as_long_as_there_are_blobs(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    image = content.image(layers=1, size=MIB)
    registry.add_image("library/alpine", "1", image)
    blobs = put_many(registry, 4)
    async with start_mirror(cache={"max_size": "4MiB"}) as mirror:
        await mirror.get("/v2/library/alpine/manifests/1")
        await until(lambda: cache_folder.digests() == {image.digest}, "the manifest is committed")
        await assert_metrics_tell_what_is_there(mirror, cache_folder, manifests=1)
        await pull(mirror, *blobs)
        # Four blobs alone would fit; the manifest is the oldest, and costs one of them its place.
        assert cache_folder.digests() == {image.digest, *(blob.digest for blob in blobs[1:])}
        await assert_metrics_tell_what_is_there(mirror, cache_folder, manifests=1)


async def test_manifests_go_as_well_where_nothing_else_is_left(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    # Each of these is larger than half a MiB: two of them fit, and no more.
    images = [content.image(layers=3000, size=0, seed=number) for number in range(4)]
    for number, image in enumerate(images):
        registry.add_image("library/alpine", f"{number}", image)
        assert MIB * 2 // 3 > image.manifest.size > MIB // 2
    async with start_mirror(cache={"max_size": "1500KiB"}) as mirror:
        for number, image in enumerate(images):
            assert (await mirror.get(f"/v2/library/alpine/manifests/{number}"))[1] == image.manifest.data
            await until(lambda: cache_folder.size() <= 1500 * 1024, "the limit holds")
        assert cache_folder.digests() == {image.digest for image in images[2:]}
        await assert_metrics_tell_what_is_there(mirror, cache_folder, manifests=2)
        response, body = await mirror.get("/v2/library/alpine/manifests/0")
        assert (response.status, body) == (200, images[0].manifest.data)


@pytest.mark.parametrize("shape", ["image", "index"])
async def test_a_hit_on_a_tag_is_a_use_of_all_its_layers(
    registry: FakeRegistry, journal: Journal, start_mirror: StartMirror, cache_folder: CacheFolder, shape: str
) -> None:
    image = content.image(layers=2, size=MIB // 2, seed="hot")
    tagged = image if shape == "image" else content.index(image)
    registry.add_image("library/alpine", "1", tagged)
    others = put_many(registry, 6)
    tag = "/v2/library/alpine/manifests/1"
    async with start_mirror(cache={"max_size": "4MiB"}) as mirror:
        await mirror.get(tag)
        await mirror.get(f"/v2/library/alpine/manifests/{image.digest}")
        await pull(mirror, *image.blobs)
        for other in others:
            # As clients do that have the layers already: nothing is asked for but the tag.
            assert (await mirror.get(tag))[1] == tagged.manifest.data
            await pull(mirror, other)
        assert {image.digest, tagged.digest, *(blob.digest for blob in image.blobs)} <= cache_folder.digests()
        assert cache_folder.size() <= 4 * MIB
        journal.clear()
        await pull(mirror, *image.blobs)
        assert not journal.entries


async def test_a_hit_on_a_tag_is_a_use_of_all_its_layers_after_a_restart_too(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    image = content.image(layers=1, size=MIB, seed="hot")
    tagged = content.index(image)
    registry.add_image("library/alpine", "1", tagged)
    others = put_many(registry, 6)
    tag = "/v2/library/alpine/manifests/1"
    async with start_mirror(cache={"max_size": "4MiB"}) as mirror:
        await mirror.get(tag)
        await mirror.get(f"/v2/library/alpine/manifests/{image.digest}")
        await pull(mirror, *image.blobs)
    async with start_mirror(cache={"max_size": "4MiB"}) as mirror:
        for other in others:
            assert (await mirror.get(tag))[1] == tagged.manifest.data
            await pull(mirror, other)
        assert {blob.digest for blob in image.blobs} <= cache_folder.digests()


async def test_what_is_being_read_stays_until_it_has_been_read(
    registry: FakeRegistry, journal: Journal, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    size = 16 * MIB
    read = put(registry, size, "being read")
    others = put_many(registry, 3, size)
    async with start_mirror(cache={"max_size": "32MiB"}) as mirror:
        await pull(mirror, read)
        async with raw_client(mirror, receive_buffer=4096) as client:
            await client.ask(path_of(read))
            assert (await client.head()).status == 200
            for other in others:
                await pull(mirror, other)
                assert read.digest in cache_folder.digests()
                journal.clear()
                await pull(mirror, read)
                assert not journal.entries
            assert await client.exactly(size) == read.data
        # The last reader has left: from now on it goes as any other.
        await pull(mirror, others[0], others[1])
        assert cache_folder.digests() == {others[0].digest, others[1].digest}
        await assert_metrics_tell_what_is_there(mirror, cache_folder)


async def test_a_blob_for_which_nothing_can_go_is_served_and_not_kept(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    size = 16 * MIB
    first, second, third = put_many(registry, 3, size)
    async with start_mirror(cache={"max_size": "32MiB"}) as mirror:
        await pull(mirror, first, second)
        async with raw_client(mirror, receive_buffer=4096) as one, raw_client(mirror, receive_buffer=4096) as two:
            for client, blob in ((one, first), (two, second)):
                await client.ask(path_of(blob))
                assert (await client.head()).status == 200
            await pull(mirror, third)
            assert cache_folder.digests() == {first.digest, second.digest}
            assert await one.exactly(size) == first.data
            assert await two.exactly(size) == second.data
        assert await mirror.metric(EVICTIONS) == 0
        await pull(mirror, third)
        assert third.digest in cache_folder.digests()


async def test_what_is_being_read_since_before_it_was_complete_stays_as_well(
    registry: FakeRegistry, journal: Journal, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    size = 16 * MIB
    read, *others = put_many(registry, 3, size)
    async with start_mirror(cache={"max_size": "32MiB"}) as mirror, raw_client(mirror, receive_buffer=4096) as client:
        await client.ask(path_of(read))
        assert (await client.head()).status == 200
        await until(lambda: read.digest in cache_folder.digests(), "the blob is committed")
        await pull(mirror, *others)
        assert cache_folder.digests() == {read.digest, others[1].digest}
        journal.clear()
        await pull(mirror, read)
        assert not journal.entries
        assert await client.exactly(size) == read.data


@pytest.mark.parametrize("told", ["length", "no length"])
async def test_a_blob_larger_than_the_cache_is_served_to_all_who_read_it_and_never_kept(
    registry: FakeRegistry,
    journal: Journal,
    joins: Joins,
    start_mirror: StartMirror,
    cache_folder: CacheFolder,
    told: str,
) -> None:
    small, large = put(registry, MIB, "small"), put(registry, 12 * MIB, "large")
    gate = Gate()
    framing = healthy if told == "length" else chunked
    registry.always(path_of(large), both(framing, stop_at(0, gate)))

    async with start_mirror(cache={"max_size": "4MiB"}) as mirror:
        await pull(mirror, small)
        readers = [asyncio.create_task(mirror.get(path_of(large))) for _ in range(4)]
        part = {"Range": f"bytes={11 * MIB}-"}
        readers.append(asyncio.create_task(mirror.get(path_of(large), headers=part)))
        await joins.reach(6)
        await gate.reached()
        gate.open()
        *wholes, (response, body) = await asyncio.gather(*readers)
        assert all(body == large.data for _, body in wholes)
        assert (response.status, body) == ((206, large.data[11 * MIB :]) if told == "length" else (200, large.data))
        await until_metric(mirror, "mirror_fills_in_flight", 0)

        await until(lambda: cache_folder.partials() == [], "nothing partial is left")
        assert cache_folder.digests() == {small.digest}
        assert journal.count("GET", path_of(large)) == 1
        assert journal.body_bytes(path_of(large)) == large.size
        assert await mirror.metric(EVICTIONS) == 0
        await assert_metrics_tell_what_is_there(mirror, cache_folder)

        response, body = await mirror.get(path_of(large))
        assert (response.status, body) == (200, large.data)
        assert journal.count("GET", path_of(large)) == 2


async def test_a_blob_larger_than_the_cache_that_is_wrong(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    large = put(registry, 8 * MIB)
    registry.fault(path_of(large), wrong_bytes())
    async with start_mirror(cache={"max_size": "4MiB"}) as mirror:
        async with raw_client(mirror) as client:
            await client.ask(path_of(large))
            answer = await client.answer()
            assert (answer.head.status, answer.whole) in {(200, False), (502, True)}
        await until_metric(mirror, "mirror_fills_in_flight", 0)
        await until(lambda: cache_folder.partials() == [], "nothing partial is left")
        await pull(mirror, large)


async def test_a_mirror_with_a_smaller_limit_begins_by_making_room(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    blobs = put_many(registry, 4)
    async with start_mirror() as mirror:
        await pull(mirror, *blobs)
        await pull(mirror, blobs[0])
    assert len(cache_folder.digests()) == 4
    async with start_mirror(cache={"max_size": "2MiB"}) as mirror:
        # What was used last is known from the run before.
        last = {blobs[0].digest, blobs[3].digest}
        await until(lambda: cache_folder.digests() == last, "what was used last is what is left")
        await until_metric(mirror, "mirror_cache_bytes", cache_folder.size())
        await assert_metrics_tell_what_is_there(mirror, cache_folder)


async def test_what_cannot_be_evicted_stays_in_the_books(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = put_many(registry, 4)
    tries = 0
    remove = Folder.remove

    def fail(folder: Folder, name: str) -> None:
        nonlocal tries
        if any(name in blob.digest for blob in blobs):
            tries += 1
            raise OSError(errno.EIO, "the disk takes no changes")
        remove(folder, name)

    async with start_mirror(cache={"max_size": "2MiB"}) as mirror:
        monkeypatch.setattr(Folder, "remove", fail)
        await pull(mirror, *blobs)
        # One try for each blob that there is no room for, not one after the other for ever.
        assert tries == 2
        assert cache_folder.digests() == {blobs[0].digest, blobs[1].digest}
        await assert_metrics_tell_what_is_there(mirror, cache_folder)
        assert await mirror.metric(EVICTIONS) == 0

        monkeypatch.setattr(Folder, "remove", remove)
        await pull(mirror, *blobs[2:])
        assert cache_folder.digests() == {blobs[2].digest, blobs[3].digest}
        await assert_metrics_tell_what_is_there(mirror, cache_folder)
        assert await mirror.metric(EVICTIONS) == 2


async def test_many_at_once_in_a_cache_for_few(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    blobs = put_many(registry, 24)
    async with start_mirror(cache={"max_size": "3MiB"}) as mirror:
        answers = await asyncio.gather(*(mirror.get(path_of(blob)) for blob in blobs * 3))
        assert [body for _, body in answers] == [blob.data for blob in blobs * 3]
        await until_metric(mirror, "mirror_fills_in_flight", 0)
        await until(lambda: cache_folder.size() <= 3 * MIB, "the limit holds")
        await until(lambda: cache_folder.partials() == [], "nothing partial is left")
        await assert_metrics_tell_what_is_there(mirror, cache_folder)

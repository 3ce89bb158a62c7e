from __future__ import annotations

import asyncio

import pytest

from mirror import errors
from mirror.errors import MirrorError
from mirror.oci.descriptor import Manifest
from mirror.oci.digest import Digest
from mirror.oci.platforms import ALL, Platforms
from mirror.proxy.events.warming import ImageWarmed
from mirror.proxy.fills.fill import SMALL
from mirror.proxy.rate_limit import Spending
from mirror.proxy.warming.batch import IMAGES_AT_ONCE, Batch
from mirror.proxy.warming.in_turn import in_turn
from mirror.proxy.warming.warm import PARTS_AT_ONCE
from mirror.proxy.warming.warmth import Progress, Wanted, Warmed, Warmth
from tests.unit.proxy.doubles import Held, ScriptedTransfer
from tests.unit.proxy.warmed import Warmer, image, index
from tests.unit.virtual_time import in_virtual_time, settle

BLOBS = (b"first", b"second")
AMD, ARM = image(*BLOBS), image(b"third")
INDEX = index(amd64=AMD, arm64=ARM)
AMD64 = Platforms.parse(["linux/amd64"])


async def warmed(warmer: Warmer, name: str = "alpine:1", platforms: Platforms = AMD64) -> Warmed:
    found = await warmer.warm.image(Wanted(name, platforms), Progress(name))
    [event] = warmer.observer.of(ImageWarmed)[-1:]
    assert (event.image, event.outcome) == (found.image, found.warmth)
    return found


@in_virtual_time
async def test_an_image_is_told_by_its_full_name_with_what_came() -> None:
    warmer = Warmer()
    warmer.offer(INDEX)
    warmer.upstream.manifests += [INDEX, AMD]
    warmer.offer_blobs(*BLOBS)
    size = len(INDEX.data) + len(AMD.data) + len(b"".join(BLOBS))
    assert await warmed(warmer) == Warmed("docker.io/library/alpine:1", Warmth.WARMED, size, size)
    assert set(warmer.manifests.kept) == {INDEX.digest, AMD.digest}
    assert set(warmer.store.committed.values()) == set(BLOBS)
    assert await warmed(warmer) == Warmed("docker.io/library/alpine:1", Warmth.PRESENT, size, 0)
    await warmer.end()


@pytest.mark.parametrize(
    ("spending", "word"), [(Spending.SAVING, "only the reserve"), (Spending.EXHAUSTED, "is used up")]
)
@in_virtual_time
async def test_a_limit_that_runs_short_in_the_middle_spares_the_rest(spending: Spending, word: str) -> None:
    warmer = Warmer()
    warmer.offer(INDEX)
    gate = asyncio.Event()
    warmer.upstream.manifests += [Held(gate, INDEX)]
    warming = asyncio.create_task(warmed(warmer, platforms=ALL))
    await settle()
    warmer.governor.now = spending
    gate.set()
    found = await warming
    assert found.warmth is Warmth.SPARED
    assert word in str(found.error)
    assert [asked for asked in warmer.upstream.asked if asked.startswith("GET")] == [
        f"GET library/alpine manifest {INDEX.digest}"
    ]
    await warmer.end()


@in_virtual_time
async def test_a_tag_that_has_moved_is_spared_if_few_pulls_are_left_by_then() -> None:
    warmer = Warmer()
    warmer.offer(AMD)
    warmer.upstream.manifests.append(AMD)
    warmer.offer_blobs(*BLOBS)
    assert (await warmed(warmer)).warmth is Warmth.WARMED
    gate = asyncio.Event()
    warmer.upstream.head_manifests[:] = [Held(gate, ARM.descriptor), ARM.descriptor]
    warming = asyncio.create_task(warmed(warmer))
    await settle()
    warmer.governor.now = Spending.SAVING
    gate.set()
    found = await warming
    assert (found.warmth, type(found.error)) == (Warmth.SPARED, errors.ReserveReached)
    await warmer.end()


@pytest.mark.parametrize(
    "error", [errors.ManifestUnknown("no"), errors.UpstreamUnreachable("down"), errors.Denied("no")]
)
@in_virtual_time
async def test_what_upstream_says_instead_is_the_reason(error: MirrorError) -> None:
    warmer = Warmer()
    warmer.upstream.head_manifests += [error] * 3
    found = await warmed(warmer)
    assert (found.warmth, type(found.error)) == (Warmth.FAILED, type(error))
    await warmer.end()


@in_virtual_time
async def test_what_is_private_is_not_asked_for_with_credentials() -> None:
    warmer = Warmer()
    warmer.gate.anybody.answers[:] = [errors.Denied("no")]
    await warmer.gate.visibility.guard(["docker.io"])
    found = await warmed(warmer)
    assert isinstance(found.error, errors.NotPublic)
    assert warmer.upstream.asked == []


@pytest.mark.parametrize("name", ["UPPER", "quay.io/a/b", "sha256"])
@in_virtual_time
async def test_what_names_no_image_here_is_a_failure_of_its_own(name: str) -> None:
    warmer = Warmer()
    found = await warmed(warmer, name)
    assert (found.image, found.warmth) == (name, Warmth.FAILED)
    assert warmer.upstream.asked == []


@in_virtual_time
async def test_a_blob_that_has_to_wait_for_its_turn_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    warmer = Warmer()
    warmer.offer(ARM)
    warmer.upstream.manifests.append(ARM)
    busy = [errors.Busy("too much already")]

    async def take(*_: object) -> None:
        if busy:
            raise busy.pop()

    monkeypatch.setattr("mirror.proxy.fills.turns.Turns.take", take)
    warmer.offer_blobs(b"third")
    assert (await warmed(warmer)).warmth is Warmth.WARMED
    await warmer.end()


@in_virtual_time
async def test_layers_that_are_on_no_registry_are_left_out() -> None:
    warmer = Warmer()
    data = AMD.data.replace(b"x/layer", b"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", 1)
    manifest = Manifest(Digest.of(data), AMD.media_type, data)
    warmer.offer(manifest)
    warmer.upstream.manifests.append(manifest)
    warmer.offer_blobs(BLOBS[1])
    assert (await warmed(warmer)).warmth is Warmth.WARMED
    await warmer.end()


@in_virtual_time
async def test_whoever_is_cancelled_leaves_the_fill_and_no_file() -> None:
    warmer, gate = Warmer(), asyncio.Event()
    large = bytes(SMALL * 2)
    manifest = image(large, b"never")
    warmer.offer(manifest)
    warmer.upstream.manifests.append(manifest)
    warmer.upstream.blobs += [ScriptedTransfer([large[:SMALL], gate, large[SMALL:]], len(large))]
    warmer.offer_blobs(b"never")
    batch = Batch(warmer.warm)
    running = asyncio.create_task(batch.run([Wanted("alpine:1", ALL)], lambda _: None))
    await asyncio.sleep(10)
    assert [one.total for one in batch.under_way] == [len(manifest.data) + len(large) + len(b"never")]
    running.cancel()
    await asyncio.wait([running])
    assert batch.under_way == []
    gate.set()
    await warmer.end()
    assert large in warmer.store.committed.values()


@in_virtual_time
async def test_after_a_stop_nothing_begins() -> None:
    warmer = Warmer()
    warmer.warm.close()
    found = await warmed(warmer)
    assert isinstance(found.error, errors.ShuttingDown)
    assert warmer.upstream.asked == []


@in_virtual_time
async def test_of_an_image_on_its_way_no_further_blob_begins_after_a_stop() -> None:
    warmer, gate = Warmer(), asyncio.Event()
    blobs = [bytes([number]) * 10 for number in range(5)]
    manifest = image(*blobs)
    warmer.offer(manifest)
    warmer.upstream.manifests.append(manifest)
    warmer.upstream.blobs += [Held(gate, ScriptedTransfer.whole(blob)) for blob in blobs[:PARTS_AT_ONCE]]
    warming = asyncio.create_task(warmed(warmer))
    await settle()
    warmer.warm.close()
    gate.set()
    assert isinstance((await warming).error, errors.ShuttingDown)
    await warmer.end()
    assert set(warmer.store.committed.values()) == set(blobs[:PARTS_AT_ONCE])


@in_virtual_time
async def test_an_index_of_more_than_anybody_builds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirror.proxy.warming.warm._MOST_MANIFESTS", 2)
    warmer = Warmer()
    warmer.offer(INDEX)
    warmer.upstream.manifests.append(INDEX)
    found = await warmed(warmer, platforms=ALL)
    assert "more than 2 manifests" in str(found.error)


@in_virtual_time
async def test_a_few_things_are_done_at_a_time_and_all_of_them() -> None:
    now = most = 0
    done: list[int] = []

    async def work(thing: int) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(1 / (thing + 1))
        now -= 1
        done.append(thing)

    await in_turn(range(10), IMAGES_AT_ONCE, work)
    assert (sorted(done), most) == (list(range(10)), IMAGES_AT_ONCE)


@in_virtual_time
async def test_the_first_error_ends_what_is_done_in_turn() -> None:
    begun: list[int] = []

    async def work(thing: int) -> None:
        begun.append(thing)
        await asyncio.sleep(1)
        raise errors.StoreFailed(f"{thing}")

    with pytest.raises(errors.StoreFailed, match="0"):
        await in_turn(range(10), 2, work)
    assert begun == [0, 1]

"""Several processes on one cache folder: what one has pulled, been told or thrown out is so for all of them."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.fakes import content
from tests.fakes.content import FakeBlob
from tests.fakes.faults import hold, stop_at
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.integration.command import Serving
from tests.integration.paths import path_of
from tests.integration.processes import MIB, REPOSITORY, Mirrors, committed, kill, mirrors, pull, put, reading
from tests.integration.waiting import until

SECOND = "library/debian"
LATEST = f"/v2/{REPOSITORY}/manifests/latest"

__all__ = ["mirrors"]


async def manifest(mirror: Serving, path: str = LATEST) -> tuple[str, str]:
    """Ask for a manifest; return its digest and how the answer came about."""
    response, body = await mirror.get(path, headers={"Accept": ", ".join(content.ALL_TYPES)})
    assert response.status == 200, body
    assert content.digest_of(body) == response.headers["Docker-Content-Digest"]
    return content.digest_of(body), response.headers["Cache-Status"]


async def test_an_image_that_one_has_pulled_is_a_hit_in_the_other(
    mirrors: Mirrors, registry: FakeRegistry, journal: Journal
) -> None:
    image = content.image(layers=2, size=MIB)
    registry.add_image(REPOSITORY, "latest", image)
    one, other = await mirrors.start(2)
    assert (await manifest(one))[0] == image.digest
    for blob in image.blobs:
        await pull(one, blob)
    await committed(mirrors.cache, *image.blobs)
    journal.clear()
    assert await manifest(other) == (image.digest, "mirror; hit")
    by_digest = f"/v2/{REPOSITORY}/manifests/{image.digest}"
    assert await manifest(other, by_digest) == (image.digest, "mirror; hit")
    assert [await pull(other, blob) for blob in image.blobs] == ["mirror; hit"] * 3
    assert journal.entries == []


async def test_a_cold_manifest_is_fetched_by_one_and_by_the_next_if_that_one_is_killed(
    mirrors: Mirrors, registry: FakeRegistry, journal: Journal
) -> None:
    image = content.image(layers=1)
    registry.add_image(REPOSITORY, "latest", image)
    path = f"/v2/{REPOSITORY}/manifests/{image.digest}"
    registry.fault(path, hold(Gate()))
    one, *others = await mirrors.start(3)
    doomed = asyncio.create_task(one.get(path))
    await journal.wait_for(1, path=path)
    waiting = [asyncio.create_task(manifest(mirror, path)) for mirror in others]
    await asyncio.sleep(0.3)
    assert journal.count(path=path) == 1
    await kill(one)
    await asyncio.gather(doomed, return_exceptions=True)
    assert [digest for digest, _ in await asyncio.gather(*waiting)] == [image.digest] * 2
    assert journal.count("GET", path) == 2


async def test_a_moved_tag_is_seen_by_every_process_within_its_ttl(
    mirrors: Mirrors, registry: FakeRegistry, journal: Journal
) -> None:
    before, after = content.image(seed="before"), content.image(seed="after")
    registry.add_image(REPOSITORY, "latest", before)
    one, other = await mirrors.start(2, freshness={"tag_ttl": "4s", "stale_while_revalidate": "0s"})
    assert [(await manifest(mirror))[0] for mirror in (one, other)] == [before.digest] * 2
    registry.move_tag(REPOSITORY, "latest", after)
    await asyncio.sleep(4)  # what the other is told then has to be younger than that, on a busy machine as well
    assert (await manifest(one))[0] == after.digest
    asked = len(journal.entries)
    # The other has an old record in memory; what the first was told is fresh, and believed.
    assert (await manifest(other))[0] == after.digest
    assert len(journal.entries) == asked


async def test_what_one_may_serve_all_may_serve(mirrors: Mirrors, registry: FakeRegistry, journal: Journal) -> None:
    blob = put(registry, MIB)
    registry.put_blob(SECOND, blob)
    put(registry, 1, "something", repository="library/busybox")
    registry.absent(path_of(blob, "library/busybox"))
    one, other = await mirrors.start(2)
    await pull(one, blob)
    await committed(mirrors.cache, blob)
    response, _ = await one.get(path_of(blob, SECOND))
    assert "access-confirmed" in response.headers["Cache-Status"]
    journal.clear()
    response, _ = await other.get(path_of(blob, SECOND))
    assert response.headers["Cache-Status"] == "mirror; hit"
    assert journal.entries == []
    response, _ = await other.get(path_of(blob, "library/busybox"))
    assert response.status == 404


async def test_what_one_throws_out_is_a_miss_in_the_other_and_no_error(
    mirrors: Mirrors, registry: FakeRegistry
) -> None:
    blobs = [put(registry, MIB, number) for number in range(6)]
    one, other = await mirrors.start(2, cache={"max_size": "4MiB"})
    await pull(one, blobs[0])
    await committed(mirrors.cache, blobs[0])
    assert await pull(other, blobs[0]) == "mirror; hit"
    async with reading(blobs[0], other) as (reader,):
        for blob in blobs[1:]:
            await pull(one, blob)
            await committed(mirrors.cache, blob)
        assert not mirrors.cache.file(blobs[0].digest).exists()
        assert await pull(other, blobs[0]) == "mirror; fwd=miss; stored"
        assert await reader.comes_whole()


async def test_the_limit_holds_for_all_processes_together(mirrors: Mirrors, registry: FakeRegistry) -> None:
    """Also while they fetch: what is reserved counts, whoever reserved it."""
    most = 8 * MIB
    blobs = [put(registry, MIB, number) for number in range(40)]
    pair = await mirrors.start(2, cache={"max_size": "8MiB"})
    sizes: list[int] = []
    watching = asyncio.create_task(_watch(mirrors.cache.path, sizes))
    order = random.Random(3)
    for _ in range(3):
        order.shuffle(blobs)
        for start in range(0, len(blobs), 8):
            await asyncio.gather(*(pull(mirror, blob) for blob in blobs[start : start + 8] for mirror in pair))
    watching.cancel()
    await until(lambda: mirrors.cache.size() <= most, "the limit holds at rest", 30)
    assert max(sizes) <= most, (max(sizes) / MIB, len(sizes))


async def _watch(path: Path, sizes: list[int]) -> None:
    while True:
        sizes.append(await asyncio.to_thread(_size, path))
        await asyncio.sleep(0.002)


def _size(path: Path) -> int:
    """Bytes of all blobs, each counted at most once: one file after the other, so never too many."""
    total = 0
    for file in (path / "blobs" / "sha256").iterdir():
        try:
            total += file.stat().st_size
        except FileNotFoundError:
            continue
    return total


async def test_what_a_process_leaves_behind_counts_for_those_that_stay(
    mirrors: Mirrors, registry: FakeRegistry
) -> None:
    blobs = [put(registry, MIB, number) for number in range(8)]
    (stays,) = await mirrors.start(1, cache={"max_size": "4MiB"})
    (goes,) = await mirrors.start(1, cache={"max_size": "4MiB"})
    for blob in blobs[:4]:
        await pull(goes, blob)
    await committed(mirrors.cache, *blobs[:4])
    await kill(goes)
    for blob in blobs[4:]:
        await pull(stays, blob)
    await until(lambda: mirrors.cache.size() <= 4 * MIB, "the limit holds for what the dead one left, too", 15)


async def test_index_json_names_what_either_has_pulled(mirrors: Mirrors, registry: FakeRegistry) -> None:
    images = [content.image(layers=1, seed=number) for number in range(2)]
    for number, image in enumerate(images):
        registry.add_image(REPOSITORY, f"v{number}", image)
    pair = await mirrors.start(2)
    for number, mirror in enumerate(pair):
        assert (await manifest(mirror, f"/v2/{REPOSITORY}/manifests/v{number}"))[0] == images[number].digest
    for mirror in pair:
        mirror.terminate()
        assert await mirror.exit_code() == 0
        # Whoever stops last has the last word, and knows of both.
        named = {entry["digest"] for entry in mirrors.cache.index()["manifests"]}
        assert named == {image.digest for image in images}


@pytest.mark.parametrize("damage", [None, b"", b"no database" * 1000], ids=["new", "empty", "garbage"])
async def test_processes_that_start_at_the_same_instant_share_their_tables(
    mirrors: Mirrors, registry: FakeRegistry, journal: Journal, damage: bytes | None
) -> None:
    image = content.image(layers=1)
    registry.add_image(REPOSITORY, "latest", image)
    for table in ("index", "records"):
        if damage is not None:
            (mirrors.cache.path / table).mkdir(parents=True)
            (mirrors.cache.path / table / "cache.db").write_bytes(damage)
    asked = await mirrors.start(4)
    assert {line for mirror in asked for line in mirror.log if "trouble" in line.lower()} == set()
    await manifest(asked[0])
    journal.clear()
    assert [await manifest(mirror) for mirror in asked] == [(image.digest, "mirror; hit")] * 4
    assert journal.entries == []
    aside = [path.name for path in mirrors.cache.path.glob("*.broken-*")]
    assert len(aside) == (2 if damage else 0), aside


async def test_kills_and_restarts_under_traffic_never_cost_a_right_answer(
    mirrors: Mirrors, registry: FakeRegistry, journal: Journal
) -> None:
    seed = 7
    chance = random.Random(seed)
    blobs = [put(registry, chance.randint(1, 3 * MIB), number) for number in range(12)]
    for round_number in range(10):
        pair = await mirrors.start(2, cache={"max_size": "16MiB"})
        pulls = [asyncio.create_task(_try(mirror, chance.choice(blobs))) for mirror in pair for _ in range(8)]
        await asyncio.sleep(chance.uniform(0, 0.15))
        for mirror in chance.sample(pair, 2):
            await kill(mirror)
            await asyncio.sleep(chance.uniform(0, 0.03))
        outcomes = await asyncio.gather(*pulls)
        wrong = [outcome for outcome in outcomes if outcome.startswith("wrong")]
        assert wrong == [], f"seed {seed}, round {round_number}"
    for file in (mirrors.cache.path / "blobs" / "sha256").iterdir():
        assert content.digest_of(file.read_bytes()) == f"sha256:{file.name}"
    survivors = await mirrors.start(2, cache={"max_size": "16MiB"})
    for blob in blobs:
        await asyncio.gather(*(pull(mirror, blob) for mirror in survivors))
    await until(lambda: mirrors.cache.size() <= 16 * MIB, "the limit holds")


async def _try(mirror: Serving, blob: FakeBlob) -> str:
    """Pull from a mirror that may die meanwhile: whole and right, or visibly cut."""
    try:
        response, body = await mirror.get(path_of(blob))
    except Exception as cut:  # however the client's library tells it
        return type(cut).__name__
    return "right" if response.status == 200 and body == blob.data else f"wrong: {response.status} {body[:200]!r}"


async def test_a_reader_in_another_process_outlives_the_file(mirrors: Mirrors, registry: FakeRegistry) -> None:
    blob, gate = put(registry, 4 * MIB), Gate()
    registry.fault(path_of(blob), stop_at(2 * MIB, gate))
    others = [put(registry, 2 * MIB, number) for number in range(6)]
    writer, other = await mirrors.start(2, cache={"max_size": "8MiB"})
    async with reading(blob, writer, other) as (own, along):
        gate.open()
        assert await own.comes_whole()
        await committed(mirrors.cache, blob)
        for filler in others:
            await pull(writer, filler)
        await until(lambda: not mirrors.cache.file(blob.digest).exists(), "it is thrown out")
        assert await along.comes_whole()

"""`mirror scrub`: every stored byte against its digest, with a mirror running on the same folder or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.fakes import content, faults
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import RunningMirror, StartMirror
from tests.integration.raw_http import raw_client
from tests.integration.scrubbing import (
    IMAGE,
    LARGE,
    LONG,
    MANIFEST,
    MIB,
    Scrub,
    command,
    config,
    filled,
    flip,
    path_of,
    pull,
    rewrite,
    scrubbed,
)
from tests.integration.waiting import until

__all__ = ["command", "config", "filled"]


# The command. --------------------------------------------------------------------------------------------


async def test_a_clean_cache_costs_nothing_but_reading(filled: CacheFolder, command: Scrub, journal: Journal) -> None:
    before = filled.digests()
    result = await command()
    assert result.code == 0
    document = result.document
    assert document.pop("seconds") > 0
    nothing: dict[str, list[object]] = {"findings": [], "strangers": [], "unfinished": []}
    assert document == {"files": len(before), "bytes": filled.size(), **nothing}
    assert not journal.entries
    assert filled.digests() == before


async def test_whatever_is_wrong_with_a_file_is_mended(
    filled: CacheFolder, command: Scrub, start_mirror: StartMirror, journal: Journal
) -> None:
    first, second = IMAGE.layers
    flip(filled, IMAGE.digest)
    flip(filled, LARGE.digest, at=MIB)
    flip(filled, LONG.digest)
    rewrite(filled, first.digest, first.data[:-1])
    rewrite(filled, second.digest, second.data + b"\0")
    rewrite(filled, IMAGE.config.digest, b"")
    result = await command()
    assert result.code == 1
    assert result.actions() == {
        IMAGE.digest: ("manifest", "damaged", "refetched"),
        LARGE.digest: ("blob", "damaged", "refetched"),
        LONG.digest: ("blob", "damaged", "refetched"),
        first.digest: ("blob", "resized", "refetched"),
        second.digest: ("blob", "resized", "refetched"),
        IMAGE.config.digest: ("blob", "resized", "refetched"),
    }
    assert len(journal.select("GET")) == 6
    await scrubbed(filled.path)
    journal.entries.clear()
    async with start_mirror() as mirror:
        await pull(mirror, MANIFEST, *(path_of(blob) for blob in (*IMAGE.blobs, LARGE, LONG)))
    assert not journal.entries


async def test_fast_finds_by_length_and_reads_nothing(filled: CacheFolder, command: Scrub) -> None:
    flip(filled, LARGE.digest)
    assert (await command("--fast")).code == 0
    rewrite(filled, LARGE.digest, LARGE.data[:-1])
    result = await command("--fast")
    assert (result.code, result.actions()) == (1, {LARGE.digest: ("blob", "resized", "refetched")})
    await scrubbed(filled.path)


async def test_a_dry_run_changes_nothing(filled: CacheFolder, command: Scrub, journal: Journal) -> None:
    flip(filled, LARGE.digest)
    flip(filled, IMAGE.digest)

    def seen() -> dict[str, tuple[int, int, bytes]]:
        every = {digest: filled.file(digest) for digest in filled.digests()}
        return {
            digest: (file.stat().st_ino, file.stat().st_mtime_ns, file.read_bytes()) for digest, file in every.items()
        }

    before = seen()
    result = await command("--dry-run")
    assert result.code == 1 | 4
    assert set(result.actions().values()) == {("blob", "damaged", "left"), ("manifest", "damaged", "left")}
    assert seen() == before
    assert not journal.entries


async def test_a_repository_that_refuses_does_not_keep_another_from_giving_it(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder, command: Scrub
) -> None:
    repositories = ("a/first", "b/second")
    for repository in repositories:
        registry.put_blob(repository, LARGE)
    async with start_mirror(scrub={"every": None}) as mirror:
        await pull(mirror, *(path_of(LARGE, repository) for repository in repositories))
    registry.remove_blob("a/first", LARGE.digest)
    registry.absent(path_of(LARGE, "a/first"))
    flip(cache_folder, LARGE.digest)
    result = await command()
    assert result.actions() == {LARGE.digest: ("blob", "damaged", "refetched")}
    await scrubbed(cache_folder.path)


async def test_what_upstream_cannot_give_is_removed(
    registry: FakeRegistry, filled: CacheFolder, command: Scrub
) -> None:
    flip(filled, LARGE.digest)
    await registry.stop()
    result = await command()
    assert (result.code, result.actions()) == (1, {LARGE.digest: ("blob", "damaged", "removed")})
    assert result.detail().startswith("docker.io/owner/app: ")
    assert LARGE.digest not in filled.digests()
    await scrubbed(filled.path)


async def test_what_upstream_gives_wrong_again_is_not_stored(
    registry: FakeRegistry, filled: CacheFolder, command: Scrub
) -> None:
    flip(filled, LARGE.digest)
    registry.always(path_of(LARGE), faults.wrong_bytes())
    result = await command()
    assert (result.code, result.actions()) == (1, {LARGE.digest: ("blob", "damaged", "removed")})
    assert "digest" in result.detail()
    assert LARGE.digest not in filled.digests()
    assert (await scrubbed(filled.path)).unfinished == []


async def test_what_came_from_an_upstream_that_is_not_configured_any_more_is_removed(
    filled: CacheFolder, command: Scrub, journal: Journal
) -> None:
    flip(filled, IMAGE.digest)
    upstreams = {"quay.io": {"endpoints": ["http://127.0.0.1:1"], "private_network": True}}
    result = await command(upstreams=upstreams, default_upstream="quay.io")
    assert result.actions() == {IMAGE.digest: ("manifest", "damaged", "removed")}
    assert "any more" in result.detail()
    assert not journal.entries


async def test_strangers_and_unfinished_files_are_named_and_left(
    start_mirror: StartMirror, registry: FakeRegistry, filled: CacheFolder, command: Scrub
) -> None:
    late, gate = content.blob(3 * MIB, "late"), Gate()
    registry.put_blob("owner/app", late)
    registry.fault(path_of(late), faults.stop_at(2 * MIB, gate))
    left = filled.path / "partial" / ("sha256-" + "1" * 64)
    stranger = filled.path / "blobs" / "sha256" / "notes.txt"
    for file in (left, stranger):
        file.write_bytes(b"12345")
    async with start_mirror(scrub={"every": None}) as mirror, raw_client(mirror) as client:
        await client.ask(path_of(late))
        partial = filled.partial(late.digest)
        await until(lambda: partial.exists() and partial.stat().st_size == 2 * MIB, "half of it is there")
        result = await command()
        assert stranger.exists()
        gate.open()
        assert (await client.answer()).body == late.data
    assert result.code == 0
    assert result.document["strangers"] == ["blobs/sha256/notes.txt"]
    assert {one["name"]: (one["bytes"], one["written"]) for one in result.document["unfinished"]} == {
        left.name: (5, False),
        partial.name: (2 * MIB, True),
    }


async def test_a_scrub_does_not_change_what_is_evicted_next(
    start_mirror: StartMirror, registry: FakeRegistry, cache_folder: CacheFolder, command: Scrub
) -> None:
    blobs = [content.blob(MIB, number) for number in range(3)]
    for blob in blobs:
        registry.put_blob("owner/app", blob)
    oldest, second, newest = (path_of(blob) for blob in blobs)
    async with start_mirror(scrub={"every": None}) as mirror:
        await pull(mirror, oldest, second, newest, oldest)
    assert (await command()).code == 0
    async with start_mirror(cache={"max_size": "2MiB"}, scrub={"every": None}):
        last = {blobs[0].digest, blobs[2].digest}
        await until(lambda: cache_folder.digests() == last, "what was used last is what is left")


# Beside a mirror. ----------------------------------------------------------------------------------------


@asynccontextmanager
async def load(mirror: RunningMirror, *paths: str) -> AsyncIterator[list[int]]:
    """Within this context, clients pull these paths without a pause; each answer must be right. Yields their count."""
    count = [0]

    async def go_on() -> None:
        while True:
            for path in paths:
                await pull(mirror, path)
                count[0] += 1

    clients = [asyncio.create_task(go_on()) for _ in range(3)]
    yield count
    for client in clients:
        client.cancel()
    ended = await asyncio.gather(*clients, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in ended), ended


async def test_beside_a_busy_mirror_it_mends_what_the_mirror_serves_next(
    start_mirror: StartMirror, filled: CacheFolder, command: Scrub, journal: Journal
) -> None:
    async with start_mirror(scrub={"every": None}) as mirror:
        await pull(mirror, MANIFEST)
        flip(filled, LARGE.digest)
        flip(filled, IMAGE.digest)
        rewrite(filled, LONG.digest, LONG.data[:-1])
        async with raw_client(mirror, receive_buffer=4096) as reader:
            await reader.ask(path_of(LARGE))
            await reader.head()
            async with load(mirror, MANIFEST, *map(path_of, IMAGE.blobs)) as pulled:
                result = await command()
                so_far = pulled[0]
                await until(lambda: pulled[0] > so_far + 3, "clients are served on")
            # Who began with the damaged file has all of it, and never a mixture.
            wrong = await reader.exactly(LARGE.size)
            assert wrong[:-1] == LARGE.data[:-1]
            assert wrong != LARGE.data
        assert result.code == 1
        actions = {digest: one[2] for digest, one in result.actions().items()}
        # The manifest may have been mended by the mirror, which forgets what it remembers when another process comes.
        assert actions | {IMAGE.digest: "refetched"} == dict.fromkeys(
            [LARGE.digest, IMAGE.digest, LONG.digest], "refetched"
        )
        await pull(mirror, MANIFEST, *(path_of(blob) for blob in (*IMAGE.blobs, LARGE, LONG)))
        assert len(journal.select("GET")) == 3
    await scrubbed(filled.path)

"""A start with very many files: the mirror answers while it still looks through them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from mirror.store.committed import Committed
from tests.fakes import content
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.integration.cache_folder import CacheFolder, all_of
from tests.integration.conftest import StartMirror
from tests.integration.steering import REPOSITORY, listed, pull
from tests.integration.waiting import until, until_metric

MIB = 1024 * 1024


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Until this is set, nobody gets to look through a cache."""
    gate, look_through = asyncio.Event(), Committed.look_through

    async def held(committed: Committed, manifests: Collection[str]) -> None:
        await gate.wait()
        await look_through(committed, manifests)

    monkeypatch.setattr(Committed, "look_through", held)
    gate.set()
    return gate


async def test_an_image_is_served_and_another_stored_before_all_files_are_known(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder, gate: asyncio.Event, journal: Journal
) -> None:
    image, other = content.image(layers=2, seed="image"), content.image(layers=2, seed="other")
    registry.add_image(REPOSITORY, "there", image)
    registry.add_image(REPOSITORY, "new", other)
    async with start_mirror() as mirror:
        await pull(mirror, "there", image)
    size, before = cache_folder.size(), journal.count()
    gate.clear()
    async with start_mirror() as mirror:
        assert await mirror.metric("mirror_cache_bytes") == size
        await pull(mirror, "there", image)
        assert journal.count() == before
        await pull(mirror, "new", other)
        listing = asyncio.create_task(listed(mirror))
        await until(lambda: all_of(other) <= cache_folder.digests(), "all of it is stored")
        assert not listing.done()
        gate.set()
        assert set(await listing) == {f"docker.io/{REPOSITORY}:there", f"docker.io/{REPOSITORY}:new"}
        await until_metric(mirror, "mirror_cache_bytes", cache_folder.size())


async def test_nothing_is_forgotten_by_a_mirror_that_is_stopped_before_it_knows_all_files(
    registry: FakeRegistry,
    journal: Journal,
    start_mirror: StartMirror,
    cache_folder: CacheFolder,
    gate: asyncio.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mirror.store.cache._LEAVING_SECONDS", 0.0)
    image = content.image(layers=1)
    registry.add_image(REPOSITORY, "there", image)
    async with start_mirror() as mirror:
        await pull(mirror, "there", image)
    document, before = cache_folder.index(), journal.count()
    gate.clear()
    async with start_mirror() as mirror:
        await pull(mirror, "there", image)
    assert cache_folder.index() == document
    assert cache_folder.digests() == all_of(image)
    gate.set()
    async with start_mirror() as mirror:
        await pull(mirror, "there", image)
        assert journal.count() == before

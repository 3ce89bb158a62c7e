"""What the mirror keeps warm by itself: what is listed, what is pinned, and tags that clients keep asking for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.fakes import content
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.integration.cache_folder import CacheFolder, all_of
from tests.integration.conftest import StartMirror
from tests.integration.steering import REPOSITORY, get, pin, pull
from tests.integration.waiting import until, until_metric

AMD, ARM, NEW_AMD, NEW_ARM = (content.image(layers=1, seed=seed) for seed in ("amd", "arm", "new amd", "new arm"))
INDEX, NEW = content.index(AMD, ARM), content.index(NEW_AMD, NEW_ARM)
TAG = f"/v2/{REPOSITORY}/manifests/3.20"
FAILED = "mirror_warming_round_failed_images"


@pytest.fixture(autouse=True)
def images(registry: FakeRegistry) -> None:
    """An image of two platforms at upstream."""
    registry.add_image(REPOSITORY, "3.20", INDEX)
    registry.absent("/v2/library/nothing/*")


async def test_what_is_listed_is_there_without_anybody_asking(
    start_mirror: StartMirror, registry: FakeRegistry, tmp_path: Path
) -> None:
    registry.add_image("library/nginx", "1", NEW_AMD)
    (tmp_path / "images").write_text("nginx:1  # ours\n")
    warm = {"images": ["alpine:3.20"], "file": str(tmp_path / "images"), "platforms": ["linux/arm64"]}
    async with start_mirror(warm=warm) as mirror:
        await until_metric(mirror, 'mirror_warmed_total{outcome="warmed"}', 2)
        await registry.stop()
        await pull(mirror, "3.20", ARM)
        await pull(mirror, "1", NEW_AMD, name="library/nginx")


async def test_the_file_is_read_anew_for_each_round(start_mirror: StartMirror, tmp_path: Path) -> None:
    file = tmp_path / "images"
    file.write_text("")
    with capture_logs() as logs:
        async with start_mirror(warm={"file": str(file), "every": "50ms", "platforms": "all"}) as mirror:
            file.write_text("alpine:3.20")
            await until_metric(mirror, 'mirror_warmed_total{outcome="warmed"}', 1)
            file.write_text("nothing:1")
            await until_metric(mirror, FAILED, 1)
            file.unlink()
            await until(lambda: any("cannot be read" in line.get("cause", "") for line in logs), "it is told")
            # As an editor on Windows writes it.
            file.write_bytes("alpine:3.20\r\n".encode("utf-8-sig"))
            await until_metric(mirror, FAILED, 0)
    told = [line for line in logs if line["event"] == "not warmed"]
    assert told[0]["image"] == "docker.io/library/nothing:1"
    assert "upstream does not have it" in told[0]["cause"]


async def test_a_pinned_tag_that_moves_is_fetched_with_the_platforms_that_were_cached(
    start_mirror: StartMirror, registry: FakeRegistry, cache_folder: CacheFolder, journal: Journal
) -> None:
    async with start_mirror(warm={"every": "50ms"}) as mirror:
        await pull(mirror, "3.20", ARM)
        await pin(mirror, "alpine:3.20")
        registry.move_tag(REPOSITORY, "3.20", NEW)
        await until(lambda: all_of(NEW_ARM) <= cache_folder.digests(), "the new image is there")
        assert not journal.select("GET", path=f"*/{NEW_AMD.digest}")
        await registry.stop()
        await pull(mirror, "3.20", NEW_ARM)


async def test_a_hot_tag_is_revalidated_before_clients_have_to_wait(
    start_mirror: StartMirror, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.proxy.warming.hot.LOOK_SECONDS", 0.02)
    # All of its TTL is shortly before its end.
    monkeypatch.setattr("mirror.proxy.warming.hot.LEAD_SECONDS", 1000.0)
    monkeypatch.setattr("mirror.proxy.warming.hot.LEAD_SHARE", 1.0)
    async with start_mirror(warm={"hot": True}) as mirror:
        for _ in range(3):
            await get(mirror, TAG)
        await until_metric(mirror, 'mirror_hot_tags_refreshed_total{outcome="unchanged"}', 1)
        assert [entry.method for entry in journal.select(path=TAG)] == ["HEAD", "HEAD"]
        assert await get(mirror, TAG) == "mirror; hit"


async def test_hot_tags_are_left_alone_where_that_is_wanted(
    start_mirror: StartMirror, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.proxy.warming.hot.LOOK_SECONDS", 0.001)
    monkeypatch.setattr("mirror.proxy.warming.hot.LEAD_SECONDS", 1000.0)
    monkeypatch.setattr("mirror.proxy.warming.hot.LEAD_SHARE", 1.0)
    async with start_mirror(warm={"hot": False}) as mirror:
        for _ in range(30):
            await get(mirror, TAG)
        assert len(journal.select(path=TAG)) == 1


async def test_a_round_does_not_hold_up_a_stop(
    start_mirror: StartMirror, registry: FakeRegistry, journal: Journal
) -> None:
    wanted = [f"nothing:{number}" for number in range(500)]
    async with start_mirror(warm={"images": wanted}):
        await journal.wait_for(1, path="/v2/library/nothing/*")
    assert len({entry.path for entry in journal.select(path="/v2/library/nothing/*")}) < len(wanted)


async def test_offline_nothing_is_looked_after(start_mirror: StartMirror, journal: Journal) -> None:
    async with start_mirror(offline=True, warm={"images": ["alpine:3.20"]}) as mirror:
        body = {"images": ["alpine:3.20"]}
        async with mirror.session.post(f"{mirror.admin_url}/api/v1/warm", json=body) as response:
            told = json.loads((await response.text()).splitlines()[0])
        assert told["error"]["code"] == "upstream-offline"
        # That of the caller is the only one.
        assert await mirror.metric('mirror_warmed_total{outcome="failed"}') == 1
        assert await mirror.metric("mirror_warming_round_finished_timestamp_seconds") == 0
    assert journal.entries == []

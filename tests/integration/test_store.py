"""The cache folder: what lies in it, what survives a restart, and what happens when somebody else was there."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mirror.app import Mirror
from mirror.config import Config
from mirror.errors import ConfigError
from mirror.oci.digest import Digest
from mirror.oci.reference import Repository, Tag
from mirror.proxy.freshness import TagRecord
from mirror.proxy.routing import DOCKER_HUB, Route
from mirror.store.cache import _UPKEEP_SECONDS
from mirror.store.folder import Folder
from mirror.store.rows import Rows
from mirror.store.saved import _EVERY_SECONDS
from tests.fakes import content
from tests.fakes.content import FakeBlob, FakeImage, FakeIndex
from tests.fakes.faults import hold, stop_at
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import RunningMirror, StartMirror
from tests.integration.waiting import until, until_metric

MIB = 1024 * 1024
REPOSITORY = "library/alpine"
REF_NAME = "org.opencontainers.image.ref.name"


@pytest.fixture
def index(registry: FakeRegistry) -> FakeIndex:
    """Two platforms, under a tag."""
    index = content.index(content.image(layers=2, size=200_000, seed=1), content.image(layers=1, size=2 * MIB, seed=2))
    registry.add_image(REPOSITORY, "3.20", index)
    return index


def blob_path(digest: str, repository: str = REPOSITORY) -> str:
    return f"/v2/{repository}/blobs/{digest}"


def manifest_path(reference: str, repository: str = REPOSITORY) -> str:
    return f"/v2/{repository}/manifests/{reference}"


async def pull_image(mirror: RunningMirror, image: FakeImage) -> None:
    response, body = await mirror.get(manifest_path(image.digest))
    assert (response.status, body) == (200, image.manifest.data)
    assert response.headers["Content-Type"] == image.manifest.media_type
    for blob in image.blobs:
        response, body = await mirror.get(blob_path(blob.digest))
        assert (response.status, body) == (200, blob.data)


async def pull(mirror: RunningMirror, index: FakeIndex) -> None:
    """Pull by tag, all platforms, and check every byte."""
    response, body = await mirror.get(manifest_path("3.20"))
    assert (response.status, body) == (200, index.manifest.data)
    assert response.headers["Content-Type"] == index.manifest.media_type
    assert response.headers["Docker-Content-Digest"] == index.digest
    for image in index.images:
        await pull_image(mirror, image)
    await until_metric(mirror, "mirror_fills_in_flight", 0)


def digests_of(index: FakeIndex) -> set[str]:
    blobs = {blob.digest for image in index.images for blob in image.blobs}
    return blobs | {index.digest} | {image.digest for image in index.images}


def blobs_of(index: FakeIndex) -> list[FakeBlob]:
    return [blob for image in index.images for blob in image.blobs]


# Layout. ---------------------------------------------------------------------------------------------------


async def test_the_folder_is_an_oci_image_layout(
    start_mirror: StartMirror, cache_folder: CacheFolder, index: FakeIndex
) -> None:
    async with start_mirror() as mirror:
        await pull(mirror, index)
        expected = {"oci-layout", "blobs", "partial", "index", "records"}
        assert {entry.name for entry in cache_folder.path.iterdir()} >= expected
        await until(lambda: cache_folder.partials() == [], "nothing partial is left")
        assert cache_folder.digests() == digests_of(index)

    assert json.loads((cache_folder.path / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    for digest in cache_folder.digests():
        assert f"sha256:{hashlib.sha256(cache_folder.file(digest).read_bytes()).hexdigest()}" == digest
        assert cache_folder.mode(digest) == 0o444
        assert cache_folder.file(digest).stat().st_nlink == 1
    await until(lambda: cache_folder.partials() == [], "nothing partial is left")
    leftovers = [entry.name for entry in cache_folder.path.iterdir() if entry.name.startswith(".")]
    assert leftovers == []


async def test_index_json_at_shutdown(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder, index: FakeIndex
) -> None:
    registry.add_image("team/app", "latest", index.images[0])
    async with start_mirror() as mirror:
        await pull(mirror, index)
        await mirror.get(manifest_path("latest", "team/app"))

    document = cache_folder.index()
    assert document["schemaVersion"] == 2
    assert document["mediaType"] == content.OCI_INDEX
    listed = {}
    for descriptor in document["manifests"]:
        size = cache_folder.file(descriptor["digest"]).stat().st_size
        assert descriptor["size"] == size
        listed[descriptor.get("annotations", {}).get(REF_NAME, descriptor["digest"])] = descriptor
    assert listed.keys() == {
        "docker.io/library/alpine:3.20",
        "docker.io/team/app:latest",
        index.images[1].digest,
    }
    assert listed["docker.io/library/alpine:3.20"]["digest"] == index.digest
    assert listed["docker.io/library/alpine:3.20"]["mediaType"] == content.OCI_INDEX
    assert listed["docker.io/team/app:latest"]["digest"] == index.images[0].digest
    grants = {key: set(value.split()) for key, value in document["annotations"].items()}
    assert grants == {
        "mirror.grants/docker.io/library/alpine": digests_of(index),
        "mirror.grants/docker.io/team/app": {index.images[0].digest},
    }


def tags_listed(folder: CacheFolder) -> set[str]:
    """The names in index.json, without registry and repository; none if there is no such file yet."""
    if not (folder.path / "index.json").exists():
        return set()
    names = (one.get("annotations", {}).get(REF_NAME, "") for one in folder.index()["manifests"])
    return {name.rpartition(":")[2] for name in names} - {""}


async def test_index_json_is_there_soon_after_the_start_and_after_a_change(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (_UPKEEP_SECONDS, _EVERY_SECONDS) == (5, 60)
    for tag in ("1", "2"):
        registry.add_image(REPOSITORY, tag, content.image(seed=tag))
    async with start_mirror() as mirror:
        await until((cache_folder.path / "index.json").exists, "it is written at the start")
        await mirror.get(manifest_path("1"))
    monkeypatch.setattr("mirror.store.cache._UPKEEP_SECONDS", 0.3)
    (cache_folder.path / "index.json").unlink()
    async with start_mirror() as mirror:
        # What was known before is in it without anybody's asking.
        await until(lambda: tags_listed(cache_folder) == {"1"}, "it is written at the start")
        await mirror.get(manifest_path("2"))
        await asyncio.sleep(0.7)
        assert tags_listed(cache_folder) == {"1"}
        monkeypatch.setattr("mirror.store.saved._EVERY_SECONDS", 0.1)
        await until(lambda: tags_listed(cache_folder) == {"1", "2"}, "a change is written in its turn")
        written = (cache_folder.path / "index.json").stat().st_ino
        await asyncio.sleep(0.7)
        assert (cache_folder.path / "index.json").stat().st_ino == written


async def test_what_is_known_of_content_that_is_gone_is_forgotten(
    registry: FakeRegistry, journal: Journal, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    blobs = [content.blob(MIB, number) for number in range(4)]
    for blob in blobs:
        registry.put_blob(REPOSITORY, blob)
    async with start_mirror(cache={"max_size": "2MiB"}) as mirror:
        for blob in blobs:
            await mirror.get(blob_path(blob.digest))
            await until_metric(mirror, "mirror_fills_in_flight", 0)
        # A grant for a blob that never was on disk.
        await mirror.get(blob_path(blobs[0].digest), "HEAD")
        kept = {blob.digest for blob in blobs[2:]}
        await until(lambda: cache_folder.digests() == kept, "the limit holds")
    assert set(cache_folder.index()["annotations"][f"mirror.grants/docker.io/{REPOSITORY}"].split()) == kept

    journal.clear()
    async with start_mirror() as mirror:
        for blob in blobs:
            assert (await mirror.get(blob_path(blob.digest)))[1] == blob.data
    # What was kept is granted as before, what is gone is fetched anew.
    assert journal.paths() == [f"GET {blob_path(blob.digest)}" for blob in blobs[:2]]


def _tag_of(image: FakeImage) -> tuple[Route, Tag, TagRecord]:
    route = Route(DOCKER_HUB, Repository(REPOSITORY))
    return route, Tag("1"), TagRecord(Digest.parse(image.digest), 1.0)


async def test_what_is_learned_while_old_knowledge_is_sorted_out_is_kept(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = content.image(layers=1, seed="old"), content.image(layers=1, seed="new")
    registry.add_image(REPOSITORY, "1", old)
    registry.add_image(REPOSITORY, "kept", content.image(layers=1, seed="kept"))
    async with start_mirror() as mirror:
        assert (await mirror.get(manifest_path("1")))[1] == old.manifest.data
        await mirror.get(manifest_path("kept"))
    cache_folder.file(old.digest).unlink()
    registry.move_tag(REPOSITORY, "1", new)
    os.utime(cache_folder.path / "index.json", (0, 0))
    read, looked, go_on = Rows.items, asyncio.Event(), asyncio.Event()

    async def read_slowly(rows: Rows) -> dict[str, str]:
        found = await read(rows)
        if any(key.startswith("tag ") for key in found):
            looked.set()
            await go_on.wait()
        return found

    async with start_mirror() as mirror:
        cache = mirror.mirror._cache
        await until(lambda: tags_listed(cache_folder) == {"kept"}, "the tag of what is gone is forgotten")
        await cache.records.put_tag(*_tag_of(old))
        monkeypatch.setattr(Rows, "items", read_slowly)
        saving = asyncio.create_task(cache._tend(saves=True))
        await looked.wait()
        assert (await mirror.get(manifest_path("1")))[1] == new.manifest.data
        go_on.set()
        await saving
        await registry.stop()
        response, body = await mirror.get(manifest_path("1"))
        assert (response.status, body) == (200, new.manifest.data)


async def test_a_fill_keeps_its_grant_while_old_knowledge_is_sorted_out(
    registry: FakeRegistry, start_mirror: StartMirror
) -> None:
    blob = content.blob(3 * MIB)
    registry.put_blob(REPOSITORY, blob)
    gate = Gate()
    registry.fault(blob_path(blob.digest), stop_at(MIB, gate), method="GET")
    async with start_mirror() as mirror:
        reader = asyncio.create_task(mirror.get(blob_path(blob.digest)))
        await gate.reached()
        await mirror.mirror._cache._tend(saves=True)
        gate.open()
        assert (await reader)[1] == blob.data
        await until_metric(mirror, "mirror_fills_in_flight", 0)
        await registry.stop()
        assert (await mirror.get(blob_path(blob.digest)))[1] == blob.data


async def test_an_empty_cache_is_a_layout_too(start_mirror: StartMirror, cache_folder: CacheFolder) -> None:
    async with start_mirror():
        pass
    assert cache_folder.index()["manifests"] == []
    assert (cache_folder.path / "oci-layout").exists()


async def test_two_tags_of_one_manifest_are_listed_both(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    image = content.image()
    for tag in ("1", "1.0", "latest"):
        registry.add_image(REPOSITORY, tag, image)
    async with start_mirror() as mirror:
        for tag in ("1", "1.0", "latest"):
            await mirror.get(manifest_path(tag))
    names = {one["annotations"][REF_NAME] for one in cache_folder.index()["manifests"]}
    assert names == {f"docker.io/{REPOSITORY}:{tag}" for tag in ("1", "1.0", "latest")}


async def test_the_folder_is_for_its_owner_alone(start_mirror: StartMirror, cache_folder: CacheFolder) -> None:
    async with start_mirror():
        assert cache_folder.path.stat().st_mode & 0o077 == 0


# Restarts. -------------------------------------------------------------------------------------------------


async def test_a_restart_keeps_everything(
    journal: Journal, start_mirror: StartMirror, index: FakeIndex, cache_folder: CacheFolder
) -> None:
    async with start_mirror() as mirror:
        await pull(mirror, index)
    journal.clear()
    async with start_mirror() as mirror:
        await pull(mirror, index)
        response, _ = await mirror.get(manifest_path("3.20"), "HEAD")
        assert response.headers["Cache-Status"] == "mirror; hit"
        await until_metric(mirror, "mirror_cache_bytes", cache_folder.size())
        assert await mirror.metric('mirror_cache_objects{kind="manifest"}') == 3
        assert await mirror.metric('mirror_cache_objects{kind="blob"}') == len(blobs_of(index))
    assert not journal.entries


async def test_a_restart_keeps_the_age_of_a_tag(journal: Journal, start_mirror: StartMirror, index: FakeIndex) -> None:
    async with start_mirror() as mirror:
        await pull(mirror, index)
    journal.clear()
    async with start_mirror(freshness={"tag_ttl": "0s"}) as mirror:
        await pull(mirror, index)
    assert journal.paths() == [f"HEAD {manifest_path('3.20')}"]


async def test_a_restart_keeps_who_was_granted_what(
    registry: FakeRegistry, journal: Journal, start_mirror: StartMirror, index: FakeIndex
) -> None:
    registry.add_image("team/b", "1", index)
    blob = blobs_of(index)[0]
    async with start_mirror() as mirror:
        await pull(mirror, index)
        await mirror.get(blob_path(blob.digest, "team/b"))
    journal.clear()
    async with start_mirror() as mirror:
        for repository in (REPOSITORY, "team/b"):
            assert (await mirror.get(blob_path(blob.digest, repository)))[1] == blob.data
        assert not journal.entries
        other = blobs_of(index)[1]
        assert (await mirror.get(blob_path(other.digest, "team/b")))[1] == other.data
        assert journal.paths() == [f"HEAD {blob_path(other.digest, 'team/b')}"]


def remove(*names: str) -> Callable[[Path], None]:
    """Take files and folders away."""

    def act(path: Path) -> None:
        for name in names:
            if (path / name).is_dir():
                shutil.rmtree(path / name)
            else:
                (path / name).unlink()

    return act


def overwrite(data: bytes, *names: str) -> Callable[[Path], None]:
    """Put these bytes in the place of files."""

    def act(path: Path) -> None:
        for name in names:
            (path / name).write_bytes(data)

    return act


def spoil_pages(*names: str) -> Callable[[Path], None]:
    """Leave a database's first page, so that it looks like one, and spoil the others."""

    def act(path: Path) -> None:
        for name in names:
            data = bytearray((path / name).read_bytes())
            data[4096:] = os.urandom(len(data) - 4096)
            (path / name).write_bytes(data)

    return act


def replaced_by_a_file(*names: str) -> Callable[[Path], None]:
    def act(path: Path) -> None:
        for name in names:
            shutil.rmtree(path / name)
            (path / name).write_bytes(b"not a folder")

    return act


GARBAGE = b"\0\xff this is neither JSON nor a database \n" * 300

FREE_OF_CHARGE = {
    "index/ is gone": remove("index"),
    "records/ is gone": remove("records"),
    "both are gone": remove("index", "records"),
    "index.json is gone": remove("index.json"),
    "oci-layout is gone": remove("oci-layout"),
    "partial/ is gone": remove("partial"),
    "index.json is garbage": overwrite(GARBAGE, "index.json"),
    "index.json is empty": overwrite(b"", "index.json"),
    "index.json is another's": overwrite(b'{"schemaVersion": 2, "manifests": [{"a": 1}, 5, null]}', "index.json"),
    "index/cache.db is garbage": overwrite(GARBAGE, "index/cache.db"),
    "index/cache.db is empty": overwrite(b"", "index/cache.db"),
    "index/cache.db has bad pages": spoil_pages("index/cache.db"),
    "index/ is a file": replaced_by_a_file("index"),
    "records/cache.db is garbage": overwrite(GARBAGE, "records/cache.db"),
    "records/cache.db is empty": overwrite(b"", "records/cache.db"),
    "records/cache.db has bad pages": spoil_pages("records/cache.db"),
    "oci-layout is garbage": overwrite(GARBAGE, "oci-layout"),
}


@pytest.mark.parametrize("harm", FREE_OF_CHARGE.values(), ids=FREE_OF_CHARGE)
async def test_what_one_copy_loses_the_other_restores(
    journal: Journal,
    start_mirror: StartMirror,
    index: FakeIndex,
    cache_folder: CacheFolder,
    harm: Callable[[Path], None],
) -> None:
    async with start_mirror() as mirror:
        await pull(mirror, index)
    saved = cache_folder.index()
    journal.clear()
    harm(cache_folder.path)

    for _ in ("harmed", "healed"):
        async with start_mirror() as mirror:
            await pull(mirror, index)
            await until_metric(mirror, "mirror_cache_bytes", cache_folder.size())
            assert await mirror.metric('mirror_cache_objects{kind="manifest"}') == 3
        assert not journal.entries
        assert cache_folder.digests() == digests_of(index)
    rewritten = cache_folder.index()
    assert rewritten["annotations"] == saved["annotations"]
    assert sorted(map(str, rewritten["manifests"])) == sorted(map(str, saved["manifests"]))


AT_THE_COST_OF_REQUESTS = {
    "records/ and index.json are gone": remove("records", "index.json"),
    "all but the files is gone": remove("records", "index", "index.json", "oci-layout"),
    "records/ is gone, index.json garbage": lambda path: (
        remove("records")(path),
        overwrite(GARBAGE, "index.json")(path),
    ),
    "all is garbage": overwrite(GARBAGE, "records/cache.db", "index/cache.db", "index.json", "oci-layout"),
    "records/ is a file, index.json gone": lambda path: (
        replaced_by_a_file("records")(path),
        remove("index.json")(path),
    ),
}


@pytest.mark.parametrize("harm", AT_THE_COST_OF_REQUESTS.values(), ids=AT_THE_COST_OF_REQUESTS)
async def test_what_both_copies_lose_costs_requests_and_no_blob(
    journal: Journal,
    start_mirror: StartMirror,
    index: FakeIndex,
    cache_folder: CacheFolder,
    harm: Callable[[Path], None],
) -> None:
    async with start_mirror() as mirror:
        await pull(mirror, index)
    journal.clear()
    harm(cache_folder.path)

    async with start_mirror() as mirror:
        await pull(mirror, index)
        # Blobs are there and are asked for by HEAD; manifests have lost their media type.
        assert journal.count("GET", "*/blobs/*") == 0
        assert journal.count("HEAD", "*/blobs/*") == len({blob.digest for blob in blobs_of(index)})
        journal.clear()
        await pull(mirror, index)
        assert not journal.entries
    assert cache_folder.digests() == digests_of(index)
    async with start_mirror() as mirror:
        await pull(mirror, index)
    assert not journal.entries


async def test_without_records_a_refusal_still_counts(
    registry: FakeRegistry, start_mirror: StartMirror, index: FakeIndex, cache_folder: CacheFolder
) -> None:
    blob = blobs_of(index)[0]
    async with start_mirror() as mirror:
        await pull(mirror, index)
    remove("records", "index.json")(cache_folder.path)
    registry.remove_blob(REPOSITORY, blob.digest)

    async with start_mirror() as mirror:
        for method in ("GET", "HEAD"):
            response, body = await mirror.get(blob_path(blob.digest), method)
            assert (response.status, blob.data in body) == (404, False)


# Foreign things. -------------------------------------------------------------------------------------------


async def test_foreign_files_are_neither_served_nor_harmed(
    registry: FakeRegistry, start_mirror: StartMirror, index: FakeIndex, cache_folder: CacheFolder, tmp_path: Path
) -> None:
    async with start_mirror() as mirror:
        await pull(mirror, index)
    secret = tmp_path / "secret"
    secret.write_bytes(b"not for clients" * 100)
    folder = cache_folder.path / "blobs" / "sha256"
    linked, is_folder, is_pipe = (content.blob(10, name) for name in ("linked", "folder", "pipe"))
    for blob in (linked, is_folder, is_pipe):
        registry.put_blob(REPOSITORY, blob)
    foreign = ["README", "ab" * 31, "AB" * 32, ".hidden", "x" * 64]
    for name in foreign:
        (folder / name).write_bytes(b"foreign")
    cache_folder.file(linked.digest).symlink_to(secret)
    cache_folder.file(is_folder.digest).mkdir()
    os.mkfifo(cache_folder.file(is_pipe.digest))
    (folder / "loop").symlink_to(folder)
    (cache_folder.path / "blobs" / "md5").mkdir()
    partials = cache_folder.path / "partial"
    (partials / "foreign").symlink_to(secret)
    (partials / linked.digest.replace(":", "-")).symlink_to(secret)
    (partials / "of somebody else").write_bytes(b"foreign")
    left_behind = [f"sha256-{'ab' * 32}", f"sha256-{'ab' * 32}.7", f"sha512-{'ab' * 64}"]
    for name in left_behind:
        (partials / name).write_bytes(b"left behind")

    async with start_mirror() as mirror:
        await pull(mirror, index)
        for blob in (linked, is_folder, is_pipe):
            response, body = await mirror.get(blob_path(blob.digest))
            assert (response.status, body) == (200, blob.data)
        await until_metric(mirror, "mirror_fills_in_flight", 0)
        expected = sum(cache_folder.file(digest).stat().st_size for digest in digests_of(index)) + 20
        await until_metric(mirror, "mirror_cache_bytes", expected)

    assert secret.read_bytes() == b"not for clients" * 100
    assert not cache_folder.file(linked.digest).is_symlink()
    assert {path.name for path in folder.iterdir()} >= {*foreign, "loop"}
    # What somebody may go on with stays; of the others, no writer is left.
    whole, private, other = left_behind
    assert set(cache_folder.partials()) == {"foreign", "of somebody else", whole, other}
    assert private not in cache_folder.partials()


async def test_a_folder_of_the_cache_that_is_a_link_is_refused(
    start_mirror: StartMirror, cache_folder: CacheFolder, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (cache_folder.path / "blobs").mkdir(parents=True)
    (cache_folder.path / "blobs" / "sha256").symlink_to(elsewhere)
    with pytest.raises(ConfigError) as refused:
        async with start_mirror():
            pass
    assert refused.value.key == "cache.path"


@pytest.mark.parametrize("where", ["before the start", "while it runs"])
@pytest.mark.parametrize("how", ["other bytes", "truncated", "emptied", "removed"])
async def test_a_manifest_that_is_damaged_on_disk_is_fetched_again(
    journal: Journal,
    start_mirror: StartMirror,
    index: FakeIndex,
    cache_folder: CacheFolder,
    where: str,
    how: str,
) -> None:
    async with start_mirror() as mirror:
        await pull(mirror, index)
        if where == "while it runs":
            damage(cache_folder.file(index.digest), how)
            for reference in ("3.20", index.digest):
                response, body = await mirror.get(manifest_path(reference))
                assert (response.status, body) == (200, index.manifest.data)
    if where == "before the start":
        damage(cache_folder.file(index.digest), how)
    journal.clear()

    async with start_mirror() as mirror:
        await pull(mirror, index)
        assert journal.count("GET", "*/manifests/*") == 1
        assert journal.count(path="*/blobs/*") == 0
    assert cache_folder.file(index.digest).read_bytes() == index.manifest.data


def damage(file: Path, how: str) -> None:
    file.chmod(0o644)
    match how:
        case "other bytes":
            data = bytearray(file.read_bytes())
            data[len(data) // 2] ^= 0xFF
            file.write_bytes(data)
        case "truncated":
            os.truncate(file, file.stat().st_size // 2)
        case "emptied":
            os.truncate(file, 0)
        case _:
            file.unlink()


@pytest.mark.parametrize("running", [True, False])
async def test_a_blob_that_was_removed_by_hand_is_fetched_again(
    journal: Journal, start_mirror: StartMirror, index: FakeIndex, cache_folder: CacheFolder, running: bool
) -> None:
    blob = blobs_of(index)[0]
    async with start_mirror() as mirror:
        await pull(mirror, index)
        journal.clear()
        cache_folder.file(blob.digest).unlink()
        if running:
            await pull(mirror, index)
            await until_metric(mirror, "mirror_cache_bytes", cache_folder.size())
    async with start_mirror() as mirror:
        await pull(mirror, index)
    assert journal.paths() == [f"GET {blob_path(blob.digest)}"]
    assert cache_folder.digests() == digests_of(index)


@pytest.mark.parametrize("how", ["truncated", "emptied", "longer"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_blob_that_was_damaged_between_two_runs_is_fetched_again(
    registry: FakeRegistry,
    journal: Journal,
    start_mirror: StartMirror,
    cache_folder: CacheFolder,
    how: str,
    method: str,
) -> None:
    blob = content.blob(3 * MIB)
    registry.put_blob(REPOSITORY, blob)
    async with start_mirror() as mirror:
        assert (await mirror.get(blob_path(blob.digest)))[1] == blob.data
        await until_metric(mirror, "mirror_fills_in_flight", 0)
    file = cache_folder.file(blob.digest)
    file.chmod(0o644)
    os.truncate(file, {"truncated": MIB, "emptied": 0, "longer": 4 * MIB}[how])
    journal.clear()

    async with start_mirror() as mirror:
        response, body = await mirror.get(blob_path(blob.digest), method)
        assert (response.status, response.headers["Content-Length"]) == (200, str(blob.size))
        assert response.headers["Cache-Status"].startswith("mirror; fwd=miss")
        assert body == (blob.data if method == "GET" else b"")
        assert (await mirror.get(blob_path(blob.digest)))[1] == blob.data
        await until_metric(mirror, "mirror_fills_in_flight", 0)
        assert await mirror.metric("mirror_cache_bytes") == blob.size
    assert journal.count("GET", blob_path(blob.digest)) == 1
    assert cache_folder.file(blob.digest).read_bytes() == blob.data


async def test_a_blob_that_was_removed_by_hand_is_no_hit_for_a_head(
    journal: Journal, start_mirror: StartMirror, index: FakeIndex, cache_folder: CacheFolder
) -> None:
    blob = blobs_of(index)[0]
    async with start_mirror() as mirror:
        await pull(mirror, index)
        journal.clear()
        cache_folder.file(blob.digest).unlink()
        response, _ = await mirror.get(blob_path(blob.digest), "HEAD")
        assert response.headers["Cache-Status"] == "mirror; fwd=miss"
        assert journal.paths() == [f"HEAD {blob_path(blob.digest)}"]


async def test_a_blob_that_was_put_there_by_hand_is_a_hit_for_who_may_read_it(
    registry: FakeRegistry, journal: Journal, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    blob = content.blob(MIB)
    registry.put_blob(REPOSITORY, blob)
    file = cache_folder.file(blob.digest)
    file.parent.mkdir(parents=True)
    file.write_bytes(blob.data)

    async with start_mirror() as mirror:
        await until_metric(mirror, "mirror_cache_bytes", MIB)
        response, body = await mirror.get(blob_path(blob.digest))
        assert (response.status, body) == (200, blob.data)
    assert journal.paths() == [f"HEAD {blob_path(blob.digest)}"]


# The folder itself. ------------------------------------------------------------------------------------------


async def test_a_second_mirror_on_the_same_folder_is_welcome(
    registry: FakeRegistry, start_mirror: StartMirror, index: FakeIndex, cache_folder: CacheFolder
) -> None:
    gate = Gate()
    blob = blobs_of(index)[-1]
    registry.fault(blob_path(blob.digest), stop_at(MIB, gate))
    async with start_mirror() as mirror:
        async with mirror.session.get(mirror.url + blob_path(blob.digest)) as response:
            begun = await response.content.readexactly(MIB)
            # It has the blob as far as the first one has come, and ends without any harm to it.
            async with (
                start_mirror(drain_timeout="0s") as second,
                second.session.get(second.url + blob_path(blob.digest)) as also,
            ):
                assert await also.content.readexactly(MIB) == begun
            gate.open()
            assert begun + await response.read() == blob.data
        await pull(mirror, index)
    assert cache_folder.digests() == digests_of(index)
    assert registry.journal.count("GET", blob_path(blob.digest)) == 1
    async with start_mirror() as mirror:
        await pull(mirror, index)


@pytest.mark.parametrize("obstacle", ["a file", "a file above it"])
async def test_a_cache_path_that_cannot_be_a_folder(tmp_path: Path, obstacle: str) -> None:
    taken = tmp_path / "taken"
    taken.write_bytes(b"")
    path = taken if obstacle == "a file" else taken / "cache"
    local = "127.0.0.1:0"
    mirror = Mirror(Config(listen=local, admin={"listen": local}, cache={"path": str(path)}))  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as refused:
        async with mirror.running():
            pass
    assert refused.value.key == "cache.path"
    assert str(path) in str(refused.value)


async def test_index_json_is_never_seen_half_written(
    start_mirror: StartMirror, index: FakeIndex, cache_folder: CacheFolder
) -> None:
    async with start_mirror() as mirror:
        await pull(mirror, index)
    before = (cache_folder.path / "index.json").stat().st_ino
    held = (cache_folder.path / "index.json").open("rb")
    with held:
        async with start_mirror() as mirror:
            await pull(mirror, index)
        # Replaced by a new file, never overwritten.
        assert (cache_folder.path / "index.json").stat().st_ino != before
        assert json.loads(held.read())["schemaVersion"] == 2
    await until(lambda: not (cache_folder.path / ".index.json.new").exists(), "no draft is left")


# Races. ------------------------------------------------------------------------------------------------------


async def test_one_manifest_under_many_names_at_once(
    registry: FakeRegistry, journal: Journal, start_mirror: StartMirror, cache_folder: CacheFolder
) -> None:
    image = content.image(layers=1)
    tags = [f"1.{number}" for number in range(8)]
    for tag in tags:
        registry.add_image(REPOSITORY, tag, image)
    gate = Gate()
    registry.always(manifest_path(image.digest), hold(gate), method="GET")

    async with start_mirror() as mirror:
        clients = [asyncio.create_task(mirror.get(manifest_path(name))) for name in (*tags, image.digest)]
        await journal.wait_for(len(tags), "HEAD")
        await gate.reached()
        # Let those whose HEAD has just been answered take their next step.
        await mirror.get(manifest_path(image.digest), "POST")
        with capture_logs() as logs:
            gate.open()
            answers = await asyncio.gather(*clients)

        assert [(response.status, body) for response, body in answers] == [(200, image.manifest.data)] * len(clients)
        # They have one partial file between them; writers that take it from each other end with an error.
        assert [line for line in logs if line["log_level"] == "error"] == []
        assert cache_folder.digests() == {image.digest}
        assert cache_folder.file(image.digest).read_bytes() == image.manifest.data
        assert cache_folder.mode(image.digest) == 0o444
        await until(lambda: cache_folder.partials() == [], "nothing partial is left")
    assert journal.count("GET") == 1


class Held:
    """A file call that waits in its thread until the test lets it go on."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._let_go = threading.Event()

    def wait(self) -> None:
        self._reached.set()
        assert self._let_go.wait(20)

    async def reached(self) -> None:
        await until(self._reached.is_set, "the call is made")

    def let_go(self) -> None:
        self._let_go.set()


async def test_a_look_that_a_commit_overtakes_makes_nothing_forgotten(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob, other = content.blob(2 * MIB, 1), content.blob(MIB, 2)
    for one in (blob, other):
        registry.put_blob(REPOSITORY, one)
    gate = Gate()
    registry.fault(blob_path(blob.digest), stop_at(MIB, gate), method="GET")
    look = Held()
    open_ = Folder.open

    async with start_mirror() as mirror:
        reader = asyncio.create_task(mirror.get(blob_path(blob.digest)))
        await gate.reached()

        def open_slowly(folder: Folder, name: str) -> tuple[int, int] | None:
            found = open_(folder, name)
            if name in blob.digest:
                look.wait()
            return found

        def would_wait(*_: object) -> None:
            raise BlockingIOError

        monkeypatch.setattr(Folder, "open_at_once", would_wait)
        monkeypatch.setattr(Folder, "open", open_slowly)
        head = asyncio.create_task(mirror.get(blob_path(blob.digest), "HEAD"))
        await look.reached()
        gate.open()
        assert (await reader)[1] == blob.data
        await until_metric(mirror, "mirror_cache_bytes", blob.size)
        look.let_go()
        assert (await head)[0].status == 200

        await mirror.get(blob_path(other.digest))
        await until_metric(mirror, "mirror_fills_in_flight", 0)
        assert await mirror.metric("mirror_cache_bytes") == cache_folder.size()
        assert await mirror.metric('mirror_cache_objects{kind="blob"}') == 2


async def test_a_hit_on_a_file_that_is_being_evicted_counts_it_no_longer(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (content.blob(MIB, number) for number in range(3))
    for one in (first, second, third):
        registry.put_blob(REPOSITORY, one)
    eviction = Held()
    remove_ = Folder.remove

    def remove_slowly(folder: Folder, name: str) -> None:
        if name == first.digest.partition(":")[2]:
            eviction.wait()
        remove_(folder, name)

    monkeypatch.setattr(Folder, "remove", remove_slowly)
    async with start_mirror(cache={"max_size": "2MiB"}) as mirror:
        for one in (first, second):
            await mirror.get(blob_path(one.digest))
            await until_metric(mirror, "mirror_fills_in_flight", 0)
        pulled = asyncio.create_task(mirror.get(blob_path(third.digest)))
        await eviction.reached()
        assert (await mirror.get(blob_path(first.digest)))[1] == first.data
        eviction.let_go()
        assert (await pulled)[1] == third.data
        await until_metric(mirror, "mirror_fills_in_flight", 0)

        await mirror.get(blob_path(third.digest))
        await until(lambda: cache_folder.size() <= 2 * MIB, "the limit holds")
        await until_metric(mirror, "mirror_cache_bytes", cache_folder.size())
        assert await mirror.metric('mirror_cache_objects{kind="blob"}') == len(cache_folder.digests())

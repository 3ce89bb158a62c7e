"""`mirror scrub` as a judge of cache folders, and what rots in them."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mirror.app import Mirror
from mirror.config import Config
from mirror.proxy.scrubbing.scrub import Report, Thoroughness
from tests.fakes import content
from tests.fakes.content import FakeBlob
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.cache_folder import CacheFolder
from tests.integration.command import configuration, run, write
from tests.integration.conftest import RunningMirror, StartMirror
from tests.integration.waiting import until_metric

MIB = 1024 * 1024
IMAGE = content.image(layers=2)
LARGE = content.blob(3 * MIB, "large")
LONG = content.blob(100_000, "long", algorithm="sha512")
MANIFEST = f"/v2/owner/app/manifests/{IMAGE.digest}"


def path_of(blob: FakeBlob, repository: str = "owner/app") -> str:
    return f"/v2/{repository}/blobs/{blob.digest}"


async def scrubbed(path: Path) -> Report:
    """Verify a cache folder, and mend nothing; fail unless every file is good and everything there is the mirror's.

    A mirror may run meanwhile. What is unfinished is in the report: whether there may be any is for the test to say.
    """
    mirror = Mirror(Config(cache={"path": str(path), "max_size": "1TiB"}))  # type: ignore[arg-type]
    async with mirror.working():
        report = await mirror.scrub.run(Thoroughness(repairs=False))
    assert report.findings == []
    assert report.strangers == []
    return report


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """What the command said of a cache."""

    code: int
    document: dict[str, Any]

    def actions(self) -> dict[str, tuple[str, str, str]]:
        """Kind, problem and action of each finding, by digest."""
        found = self.document["findings"]
        return {one["digest"]: (one["kind"], one["problem"], one["action"]) for one in found}

    def detail(self) -> str:
        """Why no more was done about the only finding."""
        [found] = self.document["findings"]
        return str(found["detail"])


async def scrub(config: Mapping[str, Any], folder: Path, *options: str) -> Scrubbed:
    """Run `mirror scrub --json` as a process of its own."""
    ended = await run("scrub", "--config", write(config, folder), "--json", *options, folder=folder)
    assert "Traceback" not in ended.stderr, ended.stderr
    return Scrubbed(ended.code, json.loads(ended.stdout))


def is_open(file: Path, pid: int | str = "self") -> bool:
    """Tell whether a process has a file open."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            if os.readlink(descriptor) == str(file):
                return True
    return False


def flip(folder: CacheFolder, digest: str, at: int = -1) -> None:
    """Flip a bit of a file, whose length and times stay what they were."""
    data = bytearray(folder.file(digest).read_bytes())
    data[at] ^= 1
    rewrite(folder, digest, bytes(data))


def rewrite(folder: CacheFolder, digest: str, data: bytes) -> None:
    """Put other bytes into the very file of a digest."""
    file = folder.file(digest)
    file.chmod(0o600)
    with file.open("r+b") as opened:
        opened.write(data)
        opened.truncate()
    file.chmod(0o444)


async def pull(mirror: RunningMirror, *paths: str) -> None:
    """Pull these paths one after the other, each at rest before the next; every answer must be right."""
    for path in paths:
        response, body = await mirror.get(path)
        assert response.status == 200
        assert content.digest_of(body, path.rpartition("/")[2].partition(":")[0]) == path.rpartition("/")[2]
        await until_metric(mirror, "mirror_fills_in_flight", 0)


@pytest.fixture
def config(registry: FakeRegistry, token_service: FakeTokenService, tmp_path: Path) -> dict[str, Any]:
    """The configuration of the mirrors here, as a file has it."""
    return configuration(registry, token_service, tmp_path)


Scrub = Callable[..., Awaitable[Scrubbed]]


@pytest.fixture
def command(config: dict[str, Any], tmp_path: Path) -> Scrub:
    """Runs `mirror scrub --json`; keywords replace sections of the configuration."""

    async def ran(*options: str, **sections: Any) -> Scrubbed:
        return await scrub({**config, **sections}, tmp_path, *options)

    return ran


@pytest.fixture
async def filled(
    registry: FakeRegistry, start_mirror: StartMirror, cache_folder: CacheFolder, journal: Journal
) -> CacheFolder:
    """The folder of a mirror that has pulled all there is and has stopped; what it asked is forgotten."""
    registry.add_image("owner/app", "1.0", IMAGE)
    for blob in (LARGE, LONG):
        registry.put_blob("owner/app", blob)
    async with start_mirror(scrub={"every": None}) as mirror:
        await pull(mirror, MANIFEST, *(path_of(blob) for blob in (*IMAGE.blobs, LARGE, LONG)))
    journal.entries.clear()
    return cache_folder

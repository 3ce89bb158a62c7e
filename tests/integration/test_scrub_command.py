"""`mirror scrub` as an operator meets it: what it prints, and how it ends when it does not end well."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import content
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.cache_folder import CacheFolder
from tests.integration.command import Finished, configuration, run, write
from tests.integration.conftest import StartMirror
from tests.integration.scrubbing import flip, is_open, scrubbed
from tests.integration.waiting import until, until_metric

LAYER = content.blob(100 * 1024, "layer")
PATH = f"/v2/owner/app/blobs/{LAYER.digest}"
ENDLESS = "sha256:" + "f" * 64
"""The digest of a file that takes very long to be read, the last one to be examined."""


@pytest.fixture
def config(registry: FakeRegistry, token_service: FakeTokenService, tmp_path: Path) -> dict[str, Any]:
    """The configuration of the command; what is looked for in vain is where nobody listens."""
    registry.put_blob("owner/app", LAYER)
    cache = {"path": str(tmp_path / "cache"), "max_size": "1TiB"}
    return configuration(registry, token_service, tmp_path, cache=cache)


@pytest.fixture
async def filled(start_mirror: StartMirror, config: dict[str, Any], cache_folder: CacheFolder) -> CacheFolder:
    """A cache with one blob."""
    async with start_mirror(scrub={"every": None}) as mirror:
        assert (await mirror.get(PATH))[0].status == 200
        await until_metric(mirror, "mirror_fills_in_flight", 0)
    return cache_folder


async def told(config: dict[str, Any], folder: Path, *options: str) -> Finished:
    """Run the command to its end."""
    return await run("scrub", "--config", write(config, folder), *options, folder=folder)


# What it prints. -----------------------------------------------------------------------------------------


async def test_a_clean_cache_is_one_line(filled: CacheFolder, config: dict[str, Any], tmp_path: Path) -> None:
    ended = await told(config, tmp_path)
    assert (ended.code, ended.stderr) == (0, "")
    assert re.fullmatch(r"1 file, 100\.0 KiB, \d+\.\d s: all good\n", ended.stdout), ended.stdout


async def test_an_empty_cache_is_clean(config: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    ended = await told(config, tmp_path)
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout.startswith("0 files, 0 B, ")


async def test_a_bad_file_is_a_row_and_a_line_of_the_log(
    filled: CacheFolder, config: dict[str, Any], tmp_path: Path
) -> None:
    flip(filled, LAYER.digest)
    (filled.path / "blobs" / "sha512" / "with\x1b[31m\nand\udcff").write_bytes(b"")
    ended = await told(config, tmp_path)
    assert ended.code == 1
    header, row, empty, stranger, summary = ended.stdout.splitlines()
    assert header.split() == ["PROBLEM", "ACTION", "KIND", "SIZE", "DIGEST"]
    assert row.split() == ["damaged", "refetched", "blob", "100.0", "KiB", LAYER.digest]
    assert header.index("DIGEST") == row.index(LAYER.digest)
    assert empty == ""
    assert stranger == r"not the mirror's, left alone: 'blobs/sha512/with\x1b[31m\nand\udcff'"
    assert summary.endswith(": 1 bad, 1 refetched")
    [line] = ended.stderr.splitlines()
    assert LAYER.digest in line
    assert "bad file" in line


@pytest.mark.parametrize("how", ["missing", "a file", "a file inside"])
async def test_without_a_cache_it_ends_with_one_line_and_makes_none(
    config: dict[str, Any], tmp_path: Path, how: str
) -> None:
    cache = tmp_path / "cache"
    if how == "a file":
        cache.write_bytes(b"")
    elif how != "missing":
        (cache / "partial").mkdir(parents=True)
        (cache / "blobs").write_bytes(b"")
    ended = await told(config, tmp_path)
    assert (ended.code, ended.stdout) == (78, "")
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stderr.startswith("mirror: cache.path: ")
    assert cache.exists() is (how != "missing")


async def test_a_terminal_shows_how_far_it_is_and_nothing_of_that_at_the_end(
    filled: CacheFolder, config: dict[str, Any], tmp_path: Path
) -> None:
    flip(filled, LAYER.digest)
    ours, its = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mirror", "scrub", "--config", write(config, tmp_path)),
        cwd=tmp_path,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=its,
        stderr=its,
    )
    os.close(its)
    shown = await asyncio.to_thread(read_to_end, ours)
    assert await process.wait() == 1
    assert "1 file, 100.0 KiB\x1b[K\r\x1b[K\rPROBLEM" in shown
    assert shown.endswith("1 refetched\r\n")


def read_to_end(fd: int) -> str:
    """Return what was written to a terminal, until the last who could write to it is gone."""
    data = b""
    with suppress(OSError):  # EIO is its end
        while piece := os.read(fd, 65536):
            data += piece
    os.close(fd)
    return data.decode()


# How it ends. --------------------------------------------------------------------------------------------


@asynccontextmanager
async def examining(
    folder: CacheFolder, config: dict[str, Any], tmp_path: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command in the middle of a file that has no end."""
    endless = folder.file(ENDLESS)
    with endless.open("wb") as opened:
        opened.truncate(2**39)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mirror", "scrub", "--config", write(config, tmp_path)),
        cwd=tmp_path,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        await until(lambda: is_open(endless, process.pid), "the endless file is being read", 20)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
        endless.unlink(missing_ok=True)


@pytest.mark.parametrize("told_to", [signal.SIGINT, signal.SIGTERM])
async def test_told_to_stop_it_stops_and_says_how_far_it_was(
    filled: CacheFolder, config: dict[str, Any], tmp_path: Path, told_to: signal.Signals
) -> None:
    flip(filled, LAYER.digest)
    async with examining(filled, config, tmp_path) as process:
        process.send_signal(told_to)
        async with asyncio.timeout(45):
            stdout, stderr = await process.communicate()
    assert process.returncode == 128 + told_to
    assert stdout == b""
    bad, last = stderr.decode().splitlines()
    assert LAYER.digest in bad
    assert last == "mirror: interrupted after 1 file, 100.0 KiB; what was bad so far is named above"
    await scrubbed(filled.path)


async def test_killed_it_leaves_a_cache_that_is_as_good_as_before(
    filled: CacheFolder, config: dict[str, Any], tmp_path: Path, start_mirror: StartMirror
) -> None:
    flip(filled, LAYER.digest)
    async with examining(filled, config, tmp_path) as process:
        process.kill()
        await process.wait()
    # Mended before it was killed.
    report = await scrubbed(filled.path)
    assert (report.files, report.unfinished) == (1, [])
    async with start_mirror(scrub={"every": None}) as mirror:
        response, body = await mirror.get(PATH)
        assert (response.headers["Cache-Status"], body) == ("mirror; hit", LAYER.data)

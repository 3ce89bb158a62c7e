"""A mirror scrubs its own cache: when it is due, at its pace, and mends what is bad."""

from __future__ import annotations

import asyncio
import errno
import os

import pytest
from structlog.testing import capture_logs

from mirror.store import files
from tests.fakes.journal import Journal
from tests.integration.cache_folder import CacheFolder
from tests.integration.conftest import RunningMirror, StartMirror
from tests.integration.scrubbing import (
    LARGE,
    filled,
    flip,
    is_open,
    path_of,
    pull,
    scrubbed,
)
from tests.integration.waiting import until, until_metric

__all__ = ["filled"]


async def test_a_mirror_mends_its_cache_by_itself(
    start_mirror: StartMirror, filled: CacheFolder, journal: Journal
) -> None:
    flip(filled, LARGE.digest)
    count, size = len(filled.digests()), filled.size()
    with capture_logs() as logs:
        async with start_mirror(scrub={"bandwidth": "1GiB"}) as mirror:
            await until_metric(mirror, "mirror_scrubbed_bytes_total", size)
            assert await mirror.metric('mirror_scrubbed_files_total{result="ok"}') == count - 1
            assert await mirror.metric('mirror_scrubbed_files_total{result="refetched"}') == 1
            await pull(mirror, path_of(LARGE))
    [line] = [line for line in logs if line["event"] == "bad file"]
    assert (line["log_level"], line["digest"], line["problem"]) == ("error", LARGE.digest, "damaged")
    assert len(journal.select("GET")) == 1
    await scrubbed(filled.path)


async def finish_of(mirror: RunningMirror) -> float:
    """Wait until a scrub has ended, and return when that was."""
    async with asyncio.timeout(45):
        while not (at := await mirror.metric("mirror_scrub_finished_timestamp_seconds")):  # noqa: ASYNC110  # a page
            await asyncio.sleep(0.01)
    return at


async def test_a_mirror_that_was_scrubbed_lately_is_not_scrubbed_again(
    start_mirror: StartMirror, filled: CacheFolder
) -> None:
    async with start_mirror() as mirror:
        await until_metric(mirror, "mirror_scrubbed_bytes_total", filled.size())
        finished_at = await finish_of(mirror)
    async with start_mirror() as mirror:
        await until_metric(mirror, "mirror_scrub_finished_timestamp_seconds", finished_at)
        assert await mirror.metric("mirror_scrubbed_bytes_total") == 0


async def test_without_an_interval_there_is_no_scrub(start_mirror: StartMirror, filled: CacheFolder) -> None:
    async with start_mirror(scrub={"every": None}):
        assert "scrub" not in {task.get_name() for task in asyncio.all_tasks()}
    async with start_mirror():
        assert "scrub" in {task.get_name() for task in asyncio.all_tasks()}


async def test_a_stop_does_not_wait_for_a_scrub(start_mirror: StartMirror, filled: CacheFolder) -> None:
    stored = [filled.file(digest) for digest in filled.digests()]
    async with asyncio.timeout(45), start_mirror(scrub={"bandwidth": "1KiB"}):
        await until(lambda: any(map(is_open, stored)), "a file is being read")
    assert not any(map(is_open, stored))


async def test_a_file_that_the_disk_has_lost_is_fetched_again(
    start_mirror: StartMirror, filled: CacheFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = filled.file(LARGE.digest).stat().st_ino
    read_at = files.read_at

    def failing(fd: int, size: int, offset: int) -> bytes:
        if os.fstat(fd).st_ino == lost:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read_at(fd, size, offset)

    holder = filled.file(LARGE.digest).open("rb")  # so that its inode is nobody else's
    monkeypatch.setattr(files, "read_at", failing)
    with capture_logs() as logs, holder:
        async with start_mirror(scrub={"bandwidth": "1GiB"}) as mirror:
            await until_metric(mirror, 'mirror_scrubbed_files_total{result="refetched"}', 1)
    [line] = [line for line in logs if line["event"] == "bad file"]
    assert (line["digest"], line["problem"]) == (LARGE.digest, "unreadable")
    await scrubbed(filled.path)

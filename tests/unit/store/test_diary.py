from __future__ import annotations

import errno
import json
import os

import pytest

from mirror.errors import StoreFailed
from mirror.oci.digest import Digest
from mirror.store import files
from mirror.store.diary import StoredDiary
from tests.unit.store.cabinet import Cabinet, open_files

DIGEST = Digest.of(b"the last one")


def diary_of(cabinet: Cabinet) -> StoredDiary:
    return StoredDiary(cabinet.folders, cabinet.threads.scrubbing)


@pytest.fixture
def diary(cabinet: Cabinet) -> StoredDiary:
    return diary_of(cabinet)


async def test_nothing_was_scrubbed_in_a_new_folder(diary: StoredDiary) -> None:
    assert await diary.read() == (0.0, None)


@pytest.mark.parametrize("note", [(1_700_000_000.25, None), (0.0, DIGEST)])
async def test_what_is_noted_is_there_for_the_next_process(
    cabinet: Cabinet, diary: StoredDiary, note: tuple[float, Digest | None]
) -> None:
    await diary.write(*note)
    assert await diary_of(cabinet).read() == note


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"nonsense",
        b"[]",
        b"7",
        b"{}",
        b'{"finished_at": 1}',
        b'{"finished_at": null, "after": null}',
        b'{"finished_at": 1, "after": "md5:0"}',
        b'{"finished_at": 1, "after": 5}',
        b'{"finished_at": NaN, "after": null}',
        b'{"finished_at": 1e999, "after": null}',
        b"[" * 100_000,
        b'{"finished_at": 1' + b"0" * 400 + b', "after": null}',
    ],
)
async def test_a_note_that_makes_no_sense_is_none(cabinet: Cabinet, diary: StoredDiary, content: bytes) -> None:
    (cabinet.path / "run" / "scrub").write_bytes(content)
    assert await diary.read() == (0.0, None)


async def test_a_note_is_whole_or_the_one_before(
    cabinet: Cabinet, diary: StoredDiary, monkeypatch: pytest.MonkeyPatch
) -> None:
    await diary.write(5.0, DIGEST)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "write_all", full)
    with pytest.raises(StoreFailed, match="No space"):
        await diary.write(6.0, None)
    assert await diary.read() == (5.0, DIGEST)
    assert json.loads((cabinet.path / "run" / "scrub").read_bytes())["finished_at"] == 5.0
    assert sorted(name for name in os.listdir(cabinet.path / "run") if "scrub" in name) == ["scrub"]


async def test_one_process_scrubs_at_a_time(cabinet: Cabinet, diary: StoredDiary) -> None:
    async with Cabinet(cabinet.path) as beside:
        other = diary_of(beside)
        before = open_files()
        assert await diary.take()
        assert not await other.take()
        await other.give_back()
        assert not await other.take()
        await diary.give_back()
        assert await other.take()
        await other.give_back()
        assert open_files() == before


async def test_who_dies_while_it_scrubs_stops_nobody(cabinet: Cabinet, diary: StoredDiary) -> None:
    (cabinet.path / "run" / "scrubbing").write_bytes(b"")
    assert await diary.take()
    await diary.give_back()

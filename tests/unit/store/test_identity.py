"""The name of a cache folder: one for all who share it, another one for every other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mirror.store.drafts import replace
from mirror.store.folders import Folders
from mirror.store.identity import shared_identity


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Folders]:
    """An open cache folder."""
    opened = Folders(tmp_path / "cache")
    opened.start()
    yield opened
    opened.close()


def test_it_is_given_once(folders: Folders, tmp_path: Path) -> None:
    name = shared_identity(folders)
    assert re.fullmatch(r"mirror-[0-9a-f]{16}", name)
    assert shared_identity(folders) == name
    other = Folders(tmp_path / "other")
    other.start()
    assert shared_identity(other) != name
    other.close()


def test_all_who_come_at_once_have_the_same_one(folders: Folders) -> None:
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(lambda _: shared_identity(folders), range(64)))) == 1


@pytest.mark.parametrize("damage", [b"", b"\x00" * 24, b"mirror-0123", b"\xff\n", b"mirror-" + b"G" * 16 + b"\n"])
def test_a_damaged_name_is_followed_by_a_good_one(folders: Folders, damage: bytes) -> None:
    replace(folders.run, "identity", damage)
    name = shared_identity(folders)
    assert shared_identity(folders) == name

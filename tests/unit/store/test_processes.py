from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.store.folders import Folders
from mirror.store.processes import Processes
from tests.unit.store.cabinet import open_files


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Folders]:
    """An open cache folder."""
    opened = Folders(tmp_path)
    opened.start()
    yield opened
    opened.close()


def names(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "run").iterdir() if path.name.startswith("process-")]


@pytest.fixture
def one(folders: Folders) -> Iterator[Processes]:
    """A process that knows by now that it is alone."""
    process = Processes(folders)
    process.enter()
    process.had_company()
    process.had_company()
    yield process
    process.leave()


def test_the_first_look_takes_nothing_for_granted(folders: Folders) -> None:
    process = Processes(folders)
    process.enter()
    assert process.had_company()
    assert not process.had_company()
    process.leave()


def test_company_is_had_while_another_is_there_and_once_more_when_it_left(folders: Folders, one: Processes) -> None:
    assert not one.had_company()
    other = Processes(folders)
    other.enter()
    assert one.had_company()
    assert one.had_company()
    assert other.had_company()
    other.leave()
    assert one.had_company()
    assert not one.had_company()


def test_one_that_came_and_went_between_two_looks_was_company(folders: Folders, one: Processes) -> None:
    other = Processes(folders)
    other.enter()
    other.leave()
    assert one.had_company()
    assert not one.had_company()


def test_one_that_left_leaves_nothing(folders: Folders, tmp_path: Path) -> None:
    process = Processes(folders)
    process.enter()
    assert len(names(tmp_path)) == 1
    process.leave()
    process.leave()
    assert names(tmp_path) == []


def test_one_that_died_is_no_company_and_leaves_nothing(one: Processes, tmp_path: Path) -> None:
    (tmp_path / "run" / "process-0123456789abcdef").touch()
    before = open_files()
    assert not one.had_company()
    assert len(names(tmp_path)) == 1
    assert open_files() == before


def test_other_files_are_no_processes(one: Processes, tmp_path: Path) -> None:
    (tmp_path / "run" / "room").touch()
    assert not one.had_company()
    assert (tmp_path / "run" / "room").exists()


def test_one_that_comes_while_another_looks_comes_all_the_same(
    folders: Folders, one: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock
    looks = [one.had_company]

    def slowly(fd: int, operation: int) -> None:
        if looks:
            # The file is there and nobody has its lock yet: to the other, it is a dead one's.
            looks.pop()()
        flock(fd, operation)

    other = Processes(folders)
    monkeypatch.setattr(fcntl, "flock", slowly)
    other.enter()
    assert looks == []
    assert one.had_company()
    assert len(names(tmp_path)) == 2
    other.leave()

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mirror.store import files
from mirror.store.drafts import is_writable, replace, sweep
from mirror.store.files import in_memory, read_ahead, seal, write_all
from mirror.store.folder import Folder
from tests.unit.store.cabinet import open_files


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    """The folder `here`, which an outside file lies beside."""
    (tmp_path / "outside").write_bytes(b"outside")
    opened = Folder(tmp_path / "here")
    yield opened
    opened.close()


def content(folder: Folder, name: str) -> bytes | None:
    return folder.read(name)


def test_a_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    Folder(tmp_path / "a" / "b").close()
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_link_is_not_taken_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(OSError, match="link"):
        Folder(tmp_path / "link")


def test_a_file_opens_with_its_size(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "here" / "file").write_bytes(b"content")
    opened = folder.open("file")
    assert opened is not None
    fd, size = opened
    assert (os.pread(fd, 100, 0), size) == (b"content", 7)
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_what_is_no_regular_file_is_not_there(folder: Folder, tmp_path: Path) -> None:
    here = tmp_path / "here"
    (here / "link").symlink_to(tmp_path / "outside")
    (here / "relative").symlink_to("../outside")
    (here / "dangling").symlink_to("nowhere")
    (here / "loop").symlink_to("loop")
    (here / "folder").mkdir()
    os.mkfifo(here / "fifo")
    for name in ("missing", "link", "relative", "dangling", "loop", "folder", "fifo"):
        assert folder.open(name) is None, name
        assert folder.read(name) is None, name
    assert list(folder.entries()) == []


def test_a_socket_is_not_there_either(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path / "here")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        assert folder.open("socket") is None


def test_creating_and_replacing_do_not_follow_links(folder: Folder, tmp_path: Path) -> None:
    for name in ("created", "replaced"):
        (tmp_path / "here" / name).symlink_to(tmp_path / "outside")
    with pytest.raises(FileExistsError):
        folder.create("created")
    replace(folder, "replaced", b"new")
    assert (tmp_path / "outside").read_bytes() == b"outside"
    assert not (tmp_path / "here" / "replaced").is_symlink()
    assert content(folder, "replaced") == b"new"


def test_a_new_file_is_its_owner_s_alone_and_takes_nobody_s_name(folder: Folder) -> None:
    fd = folder.create("file")
    assert os.fstat(fd).st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        folder.create("file")
    os.close(fd)


def test_removing_leaves_it_to_whoever_has_it_open(folder: Folder) -> None:
    fd = folder.create("file")
    write_all(fd, b"content")
    folder.remove("file")
    folder.remove("file")
    assert folder.open("file") is None
    assert os.pread(fd, 100, 0) == b"content"
    os.close(fd)


def test_a_moved_file_replaces_what_was_there(folder: Folder, tmp_path: Path) -> None:
    target = Folder(tmp_path / "there")
    fd = folder.create("new")
    write_all(fd, b"new")
    replace(target, "old", b"old")
    folder.move("new", fd, target, "old")
    assert target.read("old") == b"new"
    assert folder.open("new") is None
    os.close(fd)
    target.close()


def test_only_the_file_that_was_written_is_moved(folder: Folder, tmp_path: Path) -> None:
    target = Folder(tmp_path / "there")
    first = folder.create("new")
    folder.remove("new")
    with pytest.raises(FileNotFoundError):
        folder.move("new", first, target, "old")
    second = folder.create("new")
    with pytest.raises(FileNotFoundError):
        folder.move("new", first, target, "old")
    assert target.open("old") is None
    assert folder.exists("new")
    os.close(first)
    os.close(second)
    target.close()


def test_replacing_is_all_or_nothing(folder: Folder) -> None:
    replace(folder, "file", b"old")
    opened = folder.open("file")
    assert opened is not None
    replace(folder, "file", b"new and longer")
    assert os.pread(opened[0], 100, 0) == b"old"
    assert content(folder, "file") == b"new and longer"
    assert [entry.name for entry in folder.entries()] == ["file"]
    os.close(opened[0])


def test_a_crash_in_the_middle_of_replacing_leaves_the_old_one(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    replace(folder, "file", b"old")
    before = open_files()
    for call in ("write", "fsync", "rename"):
        monkeypatch.setattr(os, call, full)
        with pytest.raises(OSError, match="No space"):
            replace(folder, "file", b"new")
        monkeypatch.undo()
        assert content(folder, "file") == b"old"
        assert [entry.name for entry in folder.entries()] == ["file"]
    assert open_files() == before


def test_two_that_replace_a_file_at_once_do_not_meet(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync
    seconds = [lambda: replace(folder, "file", b"second")]

    def meanwhile(fd: int) -> None:
        if seconds:
            seconds.pop()()
        fsync(fd)

    monkeypatch.setattr(os, "fsync", meanwhile)
    replace(folder, "file", b"first")
    assert content(folder, "file") == b"first"
    assert [entry.name for entry in folder.entries()] == ["file"]


def test_drafts_of_the_dead_are_swept(folder: Folder, tmp_path: Path) -> None:
    here = tmp_path / "here"
    for name, age in ((".file.0a1b.new", 120), (".file.2c3d.new", 0), ("file", 120)):
        (here / name).write_bytes(b"half")
        os.utime(here / name, (time.time() - age,) * 2)
    sweep(folder)
    assert sorted(entry.name for entry in folder.entries()) == [".file.2c3d.new", "file"]


def test_entries_tell_size_and_time(folder: Folder, tmp_path: Path) -> None:
    replace(folder, "file", b"content")
    os.utime(tmp_path / "here" / "file", (1, 1_600_000_000))
    [entry] = folder.entries()
    assert (entry.name, entry.size, entry.modified) == ("file", 7, 1_600_000_000)


# Claims. ---------------------------------------------------------------------------------------------------


def claimed(folder: Folder, name: str = "file") -> int:
    fd = folder.claim(name)
    assert fd is not None
    return fd


def test_one_at_a_time_has_a_file(folder: Folder, tmp_path: Path) -> None:
    other = Folder(tmp_path / "here")
    fd = claimed(folder)
    before = open_files()
    assert folder.claim("file") is None
    assert other.claim("file") is None
    assert open_files() == before
    os.close(claimed(other, "another"))
    os.close(fd)
    os.close(claimed(other))
    other.close()


def test_a_claim_keeps_what_is_in_the_file(folder: Folder) -> None:
    replace(folder, "file", b"content")
    fd = claimed(folder)
    assert os.pread(fd, 100, 0) == b"content"
    os.close(fd)


def test_a_duplicate_keeps_the_file_claimed_until_it_is_given_back(folder: Folder) -> None:
    fd = claimed(folder)
    duplicate = files.duplicate(fd)
    os.close(fd)
    assert folder.claim("file") is None
    assert folder.is_locked("file")
    files.unlock(duplicate)
    assert not folder.is_locked("file")
    again = claimed(folder)
    assert not files.try_lock(duplicate)
    for opened in (duplicate, again):
        os.close(opened)


def test_a_file_that_is_not_there_is_not_locked(folder: Folder) -> None:
    before = open_files()
    assert not folder.is_locked("file")
    replace(folder, "file", b"")
    assert not folder.is_locked("file")
    assert open_files() == before


@pytest.mark.parametrize("meanwhile", ["removed", "renamed", "replaced"])
def test_a_file_that_goes_between_opening_and_locking_is_not_claimed(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    here = tmp_path / "here"
    (here / "file").write_bytes(b"gone")
    (here / "other").write_bytes(b"other")
    flock = fcntl.flock
    acts: dict[str, Callable[[], object]] = {
        "removed": (here / "file").unlink,
        "renamed": lambda: (here / "file").rename(here / "elsewhere"),
        "replaced": lambda: (here / "other").rename(here / "file"),
    }
    left = [acts[meanwhile]]

    def slowly(fd: int, operation: int) -> None:
        if left:
            left.pop()()
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", slowly)
    before = open_files()
    fd = claimed(folder)
    assert left == []
    assert open_files() == before + 1
    assert folder.has("file", fd)
    assert os.pread(fd, 100, 0) == (b"other" if meanwhile == "replaced" else b"")
    os.close(fd)


@pytest.mark.parametrize("planted", ["link", "dangling", "loop", "fifo", "socket"])
def test_what_is_no_file_gives_way_to_the_one_that_is_claimed(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: str
) -> None:
    name = tmp_path / "here" / "file"
    monkeypatch.chdir(tmp_path / "here")
    with socket.socket(socket.AF_UNIX) as listening:
        if planted == "fifo":
            os.mkfifo(name)
        elif planted == "socket":
            listening.bind("file")
        else:
            name.symlink_to({"link": "../outside", "dangling": "nowhere", "loop": "file"}[planted])
        before = open_files()
        fd = claimed(folder)
        assert open_files() == before + 1
    assert stat.S_ISREG(name.lstat().st_mode)
    os.close(fd)
    assert (tmp_path / "outside").read_bytes() == b"outside"
    assert not (tmp_path / "here" / "nowhere").exists()


def test_a_folder_in_its_place_is_an_error(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "here" / "file").mkdir()
    before = open_files()
    with pytest.raises(OSError, match="directory"):
        folder.claim("file")
    assert open_files() == before


@pytest.mark.parametrize(("code", "expected"), [(errno.ENOLCK, False), (errno.EOPNOTSUPP, False), (errno.EAGAIN, True)])
def test_whether_there_are_locks(folder: Folder, monkeypatch: pytest.MonkeyPatch, code: int, expected: bool) -> None:
    assert folder.can_lock()

    def failing(*_: object) -> None:
        raise OSError(code, "no")

    monkeypatch.setattr(fcntl, "flock", failing)
    assert folder.can_lock() is expected


# The disk. -------------------------------------------------------------------------------------------------


def test_a_folder_tells_when_names_came_and_went_but_not_of_just_now(folder: Folder, tmp_path: Path) -> None:
    replace(folder, "file", b"")
    assert folder.changed_at() is None
    os.utime(tmp_path / "here", (5, 5))
    assert folder.changed_at() == 5 * 10**9


def test_names_are_of_everything(folder: Folder, tmp_path: Path) -> None:
    replace(folder, "file", b"")
    (tmp_path / "here" / "link").symlink_to("file")
    (tmp_path / "here" / "inner").mkdir()
    assert sorted(folder.names()) == [("file", True), ("inner", False), ("link", False)]


def test_free_space_is_what_the_disk_says(folder: Folder, tmp_path: Path) -> None:
    status = os.statvfs(tmp_path)
    assert 0 < folder.free_space() <= status.f_blocks * status.f_frsize


@pytest.mark.parametrize("call", ["open", "write"])
def test_writable_leaves_no_trace(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    assert is_writable(folder)
    assert list((tmp_path / "here").iterdir()) == []

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    assert not is_writable(folder)
    monkeypatch.undo()
    assert list((tmp_path / "here").iterdir()) == []


def test_a_folder_that_cannot_be_listed_is_not_readable(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folder.readable()
    replace(folder, "file", b"content")
    assert folder.readable()

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "scandir", broken)
    assert not folder.readable()

    def too_many(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "scandir", too_many)
    assert folder.readable()


def test_a_sealed_file_is_read_only(folder: Folder) -> None:
    fd = folder.create("file")
    seal(fd)
    assert os.fstat(fd).st_mode & 0o777 == 0o444
    os.close(fd)


def test_all_is_written_even_to_what_takes_a_little_at_a_time() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    write_all(writing, b"")
    write_all(writing, b"x" * 5000)
    assert os.read(reading, 10_000) == b"x" * 5000
    os.close(reading)
    os.close(writing)


def test_what_was_read_ahead_is_in_memory(folder: Folder) -> None:
    replace(folder, "file", os.urandom(3_000_000))
    opened = folder.open("file")
    assert opened is not None
    fd, size = opened
    before = os.lseek(fd, 0, os.SEEK_CUR)
    read_ahead(fd, 0, size)
    read_ahead(fd, size, size)
    assert isinstance(in_memory(fd, 0, size), bool)
    assert not in_memory(fd, 0, size + 1)
    assert os.lseek(fd, 0, os.SEEK_CUR) == before
    os.close(fd)

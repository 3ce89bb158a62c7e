from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.store.files import Folder, in_memory, read_ahead, seal, write_all


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
    for name in ("created", "replaced", ".replaced.new"):
        (tmp_path / "here" / name).symlink_to(tmp_path / "outside")
    os.close(folder.create("created"))
    folder.replace("replaced", b"new")
    assert (tmp_path / "outside").read_bytes() == b"outside"
    assert not (tmp_path / "here" / "created").is_symlink()
    assert not (tmp_path / "here" / "replaced").is_symlink()
    assert content(folder, "replaced") == b"new"


def test_a_new_file_is_another_file(folder: Folder) -> None:
    first = folder.create("file")
    write_all(first, b"first")
    second = folder.create("file")
    write_all(second, b"second!")
    assert os.pread(first, 100, 0) == b"first"
    assert os.pread(second, 100, 0) == content(folder, "file") == b"second!"
    assert os.fstat(first).st_mode & 0o777 == 0o600
    os.close(first)
    os.close(second)


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
    target.replace("old", b"old")
    folder.move("new", fd, target, "old")
    assert target.read("old") == b"new"
    assert folder.open("new") is None
    os.close(fd)
    target.close()


def test_only_the_file_that_was_written_is_moved(folder: Folder, tmp_path: Path) -> None:
    target = Folder(tmp_path / "there")
    first = folder.create("new")
    second = folder.create("new")
    with pytest.raises(FileNotFoundError):
        folder.move("new", first, target, "old")
    folder.remove("new")
    with pytest.raises(FileNotFoundError):
        folder.move("new", second, target, "old")
    assert target.open("old") is None
    os.close(first)
    os.close(second)
    target.close()


def test_replacing_is_all_or_nothing(folder: Folder) -> None:
    folder.replace("file", b"old")
    opened = folder.open("file")
    assert opened is not None
    folder.replace("file", b"new and longer")
    assert os.pread(opened[0], 100, 0) == b"old"
    assert content(folder, "file") == b"new and longer"
    assert [entry.name for entry in folder.entries()] == ["file"]
    os.close(opened[0])


def test_a_crash_in_the_middle_of_replacing_leaves_the_old_one(folder: Folder, tmp_path: Path) -> None:
    folder.replace("file", b"old")
    (tmp_path / "here" / ".file.new").write_bytes(b"half of what was to co")
    assert content(folder, "file") == b"old"
    folder.replace("file", b"new")
    assert content(folder, "file") == b"new"
    assert [entry.name for entry in folder.entries()] == ["file"]


def test_entries_tell_size_and_time(folder: Folder, tmp_path: Path) -> None:
    folder.replace("file", b"content")
    os.utime(tmp_path / "here" / "file", (1, 1_600_000_000))
    [entry] = folder.entries()
    assert (entry.name, entry.size, entry.modified) == ("file", 7, 1_600_000_000)


def test_one_at_a_time_has_the_lock(folder: Folder, tmp_path: Path) -> None:
    other = Folder(tmp_path / "here")
    assert folder.lock()
    assert folder.lock()
    assert not other.lock()
    other.close()
    third = Folder(tmp_path / "here")
    folder_of_another = Folder(tmp_path / "elsewhere")
    assert folder_of_another.lock()
    folder_of_another.close()
    assert not third.lock()
    third.close()


def test_the_lock_ends_with_its_folder(tmp_path: Path) -> None:
    first = Folder(tmp_path)
    assert first.lock()
    first.close()
    second = Folder(tmp_path)
    assert second.lock()
    second.close()


def test_writable_leaves_no_trace(folder: Folder, tmp_path: Path) -> None:
    assert folder.writable()
    assert list((tmp_path / "here").iterdir()) == []
    (tmp_path / "here" / ".probe").mkdir()
    assert not folder.writable()


def test_a_folder_that_cannot_be_listed_is_not_readable(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folder.readable()
    folder.replace("file", b"content")
    assert folder.readable()

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "scandir", broken)
    assert not folder.readable()


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
    folder.replace("file", os.urandom(3_000_000))
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

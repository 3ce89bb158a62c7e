from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mirror.errors import StoreFailed
from mirror.oci.digest import Digest
from mirror.store import at_once
from mirror.store import folder as folder_module
from mirror.store.at_once import can_tell, can_tell_in, open_at_once
from mirror.store.folder import Folder
from mirror.store.threads import Threads
from tests.unit.store.cabinet import Cabinet, open_files
from tests.unit.store.rot import refuse, rewrite

DATA = b"some content"
DIGEST = Digest.of(DATA)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    """A folder with a file that was opened before, on a file system of this machine."""
    monkeypatch.setattr(folder_module, "can_tell", lambda _: True)
    (tmp_path / "file").write_bytes(DATA)
    opened = Folder(tmp_path)
    close(opened.open("file"))
    yield opened
    opened.close()


@pytest.fixture
async def known(cabinet: Cabinet, monkeypatch: pytest.MonkeyPatch) -> Cabinet:
    """A store with a blob that was opened before, on a file system of this machine."""
    monkeypatch.setattr(folder_module, "can_tell", lambda _: True)
    await cabinet.store(DATA)
    await look(cabinet)
    return cabinet


def close(opened: tuple[int, int] | None) -> None:
    assert opened is not None
    os.close(opened[0])


async def look(cabinet: Cabinet) -> None:
    body = await cabinet.blobs.open(DIGEST)
    assert body is not None
    assert os.pread(body.fileno(), 100, 0) == DATA
    body.close()


def no_thread(*_: object) -> None:
    raise AssertionError("a thread was asked")


def test_a_file_opens_at_once_with_its_size(folder: Folder) -> None:
    opened = folder.open_at_once("file")
    assert opened is not None
    fd, size = opened
    assert (os.pread(fd, 100, 0), size) == (DATA, len(DATA))
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_what_has_not_been_looked_up_does_not_open_at_once(folder: Folder) -> None:
    with pytest.raises(BlockingIOError):
        folder.open_at_once("never heard of")


def test_an_empty_folder_tells_as_a_file_in_it_does(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(DATA)
    folder, fd = os.open(tmp_path, os.O_RDONLY), os.open(file, os.O_RDONLY)
    try:
        assert can_tell_in(folder) in (can_tell(fd), None)
    finally:
        os.close(folder)
        os.close(fd)
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_that_takes_no_file_does_not_tell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = os.open(tmp_path, os.O_RDONLY)
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", full)
        assert can_tell_in(folder) is None
    os.close(folder)


@pytest.mark.parametrize("tells", [True, False])
def test_a_folder_tells_what_the_file_in_it_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tells: bool) -> None:
    monkeypatch.setattr(at_once, "can_tell", lambda _: tells)
    with (tmp_path / "file").open("wb") as nameless, monkeypatch.context() as patched:
        patched.setattr(os, "open", lambda *_, **__: os.dup(nameless.fileno()))
        assert can_tell_in(nameless.fileno()) is tells


def test_in_an_empty_folder_it_is_seen_at_once_that_something_is_not_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(folder_module, "can_tell_in", lambda _: True)
    monkeypatch.setattr(folder_module, "open_at_once", lambda *_, **__: os.open(tmp_path / "gone", os.O_RDONLY))
    folder = Folder(tmp_path)
    with pytest.raises(BlockingIOError):
        folder.open_at_once("gone")
    assert folder.open("gone") is None
    assert folder.open_at_once("gone") is None
    folder.close()


def test_what_is_no_regular_file_does_not_open_at_once_either(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    before = open_files()
    for name in ("link", "folder", "pipe"):
        assert folder.open(name) is None
        assert folder.open_at_once(name) is None
    assert open_files() == before


@pytest.mark.parametrize("answer", [False, True])
def test_a_file_system_of_another_machine_is_not_asked_on_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bool
) -> None:
    monkeypatch.setattr(folder_module, "can_tell", lambda _: False)
    monkeypatch.setattr(folder_module, "open_at_once", no_thread)
    (tmp_path / "file").write_bytes(DATA)
    folder = Folder(tmp_path)
    if answer:
        close(folder.open("file"))
    with pytest.raises(BlockingIOError):
        folder.open_at_once("file")
    folder.close()


@pytest.mark.parametrize(
    ("answers", "tells"),
    [
        (lambda: 1, True),
        (lambda: 0, True),
        (lambda: fail(errno.EAGAIN), True),
        (lambda: fail(errno.EOPNOTSUPP), False),
        (lambda: fail(errno.EIO), False),
    ],
    ids=["read", "empty", "would wait", "not supported", "broken"],
)
def test_a_file_system_that_tells_what_would_wait_is_one_of_this_machine(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, answers: Callable[[], int], tells: bool
) -> None:
    opened = folder.open("file")
    assert opened is not None
    with monkeypatch.context() as patch:
        patch.setattr(os, "preadv", lambda *_: answers())
        assert can_tell(opened[0]) is tells
    close(opened)


def fail(code: int) -> int:
    raise OSError(code, os.strerror(code))


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EINVAL, errno.EPERM])
def test_a_kernel_that_cannot_do_it_is_asked_once(folder: Folder, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    class OldKernel:
        asked = 0

        def syscall(self, *_: object) -> int:
            self.asked += 1
            ctypes.set_errno(code)
            return -1

    kernel = OldKernel()
    monkeypatch.setattr(at_once, "_libc", kernel)
    for _ in range(3):
        with pytest.raises(BlockingIOError):
            folder.open_at_once("file")
        close(folder.open("file"))
    assert kernel.asked == 1


def test_what_else_goes_wrong_is_told_as_it_is() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        open_at_once("file", os.O_RDONLY, dir_fd=-7)


async def test_a_hit_asks_no_thread(known: Cabinet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Threads, "run", no_thread)
    before = open_files()
    await look(known)
    assert open_files() == before
    assert not known.committed.is_leased(DIGEST)


async def test_a_hit_that_would_wait_does_so_in_a_thread(known: Cabinet, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, folder_module, "open_at_once", errno.EAGAIN)
    openers = []
    call = Folder.open

    def noted(folder: Folder, name: str) -> tuple[int, int] | None:
        openers.append(threading.current_thread())
        return call(folder, name)

    monkeypatch.setattr(Folder, "open", noted)
    await look(known)
    assert openers
    assert threading.main_thread() not in openers


async def test_a_file_that_another_process_took_away_is_no_hit(known: Cabinet) -> None:
    known.file(DIGEST).unlink()
    assert await known.blobs.open(DIGEST) is None
    assert DIGEST not in known.index
    assert not known.committed.is_leased(DIGEST)


async def test_a_file_that_another_process_mended_is_the_one_that_is_served(known: Cabinet) -> None:
    rotten = await known.blobs.open(DIGEST)
    assert rotten is not None
    rewrite(known.file(DIGEST), b"rotten bytes")
    mended = known.path / "mended"
    mended.write_bytes(DATA)
    mended.replace(known.file(DIGEST))
    await look(known)
    assert os.pread(rotten.fileno(), 100, 0) == b"rotten bytes"
    rotten.close()


async def test_a_file_that_was_cut_is_no_hit(known: Cabinet) -> None:
    rewrite(known.file(DIGEST), DATA[:-1])
    assert await known.blobs.open(DIGEST) is None
    assert not known.file(DIGEST).exists()
    assert not known.committed.is_leased(DIGEST)


async def test_what_was_purged_or_evicted_is_no_hit(known: Cabinet) -> None:
    assert await known.blobs.purge(DIGEST) == len(DATA)
    assert await known.blobs.open(DIGEST) is None
    await known.store(DATA)
    await look(known)
    await known.committed.remove(DIGEST)
    assert await known.blobs.open(DIGEST) is None


async def test_too_many_open_files_are_told_and_no_fault_of_the_file(
    known: Cabinet, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        refuse(patch, folder_module, "open_at_once", errno.EMFILE)
        refuse(patch, Folder, "open", errno.EMFILE)
        with pytest.raises(StoreFailed, match="open files"):
            await known.blobs.open(DIGEST)
    assert not known.committed.is_leased(DIGEST)
    await look(known)

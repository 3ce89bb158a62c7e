from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.oci.digest import Digest
from mirror.store.drafts import replace
from mirror.store.folders import Folders
from mirror.store.strangers import strangers
from tests.unit.store.cabinet import Cabinet

DIGEST_LIKE = "1" * 64


def found(folders: Folders) -> list[str]:
    return sorted(strangers(folders))


def plant(path: Path, how: str, outside: Path) -> None:
    """Put something there that the mirror did not."""
    match how:
        case "file":
            path.write_bytes(b"not yours")
        case "folder":
            path.mkdir()
            (path / "content").write_bytes(b"not yours")
        case "link to a file":
            path.symlink_to(outside)
        case "link to a folder":
            path.symlink_to(outside.parent)
        case "broken link":
            path.symlink_to(outside / "nowhere")
        case "pipe":
            os.mkfifo(path)
        case "socket":
            here = Path.cwd()
            os.chdir(path.parent)
            try:
                with socket.socket(socket.AF_UNIX) as bound:
                    bound.bind(path.name)
            finally:
                os.chdir(here)


KINDS = ["file", "folder", "link to a file", "link to a folder", "broken link", "pipe", "socket"]
PLACES = [
    "notes.txt",
    "blobs/sha256/notes.txt",
    "blobs/sha512/notes.txt",
    "partial/notes.txt",
    "run/notes.txt",
    "listings/notes.txt",
]


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Folders]:
    """An empty cache."""
    opened = Folders(tmp_path)
    opened.start()
    yield opened
    opened.close()


@pytest.fixture
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of somebody else."""
    file = tmp_path_factory.mktemp("outside") / "precious"
    file.write_bytes(b"precious")
    return file


@pytest.mark.parametrize("how", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_a_stranger_is_named_and_nothing_is_done_to_it(
    folders: Folders, tmp_path: Path, outside: Path, how: str, place: str
) -> None:
    path = tmp_path / place
    plant(path, how, outside)
    before = os.lstat(path), os.stat(outside)
    assert found(folders) == [place]
    assert (os.lstat(path), os.stat(outside)) == before


@pytest.mark.parametrize("how", [kind for kind in KINDS if kind != "file"])
@pytest.mark.parametrize(
    "place",
    [
        f"blobs/sha256/{DIGEST_LIKE}",
        f"partial/sha256-{DIGEST_LIKE}",
        f"run/sha256-{DIGEST_LIKE}",
        "run/scrub",
        ".index.json.01234567.new",
    ],
)
def test_a_name_of_ours_makes_nothing_but_a_file_ours(
    folders: Folders, tmp_path: Path, outside: Path, how: str, place: str
) -> None:
    plant(tmp_path / place, how, outside)
    assert found(folders) == [place]


@pytest.mark.parametrize(
    "place",
    [
        "blobs/sha256/" + "1" * 63,
        "blobs/sha256/" + "A" * 64,
        "blobs/sha512/" + "1" * 64,
        "partial/sha1-" + "1" * 40,
        "notes.new",
        "index.broken",
        "blobs/sha256/" + "1" * 64 + "\n",
        "blobs/sha256/with\udcffbyte",
    ],
)
def test_a_file_with_a_name_that_is_almost_ours_is_a_stranger(folders: Folders, tmp_path: Path, place: str) -> None:
    (tmp_path / place).write_bytes(b"")
    assert found(folders) == [place]


async def test_what_the_mirror_makes_is_no_stranger(cabinet: Cabinet) -> None:
    await cabinet.store(b"a blob")
    await cabinet.leave(b"hal", b"half")
    unfinished = await cabinet.blobs.begin(Digest.of(b"a manifest"))
    replace(cabinet.folders.run, "scrub", b"{}")
    for name in ("oci-layout", "index.json"):
        replace(cabinet.folders.root, name, b"{}")
    (cabinet.path / "records.broken-1700000000000000000").mkdir()
    (cabinet.path / "lost+found").mkdir()
    (cabinet.path / ".index.json.0123abcd.new").write_bytes(b"")
    (cabinet.path / "run" / ".scrub.0123abcd.new").write_bytes(b"")
    assert found(cabinet.folders) == []
    await unfinished.close()

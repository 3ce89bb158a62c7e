"""Files are put into place whole, or not at all, and what was there can be had back."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath

import pytest

from mirror.cli.setup.needs import CannotSetUp, ClientFile, Needs, Neighbours
from mirror.cli.setup.writing import changes, write

FILE = PurePosixPath("/etc/client/client.conf")


def refuse(_: str) -> str:
    raise CannotSetUp("is not to be merged")


def needs(*paths: PurePosixPath, content: str = "new\n") -> Needs:
    """A client whose files get a line more."""
    files = tuple(ClientFile(path, content, lambda text: text + content) for path in paths or (FILE,))
    return Needs(("client",), files, ())


def put(root: Path, text: str | bytes, path: PurePosixPath = FILE, mode: int = 0o644) -> Path:
    """Have a file there already."""
    file = root / path.relative_to("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    file.chmod(mode)
    return file


def written(root: Path, client: Needs) -> list[Path | None]:
    """Write all that a client needs; return the backups."""
    return [write(change) for change in changes(client, root)]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def refusal(root: Path, client: Needs) -> str:
    """Return why nothing is written: one line that names a file."""
    with pytest.raises(CannotSetUp) as raised:
        changes(client, root)
    message = str(raised.value)
    assert len(message.splitlines()) == 1
    assert message.startswith(str(root))
    return message


def test_a_new_file_comes_with_its_folders_and_can_be_read_by_all(tmp_path: Path) -> None:
    assert written(tmp_path, needs()) == [None]
    file = tmp_path / "etc/client/client.conf"
    assert file.read_text() == "new\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert names(file.parent) == {"client.conf"}


def test_a_file_that_was_there_keeps_its_mode_and_stays_as_a_backup(tmp_path: Path) -> None:
    file = put(tmp_path, "old\n", mode=0o600)
    os.chown(file, os.getuid(), os.getgid())
    [backup] = written(tmp_path, needs())
    assert backup is not None
    assert (file.read_text(), backup.read_text()) == ("old\nnew\n", "old\n")
    assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE(backup.stat().st_mode) == 0o600


def test_no_backup_takes_the_place_of_another(tmp_path: Path) -> None:
    file = put(tmp_path, "old\n")
    first, second = (written(tmp_path, needs())[0] for _ in range(2))
    assert first is not None
    assert second is not None
    assert [path.read_text() for path in (first, second, file)] == ["old\n", "old\nnew\n", "old\nnew\nnew\n"]
    assert names(file.parent) == {"client.conf", "client.conf.bak1", "client.conf.bak2"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_file_stays_its_owners(tmp_path: Path) -> None:
    file = put(tmp_path, "old\n")
    os.chown(file, 12345, 23456)
    written(tmp_path, needs())
    assert (file.stat().st_uid, file.stat().st_gid) == (12345, 23456)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real = put(tmp_path, "old\n", PurePosixPath("/srv/client.conf"))
    link = tmp_path / "etc/client/client.conf"
    link.parent.mkdir(parents=True)
    link.symlink_to("../../srv/client.conf")
    written(tmp_path, needs())
    assert link.is_symlink()
    assert real.read_text() == "old\nnew\n"


def test_a_link_that_leads_out_of_the_root_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("old\n")
    link = tmp_path / "root/etc/client/client.conf"
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    assert "is a link to" in refusal(tmp_path / "root", needs())
    assert outside.read_text() == "old\n"


def test_one_refusal_is_before_any_writing(tmp_path: Path) -> None:
    second = PurePosixPath("/etc/client/second.conf")
    put(tmp_path, "old\n", second)
    client = needs()
    refused = Needs(("client",), (*client.files, ClientFile(second, "new\n", refuse)), ())
    assert refusal(tmp_path, refused).endswith("second.conf is not to be merged")
    assert names(tmp_path / "etc/client") == {"second.conf"}


def test_neighbours_are_asked_and_left_alone(tmp_path: Path) -> None:
    put(tmp_path, "own\n")
    neighbour = put(tmp_path, "contradiction\n", PurePosixPath("/etc/client/other.conf"))

    def agree(text: str) -> None:
        if text != "own\n":
            raise CannotSetUp(f"says {text.strip()}")

    client = Needs(("client",), needs().files, (), Neighbours(("/etc/client/*.conf", "/etc/none/*"), agree))
    assert refusal(tmp_path, client).endswith("other.conf says contradiction")
    neighbour.write_text("own\n")
    assert len(changes(client, tmp_path)) == 1


def test_what_is_no_file_of_text(tmp_path: Path) -> None:
    file = put(tmp_path, b"\xff\xfe")
    assert "is not text" in refusal(tmp_path, needs())
    file.write_bytes(b"#" * (5 * 1024 * 1024))
    assert "larger than" in refusal(tmp_path, needs())
    file.unlink()
    file.mkdir()
    assert "is not a file" in refusal(tmp_path, needs())
    file.rmdir()
    os.mkfifo(file)
    assert "is not a file" in refusal(tmp_path, needs())
    file.unlink()
    file.parent.rmdir()
    file.parent.write_text("")
    assert "not a directory" in refusal(tmp_path, needs())


def test_a_folder_that_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "old\n")
    [change] = changes(needs(), tmp_path)

    def refuse_all(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse_all)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(CannotSetUp, match=r"client\.conf cannot be read or written: permission denied: run it as root"):
        write(change)


def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = put(tmp_path, "old\n")
    [change] = changes(needs(), tmp_path)

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(CannotSetUp, match="no space left on device"):
        write(change)
    assert file.read_text() == "old\n"
    assert names(file.parent) == {"client.conf"}


def test_the_remains_of_a_crash_are_not_in_the_way(tmp_path: Path) -> None:
    file = put(tmp_path, "old\n")
    file.with_name(f".{file.name}.{os.getpid()}").write_text("half")
    written(tmp_path, needs())
    assert file.read_text() == "old\nnew\n"
    assert names(file.parent) == {"client.conf", "client.conf.bak1"}

"""Puts files where clients read them: all or none refused beforehand, each in one step, what was there kept beside."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mirror.cli.setup.needs import CannotSetUp, ClientFile, Needs, Neighbours

_LARGEST = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Change:
    """What a file is to become; `old` is what it is, None if it is not there."""

    path: Path
    old: str | None
    new: str


def changes(needs: Needs, root: Path) -> list[Change]:
    """Return what has to be written below `root`, with nothing written yet; raises CannotSetUp, naming the file."""
    _look_around(needs.neighbours, {_below(root, file.path) for file in needs.files}, root)
    return [_change(file, root) for file in needs.files]


def write(change: Change) -> Path | None:
    """Put a change into place at once, and return where what was there is now; raises CannotSetUp.

    An existing file keeps its owner and its mode, and remains as a backup of its own, under a name no client reads.
    """
    path = change.path
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            _draft(draft, change)
            backup = _kept(path) if change.old is not None else None
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        _sync(path.parent)
    return backup


def _change(file: ClientFile, root: Path) -> Change:
    path = _below(root, file.path)
    with _told(path):
        old = _read(path)
        return Change(path, old, file.content if old is None else file.merged(old))


def _look_around(neighbours: Neighbours, own: set[Path], root: Path) -> None:
    for pattern in neighbours.patterns:
        for path in sorted(root.glob(pattern.lstrip("/"))):
            with _told(path):
                if path.resolve() not in own and (text := _read(path)) is not None:
                    neighbours.agree(text)


def _below(root: Path, path: PurePosixPath) -> Path:
    """Return the file itself below `root`, where links lead to; raises CannotSetUp if they lead out."""
    inside = root.resolve()
    target = (inside / path.relative_to("/")).resolve()
    if not target.is_relative_to(inside):
        raise CannotSetUp(f"{inside / path.relative_to('/')} is a link to {target}, which is not below {inside}")
    return target


def _read(path: Path) -> str | None:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise CannotSetUp("is not a file")
        if path.stat().st_size > _LARGEST:
            raise CannotSetUp("is larger than a configuration can be")
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise CannotSetUp("is not text in UTF-8: mend it first") from None


def _draft(draft: Path, change: Change) -> None:
    before = change.path.stat() if change.old is not None else None
    with suppress(FileNotFoundError):
        draft.unlink()
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as stream:
        stream.write(change.new.encode())
        stream.flush()
        if before is not None and (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(descriptor, before.st_uid, before.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(before.st_mode) if before is not None else 0o644)
        os.fsync(descriptor)


def _kept(path: Path) -> Path:
    """Give the file a second name, the first one that is free, and return it."""
    number = 1
    while True:
        backup = path.with_name(f"{path.name}.bak{number}")
        try:
            os.link(path, backup)
        except FileExistsError:
            number += 1
        else:
            return backup


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Put the file's name before what is in the way of it."""
    try:
        yield
    except CannotSetUp as error:
        raise CannotSetUp(f"{path} {error}") from None
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        advice = ": run it as root" if isinstance(error, PermissionError) and os.geteuid() != 0 else ""
        raise CannotSetUp(f"{path} cannot be read or written: {reason}{advice}") from None

"""What a client needs to be told: files, and words for the one who puts them there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath


class CannotSetUp(Exception):
    """A client cannot be told; the message is one line that says what is in the way and what to do."""


@dataclass(frozen=True, slots=True)
class ClientFile:
    """A file that a client reads at `path`.

    `merged` returns what the text of a file that is there already has to become, with everything it says kept. It
    raises CannotSetUp, without a word about which file it is.
    """

    path: PurePosixPath
    content: str
    merged: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Files that a client reads along with ours; `agree` raises CannotSetUp for the text of one that contradicts."""

    patterns: tuple[str, ...] = ()
    agree: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Needs:
    """All that a client needs; where it needs several files, they have the same content.

    `programs` are the client: any of them shows that it is installed. `notes` say what is to be done or known beside.
    """

    programs: tuple[str, ...]
    files: tuple[ClientFile, ...]
    notes: tuple[str, ...]
    neighbours: Neighbours = Neighbours()

"""What happened in a soak, as records, one JSON object a line: nothing that the checker needs is anywhere else.

Times are seconds of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, TextIO


class Ending(StrEnum):
    """How a request ended for the client."""

    COMPLETE = "complete"
    CUT = "cut"
    """The connection ended before the body did."""
    LEFT = "left"
    """The client had enough, as it meant to."""
    UNANSWERED = "unanswered"
    """The connection was refused, or ended before there was an answer."""
    HUNG = "hung"
    """The client waited for longer than it should have to."""


class Trouble(StrEnum):
    """What was done to the mirrors."""

    KILL = "kill"
    RESTART = "restart"
    """A mirror is told to end, and started again."""
    STOP = "stop"
    OUTAGE = "outage"
    """Upstream refuses connections."""
    SILENCE = "silence"
    """Upstream takes requests and answers none."""
    FLIP = "flip"
    """One bit of a committed file."""
    REMOVE = "remove"
    """A committed file is gone."""
    GARBLE = "garble"
    """The databases of the index or of the records are damaged or gone."""
    FULL = "full"
    """Something else takes all the room on the disk."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The first record: what the content was made from, and what the mirrors were told."""

    seed: int
    images: int
    tag_ttl: float
    stale_while_revalidate: float
    stale_if_error: float
    max_size: int


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked of a mirror and what it got; `received` is the SHA-256 of `length` bytes from `start` on.

    Where the answer came in several `parts`, each with its start and length, `received` is of their bytes, and `length`
    that of the body. `answered` is when the head of the answer had come, `patience` how many seconds the client would
    have waited.
    """

    t0: float
    t1: float
    answered: float | None
    process: str
    method: str
    repository: str
    kind: str
    reference: str
    range: str | None
    status: int | None
    digest: str | None
    declared: int | None
    cache_status: str
    start: int
    length: int
    received: str
    ending: Ending
    patience: float
    why: str = ""
    parts: list[list[int]] | None = None

    @property
    def spans(self) -> list[list[int]]:
        """Start and length of what was received of the content."""
        return [[self.start, self.length]] if self.parts is None else self.parts

    @property
    def is_tag(self) -> bool:
        return ":" not in self.reference

    @property
    def is_whole(self) -> bool:
        """Whether all of the body that the status speaks of was received."""
        return self.method == "GET" and self.ending is Ending.COMPLETE and self.status in {200, 206}


@dataclass(frozen=True, slots=True)
class Transfer:
    """What a mirror asked of the registry; `sent` bytes from `start` on were handed to the socket."""

    t0: float
    t1: float
    process: str
    method: str
    repository: str
    kind: str
    reference: str
    status: int | None
    start: int
    sent: int
    fault: str | None


@dataclass(frozen=True, slots=True)
class TagMoved:
    """From `t` on the tag is this digest."""

    t: float
    repository: str
    tag: str
    digest: str


@dataclass(frozen=True, slots=True)
class Chaos:
    """Trouble between `t0` and `t1`; what lasts no time has both the same."""

    t0: float
    t1: float
    what: Trouble
    process: str | None = None
    digest: str | None = None
    bit: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Exit:
    """A mirror ended without having been killed."""

    t: float
    process: str
    code: int | None
    is_wanted: bool
    said: str = ""


@dataclass(frozen=True, slots=True)
class Objection:
    """The registry was asked for something that nobody had asked the mirrors for."""

    text: str


@dataclass(frozen=True, slots=True)
class Remains:
    """A file in the cache folder after the end, before or after it was `scrubbed`; `path` is relative to the folder."""

    path: str
    size: int
    sha256: str
    scrubbed: bool = False


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """What `mirror scrub` found in the end, and its exit code; `damaged` are digests."""

    code: int
    damaged: list[str]
    strangers: list[str]


Record = Terms | Request | Transfer | TagMoved | Chaos | Exit | Objection | Remains | Scrubbed


@dataclass
class History:
    """All records of a run, by kind, in the order they were written."""

    terms: Terms
    requests: list[Request] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)
    moves: list[TagMoved] = field(default_factory=list)
    chaos: list[Chaos] = field(default_factory=list)
    exits: list[Exit] = field(default_factory=list)
    objections: list[Objection] = field(default_factory=list)
    remains: list[Remains] = field(default_factory=list)
    scrubs: list[Scrubbed] = field(default_factory=list)

    _LISTS: ClassVar[dict[type, str]] = {
        Request: "requests",
        Transfer: "transfers",
        TagMoved: "moves",
        Chaos: "chaos",
        Exit: "exits",
        Objection: "objections",
        Remains: "remains",
        Scrubbed: "scrubs",
    }

    def add(self, *records: Record) -> None:
        for record in records:
            getattr(self, self._LISTS[type(record)]).append(record)

    @classmethod
    def read(cls, path: Path) -> History:
        """Return the history that a `Recorder` wrote."""
        with path.open(encoding="utf-8") as lines:
            records = (_decode(line) for line in lines)
            first = next(records)
            assert isinstance(first, Terms), "a history begins with its terms"
            history = cls(first)
            history.add(*records)
        return history


class Recorder:
    """Writes records down as they come; a run that is broken off leaves all it saw."""

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("w", encoding="utf-8")

    def note(self, record: Record) -> None:
        self._file.write(json.dumps({"is": type(record).__name__, **asdict(record)}) + "\n")

    def close(self) -> None:
        self._file.close()


_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (Terms, *History._LISTS)}
_ENUMS: dict[str, type[StrEnum]] = {"ending": Ending, "what": Trouble}


def _decode(line: str) -> Any:
    document = json.loads(line)
    kind = _KINDS[document.pop("is")]
    assert set(document) == {one.name for one in fields(kind)}, line
    return kind(**{name: _ENUMS[name](value) if name in _ENUMS else value for name, value in document.items()})

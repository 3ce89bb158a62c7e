"""Workers: processes that serve together, under a supervisor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A worker ended that was to go on; another takes its place after `pause` seconds.

    `stack` is where it stood, as far as that is known.
    """

    worker: int
    how: str
    pause: float
    was_hanging: bool = False
    stack: str = ""


@dataclass(frozen=True, slots=True)
class WorkerHangs:
    """A worker has answered nothing for so many seconds, and is ended for that."""

    worker: int
    seconds: float


@dataclass(frozen=True, slots=True)
class WorkerReplaced:
    """A worker gave its place to one with another configuration."""

    worker: int


@dataclass(frozen=True, slots=True)
class ReloadRefused:
    """The configuration was to be read again, and what runs goes on as it was; `worker` is where that was found."""

    cause: str
    worker: int | None = None


@dataclass(frozen=True, slots=True)
class ReloadPartly:
    """These fields have other values now, which only a restart can bring about."""

    fields: tuple[str, ...]

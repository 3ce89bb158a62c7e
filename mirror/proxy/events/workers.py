"""Workers: processes that serve together, under a supervisor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A worker ended that was to go on; another takes its place after `pause` seconds."""

    worker: int
    how: str
    pause: float


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

"""How the mirror itself is: ready or not, its disk, and bugs."""

from __future__ import annotations

from dataclasses import dataclass

from mirror.proxy.readiness import Readiness


@dataclass(frozen=True, slots=True)
class ReadinessTold:
    """Somebody asked whether the mirror is ready."""

    readiness: Readiness


@dataclass(frozen=True, slots=True)
class StoreTroubled:
    """The disk or an index refused; `doing` says at what."""

    doing: str
    error: Exception


@dataclass(frozen=True, slots=True)
class TaskCrashed:
    """A background task ended with an error nobody foresaw: a bug."""

    task: str
    error: BaseException

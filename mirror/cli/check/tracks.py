"""What rounds of a check say of an endpoint: whether it is usable, since when, and how fast it was. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median

from mirror.upstream.probing.findings import Findings

REMEMBERED = 20
"""Rounds that the usual time is told from."""


@dataclass(slots=True)
class Track:
    """An endpoint, with one of the accounts there are, in all rounds so far.

    `since` is when it began to be usable, or not to be.
    """

    found: Findings
    since: datetime
    rounds: int = 0
    failures: int = 0
    _seconds: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    @property
    def is_usable(self) -> bool:
        """Tell whether nothing failed in the last round."""
        return self.found.fault is None

    @property
    def usual(self) -> float | None:
        """How many seconds it takes as a rule when nothing fails; None if it never went well."""
        return median(self._seconds) if self._seconds else None

    def take(self, found: Findings, now: datetime) -> None:
        """Take in one more round."""
        if (found.fault is None) is not self.is_usable:
            self.since = now
        self.found = found
        self.rounds += 1
        if found.fault is None:
            self._seconds.append(found.seconds)
        else:
            self.failures += 1


@dataclass(frozen=True, slots=True)
class Change:
    """An endpoint is not as it was `before`, which lasted for so many seconds; None where nothing was known."""

    track: Track
    before: bool | None
    lasted: float


class Tracks:
    """All endpoints of a check."""

    def __init__(self) -> None:
        self._tracks: dict[tuple[str, str, int], Track] = {}

    @property
    def all(self) -> Sequence[Track]:
        """Every endpoint, in the order of the configuration."""
        return list(self._tracks.values())

    @property
    def in_use(self) -> set[tuple[str, str]]:
        """The upstreams with the endpoint of each that serving asks: the first that is usable."""
        first: dict[str, str] = {}
        for track in self._tracks.values():
            if track.is_usable:
                first.setdefault(track.found.upstream, str(track.found.endpoint))
        return set(first.items())

    def take(self, findings: Iterable[Findings], now: datetime) -> list[Change]:
        """Take in a round, and return what is new: a state, or another reason for the same one."""
        return [change for found in findings if (change := self._take(found, now)) is not None]

    def _take(self, found: Findings, now: datetime) -> Change | None:
        key = (found.upstream, str(found.endpoint), found.account)
        track = self._tracks.get(key)
        if track is None:
            track = self._tracks[key] = Track(found, now)
            track.take(found, now)
            return Change(track, None, 0.0)
        before, reason, since = track.is_usable, _reason(track.found), track.since
        track.take(found, now)
        if _reason(found) == reason:
            return None
        return Change(track, before, (now - since).total_seconds())


def _reason(found: Findings) -> tuple[str, str] | None:
    return None if found.fault is None else (found.fault.step, found.fault.reason)

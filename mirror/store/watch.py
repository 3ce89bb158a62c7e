"""Since when files could have been used: only while a mirror runs does what nobody uses grow older.

A mirror that was off for a month is no reason to throw its cache away, and neither is a clock that jumps. Both look the
same: nobody wrote down for long that there is somebody. Such absences are kept and do not count as age.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from mirror.proxy.interfaces.clock import Clock
from mirror.store import drafts
from mirror.store.folders import Folders
from mirror.store.threads import Threads

NAME = "watch"
ABSENT_SECONDS = 15 * 60.0
"""Nobody having been there for shorter than this counts as age; so little does no harm."""

_NOTE_SECONDS = 60.0
_MOST = 1000
# Absences, of at least a quarter of an hour each; beyond that the first are forgotten.


@dataclass(frozen=True, slots=True)
class Watch:
    """When somebody was there last, and when nobody was before (from, to), in order; epoch seconds."""

    seen_at: float
    absences: tuple[tuple[float, float], ...] = ()

    @classmethod
    def begin(cls, now: float) -> Watch:
        """Return the watch that begins now: of what was before, nothing is known, and nothing counts."""
        return cls(now, ((0.0, now),))

    def at(self, now: float) -> Watch:
        """Return the watch when somebody is there at `now`."""
        if now < self.seen_at:
            # The clock was set back: what was to come has not been yet.
            return Watch(now, tuple((start, min(stop, now)) for start, stop in self.absences if start < now))
        if now - self.seen_at < ABSENT_SECONDS:
            return Watch(now, self.absences)
        return Watch(now, (*self.absences, (self.seen_at, now))[-_MOST:])

    def absent(self, since: float) -> float:
        """Return for how many seconds after `since` nobody was there."""
        return sum(max(0.0, stop - max(start, since)) for start, stop in self.absences)


class StoredWatch:
    """The watch that all processes of a cache keep, in `run/`; as far as this one knows."""

    def __init__(self, folders: Folders, threads: Threads, clock: Clock) -> None:
        self._folders = folders
        self._threads = threads
        self._clock = clock
        self._watch: Watch | None = None

    async def keep(self) -> None:
        """Be there; raises StoreFailed where that cannot be noted, and this process knows it all the same."""
        await self._threads.run(self._keep)

    def _keep(self) -> None:
        noted = _parse(self._folders.run.read(NAME) or b"")
        now, known = self._clock(), [watch for watch in (noted, self._watch) if watch is not None]
        watch = max(known, key=lambda one: one.seen_at).at(now) if known else Watch.begin(now)
        self._watch = watch
        if noted is None or watch.absences != noted.absences or abs(now - noted.seen_at) >= _NOTE_SECONDS:
            drafts.replace(self._folders.run, NAME, _render(watch))

    def absent(self, since: float) -> float:
        """Return for how many seconds after `since`, which do not count as age, no mirror ran.

        What has passed since somebody was there last is not counted before somebody is there again: the clock may
        have jumped a moment ago.
        """
        if self._watch is None:
            return 0.0
        return self._watch.absent(since) + max(0.0, self._clock() - max(self._watch.seen_at, since))


def _render(watch: Watch) -> bytes:
    return json.dumps([watch.seen_at, watch.absences]).encode()


def _parse(data: bytes) -> Watch | None:
    """Return the watch that a file holds, None for one that is absent or damaged."""
    try:
        seen_at, absences = json.loads(data)
        watch = Watch(float(seen_at), tuple((float(start), float(stop)) for start, stop in absences))
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None
    times = [watch.seen_at, *(time for absence in watch.absences for time in absence)]
    return watch if all(map(math.isfinite, times)) else None

"""`python -m benchmarks.hot_spots KIND`: where a warm request spends its processor time, by function.

Every few milliseconds of processor time somebody looks at what the loop's thread runs. Unlike a profiler that hears of
each call this costs the same whatever runs, and on a busy machine the shares stay what they are. What the client takes
is left out.
"""

from __future__ import annotations

import argparse
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

import uvloop

from benchmarks import hot_path

_EVERY = 0.001
"""Seconds; the kernel may round it up to its own tick."""

_CLIENTS = {f"{hot_path.__name__}.{client.__qualname__}" for client in (hot_path.answered, hot_path.all_answered)}


@dataclass(frozen=True, slots=True)
class Spots:
    """How often a function was seen to run, `within` it or what it calls, and `itself`; and how often anything was."""

    within: Counter[str] = field(default_factory=Counter)
    itself: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """How often the mirror was seen to run."""
        return self.itself.total()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look within this context."""
        before = signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, _EVERY, _EVERY)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)

    def _look(self, _: int, frame: FrameType | None) -> None:
        names = list(_names(frame))
        if names and _CLIENTS.isdisjoint(names):
            self.itself[names[0]] += 1
            self.within.update(set(names))


def _names(frame: FrameType | None) -> Iterator[str]:
    """Return what runs, innermost first."""
    while frame is not None:
        yield f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}"
        frame = frame.f_back


def main() -> None:
    """Print the functions that take most, with the shares of what is within them and of themselves."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hot_spots", description=__doc__)
    parser.add_argument("kind", choices=hot_path.KINDS)
    parser.add_argument("--times", type=int, default=20_000, help="how many requests (default: 20,000)")
    parser.add_argument("--least", type=float, default=1.0, help="the smallest share, in per cent (default: 1)")
    options = parser.parse_args()
    spots = Spots()
    uvloop.run(hot_path.run([options.kind], options.times, spots.watched))
    print(f"{spots.total} looks\nwithin  itself")
    for name, count in spots.within.most_common():
        if count * 100 >= spots.total * options.least:
            print(f"{count / spots.total:6.1%}{spots.itself[name] / spots.total:8.1%}  {name}")


if __name__ == "__main__":
    main()

"""The loop over k: one life after another on a fresh copy of a folder, each with the fault one step later."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

from mirror.oci.digest import Digest
from tests.crash import checking
from tests.crash.content import DAMAGED, FIRST, PIECE, SECOND
from tests.crash.counted_os import Fault
from tests.crash.zygote import Outcome, Zygote

A = TypeVar("A")
B = TypeVar("B")

_AT_ONCE = 2
_MORE = 10
# Two lives are never quite the same: threads meet in another order. So many steps more are tried than one life had.


class Zygotes:
    """A few of them, for whoever needs one."""

    def __init__(self) -> None:
        self._all = [Zygote() for _ in range(_AT_ONCE)]
        self._idle: SimpleQueue[Zygote] = SimpleQueue()
        for zygote in self._all:
            self._idle.put(zygote)

    @contextmanager
    def one(self) -> Iterator[Zygote]:
        """Have one for a while."""
        zygote = self._idle.get()
        try:
            yield zygote
        finally:
            self._idle.put(zygote)

    def each(self, work: Callable[[A], B], tasks: Iterable[A]) -> list[B]:
        """Return what `work` returns for each task, a few at a time; raises what it raised first."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(work, tasks))

    def close(self) -> None:
        """End them."""
        for zygote in self._all:
            zygote.close()


class Lives:
    """Lives of a mirror on copies of the folder `prepared`, below `place`."""

    def __init__(self, zygotes: Zygotes, prepared: Path, place: Path) -> None:
        self._zygotes = zygotes
        self._prepared = prepared
        self._place = place

    def all(self, fault: Fault) -> list[Outcome]:
        """Have a life with the fault at each step, until it comes too late; returns how they ended."""
        outcomes: list[Outcome] = []
        steps = len(self._live(fault, 0).result["steps"]) + _MORE
        while not outcomes or outcomes[-1].had_fault(len(outcomes)):
            outcomes += self._zygotes.each(lambda at: self._live(fault, at), range(len(outcomes) + 1, steps + 1))
            steps += _MORE
        return [outcome for at, outcome in enumerate(outcomes, 1) if outcome.had_fault(at)]

    def _live(self, fault: Fault, at: int) -> Outcome:
        try:
            return self._live_and_follow_up(fault, at)
        except AssertionError as error:
            error.add_note(f"The fault was {fault!r} at step {at}.")
            raise

    def _live_and_follow_up(self, fault: Fault, at: int) -> Outcome:
        folder = self._place / f"{fault} {at}"
        shutil.copytree(self._prepared, folder, symlinks=True)
        with self._zygotes.one() as zygote:
            outcome = zygote.run("live", folder=str(folder), fault=fault, at=at)
            assert checking.wrong(folder) <= {Digest.of(DAMAGED).encoded}
            left, stored = checking.unfinished(folder), checking.stored(folder)
            sent = zygote.run("follow_up", folder=str(folder)).result
        for data in (FIRST, SECOND):
            name = Digest.of(data).encoded
            lacking = 0 if name in stored else len(data) - left.get(name, 0)
            # What was written but not said any more is not relied upon.
            assert lacking <= sent.get(name, 0) <= lacking + PIECE, (lacking, sent)
        shutil.rmtree(folder)
        return outcome

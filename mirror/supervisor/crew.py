"""The workers: one in each seat, replaced when it dies, and one by one when the configuration is another."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

from mirror.errors import AddressUnavailable, ConfigError
from mirror.proxy.events.observer import Observer
from mirror.proxy.events.workers import ReloadRefused, WorkerLost, WorkerReplaced
from mirror.supervisor.pauses import Pauses
from mirror.supervisor.ports import Seat, Sockets
from mirror.supervisor.reaper import Reaper
from mirror.supervisor.source import Source
from mirror.supervisor.worker import Worker

_GRACE_SECONDS = 5.0
# Beyond the time for draining; a worker that takes longer hangs.

_BEARABLE_SECONDS = 1.0
# So long clients may wait for a worker that is to come; after that others are to have them.

Left = Callable[[Worker, bytes], None]


class _Seat(Seat):
    """What outlives the workers that have it, one after another: a number and sockets."""

    def __init__(self, number: int, sockets: Sockets) -> None:
        super().__init__(sockets)
        self.number = number
        self.pauses = Pauses(time.monotonic)
        self.worker: Worker | None = None
        self.changing = asyncio.Lock()


class Crew:
    """As many workers as there are groups of `sockets`; `left` is told of each that has ended, with its last page."""

    def __init__(
        self, source: Source, sockets: Sequence[Sockets], reaper: Reaper, observer: Observer, left: Left
    ) -> None:
        self._source = source
        self._seats = [_Seat(number, group) for number, group in enumerate(sockets, 1)]
        self._reaper = reaper
        self._observer = observer
        self._left = left
        self._is_stopping = False
        self._is_hurried = False
        self._leaving: set[Worker] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_stopping(self) -> bool:
        """Tell whether all are on their way out."""
        return self._is_stopping

    @property
    def patience(self) -> float:
        """Return how many seconds a worker may answer nothing; 0 for as long as it takes."""
        return self._source.config.worker_timeout.total_seconds()

    def workers(self) -> list[Worker]:
        """Return those that have a seat, in order; not all of them may serve yet, or any more."""
        return [seat.worker for seat in self._seats if seat.worker is not None]

    def serving(self) -> list[Worker]:
        """Return those that serve, in order."""
        return [worker for worker in self.workers() if worker.is_ready]

    def curable(self) -> list[int]:
        """Return the numbers of those that are replaced soon, should they answer nothing."""
        return [worker.number for worker in self.workers() if worker.silence.seconds < 2 * self.patience]

    def leaving(self) -> list[Worker]:
        """Return those that have given up their seat, and still finish what they have begun."""
        return list(self._leaving)

    def empty(self) -> Iterator[int]:
        """Yield the numbers of the seats of which nobody serves."""
        for seat in self._seats:
            if seat.worker is None or not seat.worker.is_ready:
                yield seat.number

    async def start(self) -> None:
        """Start all, and return when all serve; raises what keeps one of them from it."""
        for seat in self._seats:
            seat.worker = self._new(seat)
        for worker in self.workers():
            await self._serving(worker)
        for seat in self._seats:
            self._spawn(self._keep(seat))

    async def reload(self, source: Source) -> bool:
        """Replace all, one after another, by workers with this configuration; tell whether it is theirs now."""
        former, self._source = self._source, source
        for seat in self._seats:
            async with seat.changing:
                if self._is_stopping:
                    return False
                try:
                    successor = await self._successor(seat)
                except (ConfigError, AddressUnavailable) as error:
                    self._source = former
                    source.close()
                    self._observer.notify(ReloadRefused(str(error), seat.number))
                    return False
                predecessor, seat.worker = seat.worker, successor
                self._observer.notify(WorkerReplaced(seat.number))
            if predecessor is not None:
                self._see_off(predecessor)
        former.close()
        return True

    async def _successor(self, seat: _Seat) -> Worker:
        """Return a worker that serves; raises what keeps it from that."""
        worker = self._new(seat)
        try:
            await self._serving(worker)
        except asyncio.CancelledError:
            self._see_off(worker)
            raise
        except (ConfigError, AddressUnavailable):
            await self._gone(worker)
            raise
        return worker

    async def _serving(self, worker: Worker) -> None:
        """Wait until it serves; raises ConfigError or AddressUnavailable if it has ended before."""
        if not await worker.settled():
            how = _how(worker, await worker.ended())
            raise worker.failure or AddressUnavailable("workers", f"worker {worker.number} ended at its start: {how}")

    async def stop(self) -> None:
        """Have all drain and end, and take no more connections; whoever takes too long is killed."""
        self._is_stopping = True
        for seat in self._seats:
            seat.shut()
        await self._dismiss()
        for task in [task for task in self._tasks if not task.done()]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hurry(self) -> None:
        """Have none of them wait."""
        self._is_hurried = True
        for worker in [*self.workers(), *self._leaving]:
            worker.hurry()

    async def _keep(self, seat: _Seat) -> None:
        """See to it that the seat is taken."""
        while (worker := seat.worker) is not None:
            code = await worker.ended()
            if self.is_stopping:
                return
            if seat.worker is worker:
                await self._lost(seat, worker, code)

    async def _lost(self, seat: _Seat, worker: Worker, code: int) -> None:
        pause = seat.pauses.next()
        self._observer.notify(WorkerLost(worker.number, _how(worker, code), pause, worker.is_given_up, worker.stack()))
        if pause > _BEARABLE_SECONDS and self.serving():
            seat.shut()
        await asyncio.sleep(pause)
        async with seat.changing:
            if seat.worker is worker and not self._is_stopping:
                await self._gone(worker)
                try:
                    seat.worker = self._new(seat)
                except AddressUnavailable as error:
                    # The lost one still has the seat; that is found at once, and waited with longer.
                    worker.failure = error

    def _see_off(self, worker: Worker) -> None:
        """Have one without a seat end."""
        self._leaving.add(worker)
        worker.make_way()
        self._spawn(self._out(worker))

    async def _out(self, worker: Worker) -> None:
        await self._ended(worker)
        await self._gone(worker)
        self._leaving.discard(worker)

    async def _dismiss(self) -> None:
        """End all; each is gone after this."""
        for worker in self.workers():
            worker.leave()
        if self._is_hurried:
            self.hurry()
        seated = self.workers()
        await asyncio.gather(*(self._ended(worker) for worker in [*seated, *self._leaving]))
        for seat in self._seats:
            if seat.worker is not None:
                await self._gone(seat.worker)
                seat.worker = None

    async def _ended(self, worker: Worker) -> None:
        try:
            async with asyncio.timeout(self._source.config.drain_timeout.total_seconds() + _GRACE_SECONDS):
                await worker.ended()
        except TimeoutError:
            worker.kill()
            await worker.ended()

    async def _gone(self, worker: Worker) -> None:
        await worker.ended()
        last = await worker.close()
        if last is not None:
            self._left(worker, last)

    def _new(self, seat: _Seat) -> Worker:
        """Return a worker for this seat; raises AddressUnavailable where none can be started."""
        try:
            seat.open()
            return Worker(seat.number, len(self._seats), seat.sockets, self._source, self._reaper)
        except OSError as error:
            reason = f"worker {seat.number} cannot be started: {os.strerror(error.errno or 0).lower()}"
            raise AddressUnavailable("workers", reason) from error

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _how(worker: Worker, code: int) -> str:
    """Return how a worker ended, in words."""
    if worker.failure is not None:
        return str(worker.failure)
    if worker.is_given_up:
        return "it answered nothing any more"
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"

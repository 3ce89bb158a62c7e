"""A watch over the workers: who answers nothing for too long hangs, and is ended, so that another takes its seat."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from pathlib import Path

from mirror.proxy.events.observer import Observer
from mirror.proxy.events.workers import WorkerHangs
from mirror.supervisor.crew import Crew
from mirror.supervisor.worker import Worker

_LOOK_SECONDS = 1.0
_LAST_WORDS_SECONDS = 2.0
_TRACER = re.compile(r"^TracerPid:\s*([0-9]+)$", re.M)


class Vigil:
    """Keeps an eye on a crew. One is ended at a time, and none while a seat is empty: a machine that is out of breath
    must not lose all its workers, and who cannot be replaced is better than nobody.
    """

    def __init__(self, crew: Crew, observer: Observer) -> None:
        self._crew = crew
        self._observer = observer

    async def keep(self) -> None:
        """Go on."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for worker in self._crew.workers():
                worker.look()
            hanging = self._hanging()
            if hanging is not None:
                await self._end(hanging)

    def _hanging(self) -> Worker | None:
        """Return the one to end."""
        if not self._crew.patience or any(self._crew.empty()):
            return None
        workers = self._crew.workers()
        if any(worker.is_given_up for worker in workers):
            # It does not even die, or is not known to be dead yet.
            return None
        silent = [worker for worker in workers if worker.silence.seconds >= self._crew.patience]
        for worker in silent:
            if _is_traced(worker.pid):
                # Somebody looks into it, and will let it go on.
                worker.silence.forgive()
        return max((worker for worker in silent if worker.silence.seconds), key=_silence, default=None)

    async def _end(self, worker: Worker) -> None:
        self._observer.notify(WorkerHangs(worker.number, worker.silence.seconds))
        worker.give_up()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                await worker.ended()
        worker.kill()


def _silence(worker: Worker) -> float:
    return worker.silence.seconds


def _is_traced(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    found = _TRACER.search(status)
    return found is not None and found[1] != "0"

from __future__ import annotations

import errno
import os
import signal
from collections.abc import AsyncIterator, Callable

import pytest

from mirror.supervisor import worker as module
from mirror.supervisor.reaper import Ended, Reaper
from mirror.supervisor.source import Source
from mirror.supervisor.worker import Worker


class LateReaper(Reaper):
    """Hears of an end when it is told to: other children of this process are not its own."""

    def reap(self) -> None:
        """Wait for all that are watched; raises ChildProcessError if somebody else did."""
        for pid, ended in self._taken():
            ended(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    def _taken(self) -> list[tuple[int, Ended]]:
        taken = list(self._watched.items())
        self._watched.clear()
        return taken


@pytest.fixture
def reaper() -> LateReaper:
    return LateReaper()


@pytest.fixture
async def worker(reaper: LateReaper) -> AsyncIterator[Worker]:
    source = Source(None)
    worker = Worker(1, 2, (), source, reaper)
    source.close()
    yield worker
    worker.kill()
    reaper.reap()
    await worker.close()


@pytest.mark.parametrize("sent", [Worker.kill, Worker.give_up])
async def test_who_has_ended_before_it_is_ended_is_left_to_the_reaper(
    worker: Worker, reaper: LateReaper, sent: Callable[[Worker], None]
) -> None:
    os.kill(worker.pid, signal.SIGKILL)
    os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222  # it is dead
    sent(worker)
    reaper.reap()
    assert await worker.ended() == -signal.SIGKILL
    sent(worker)


async def test_who_cannot_be_started_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EAGAIN, "no more processes")

    monkeypatch.setattr(module, "_started", refused)
    source = Source(None)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="no more processes"):
        Worker(1, 2, (), source, LateReaper())
    assert os.listdir("/proc/self/fd") == before
    source.close()

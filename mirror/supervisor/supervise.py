"""The supervisor: it listens for the workers, keeps them, and answers for all of them; it serves no client itself."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from mirror.composition.announcement import announce
from mirror.config import Config
from mirror.config.units import Address
from mirror.errors import ConfigError
from mirror.proxy.events.workers import ReloadPartly, ReloadRefused
from mirror.proxy.tasks import cancelled
from mirror.server.listener import Listener
from mirror.server.open_files import raise_limit
from mirror.supervisor.admin import Admin
from mirror.supervisor.cores import worker_count
from mirror.supervisor.crew import Crew
from mirror.supervisor.ports import bound
from mirror.supervisor.reaper import Reaper
from mirror.supervisor.source import Source
from mirror.supervisor.tally import Tally
from mirror.supervisor.vigil import Vigil
from mirror.telemetry.logs import Logs, set_up
from mirror.telemetry.metrics.workers import WorkerMetrics
from mirror.telemetry.observers import Observers


async def supervise(config_file: Path | None) -> None:
    """Run the mirror until SIGTERM or SIGINT; raises ConfigError or AddressUnavailable if it cannot start."""
    source = Source(config_file)
    set_up(source.config.log.level, source.config.log.format)
    raise_limit()
    await Supervisor(config_file, source).run()


class Supervisor:
    """A mirror of several workers."""

    def __init__(self, config_file: Path | None, source: Source) -> None:
        self._file = config_file
        self._first = source.config
        self._source = source
        self._logs = Logs()
        own = CollectorRegistry()
        self._observer = Observers(self._logs, WorkerMetrics(own, serving=0))
        self._tally = Tally(own)
        self._reaper = Reaper()
        self._stop = asyncio.Event()
        self._hangup = asyncio.Event()
        self._crew: Crew | None = None

    async def run(self) -> None:
        """Go on until told to stop."""
        self._heed_signals()
        config = self._first
        sockets = await bound("listen", config.listen, worker_count(config.workers))
        crew = self._crew = Crew(self._source, sockets, self._reaper, self._observer, self._tally.left)
        runner = web.AppRunner(Admin(crew, self._tally).application(), access_log=None, shutdown_timeout=1.0)
        admin = Listener("admin.listen", config.admin.listen.host, config.admin.listen.port, runner, self._observer)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(admin.stop)
            await admin.start()
            stack.push_async_callback(crew.stop)
            watching = asyncio.create_task(Vigil(crew, self._observer).keep())
            stack.push_async_callback(cancelled, watching)
            if await self._unless_stopped(crew.start()):
                public = Address(config.listen.host, sockets[0][0].getsockname()[1])
                announce(self._logs, config, str(public), admin.address, workers=len(sockets))
                await self._unless_stopped(self._reload_when_asked(crew))
            self._logs.lifecycle("stopping")
        self._logs.lifecycle("stopped")

    def _heed_signals(self) -> None:
        loop = asyncio.get_running_loop()
        self._reaper.start()
        for wanted in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(wanted, self._asked_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self._hangup.set)

    def _asked_to_stop(self) -> None:
        if self._stop.is_set() and self._crew is not None:
            self._crew.hurry()
        self._stop.set()

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do this, and tell whether it came to its end before the mirror was told to stop."""
        working, stopped = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        await asyncio.wait([working, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if self._stop.is_set() and not working.done():
            await cancelled(working)
            return False
        await working
        return True

    async def _reload_when_asked(self, crew: Crew) -> None:
        while True:
            await self._hangup.wait()
            self._hangup.clear()
            await self._reload(crew)

    async def _reload(self, crew: Crew) -> None:
        try:
            source = Source(self._file)
        except ConfigError as error:
            self._observer.notify(ReloadRefused(str(error)))
            return
        if others := _only_by_restart(self._first, source.config):
            self._observer.notify(ReloadPartly(others))
        set_up(source.config.log.level, source.config.log.format)
        if await crew.reload(source):
            self._logs.lifecycle("reloaded", workers=len(crew.workers()))


def _only_by_restart(first: Config, wanted: Config) -> tuple[str, ...]:
    """Return the fields of what is the supervisor's own that are not as they were at the start."""
    fields = {
        "listen": first.listen == wanted.listen,
        "workers": worker_count(first.workers) == worker_count(wanted.workers),
        "admin.listen": first.admin.listen == wanted.admin.listen,
    }
    return tuple(field for field, is_same in fields.items() if not is_same)

"""The composition root: everything is built here, in the order a request meets it, and started and stopped."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace

from mirror import __version__
from mirror.composition import registries
from mirror.composition.administration import admin_listener, admin_runner, operations
from mirror.composition.announcement import announce
from mirror.composition.garbage import search_seldom
from mirror.composition.place import ALONE, Place
from mirror.composition.pulls import Inside, pulls, visibility
from mirror.composition.warming import Warming
from mirror.config import Config
from mirror.proxy.events.gathering import Gathering
from mirror.proxy.events.troubles import ReadinessTold
from mirror.proxy.events.workers import ReloadRefused
from mirror.proxy.interfaces.clock import Clock
from mirror.proxy.operations.naming import Naming
from mirror.proxy.readiness import Readiness, Trouble
from mirror.proxy.scrubbing.patrol import Patrol
from mirror.proxy.scrubbing.refetch import Refetch
from mirror.proxy.scrubbing.scrub import Report, Scrub, StoredFile, Thoroughness
from mirror.proxy.tasks import Tasks, cancelled
from mirror.proxy.warming.warm import Ways
from mirror.server.api import Handlers, RegistryApi
from mirror.server.blobs import BlobHandler
from mirror.server.circle import Circle
from mirror.server.listener import Listener, bare_runner
from mirror.server.manifests import ManifestHandler
from mirror.server.middleware import public_handler
from mirror.server.open_files import raise_limit
from mirror.server.referrers import ReferrersHandler
from mirror.server.requests import Requests
from mirror.server.tags import TagsHandler
from mirror.store.cache import Cache
from mirror.store.limits import Limits
from mirror.store.memory import BoundedMemory
from mirror.telemetry.logs import Logs, set_up
from mirror.telemetry.metrics.page import Metrics
from mirror.telemetry.observers import Observers
from mirror.upstream.auth.tokens import TokenServices
from mirror.upstream.egress import Egress
from mirror.upstream.health.health import Health

_NO_SUPERVISOR = "a single process cannot be replaced without a gap: restart it, or give it workers: 2"


class Mirror:
    """The application, from its configuration. `running` brings it up and down."""

    def __init__(
        self, config: Config, clock: Clock = time.time, place: Place = ALONE, logs: Logs | None = None
    ) -> None:
        config = place.share(config)
        self._config = config
        self._place = place
        self._clock = clock
        self._draining = False
        self.is_replaced = False
        """Whether another process has the port already, so that there is time to part from clients."""
        self._hurried = False
        self._patience: asyncio.Timeout | None = None
        self._requests = Requests()
        self.logs = logs or Logs()
        self.metrics = Metrics(
            config.upstreams, __version__, config.cache.max_size, registries.endpoints(config.upstreams)
        )
        self.observer = Gathering(Observers(self.metrics, self.logs))
        self._tasks = Tasks(self.observer)
        unused = config.cache.blob_ttl
        limits = Limits(
            config.cache.max_size, config.cache.min_free, None if unused is None else unused.total_seconds()
        )
        self._cache = Cache(config.cache.path, limits, self.observer, clock)
        self._tokens = BoundedMemory()
        self._failures = BoundedMemory()
        self._visible = BoundedMemory()
        self._egress = Egress(f"mirror/{__version__}", self._own_name)
        tokens = TokenServices(self._egress, self._tokens, self._tasks, self.observer)
        self._budgets = registries.budgets(config.upstreams, clock, self.observer)
        self._health = Health(self.observer)
        inside = Inside(self._cache, self._failures, self._visible, clock)
        outside = registries.Outside(self._egress, tokens, self._tasks, self.observer, self._budgets, self._health)
        upstreams = registries.clients(config, outside)
        self._visibility = visibility(config, registries.views(config, outside), inside, outside)
        self._pulls = pulls(config, upstreams, inside, outside)
        naming = Naming(registries.routing(config))
        ways = Ways(naming, self._visibility, upstreams, self._pulls.manifests, self._pulls.blobs, self._budgets)
        self._warming = Warming(config, ways, self._cache, clock, self.observer)
        refetch = Refetch(config.upstreams, self._pulls.manifests, self._pulls.blobs)
        self.scrub = Scrub(self._cache.inventory, refetch, self.observer)
        self.public = self._public_listener()
        asked = operations(config, self._visibility.belief, inside, outside)
        administration = admin_runner(config, self.metrics.registry, self._told_readiness, self._warming, asked)
        self.admin = admin_listener(config, administration, self.observer, place)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve within this context; leaving it drains what is under way.

        Raises ConfigError, and AddressUnavailable where a later start may go well.
        """
        async with AsyncExitStack() as stack:
            stack.callback(self.logs.flush)
            stack.callback(self.observer.tell)
            await stack.enter_async_context(self.working())
            for event in registries.unverified(self._config.upstreams) if self._place.leads else ():
                self.observer.notify(event)
            stack.push_async_callback(self.admin.stop)
            await self.admin.start()
            stack.push_async_callback(self._drain)
            await self.public.start()
            patrol = self._patrol()
            if patrol is not None:
                stack.push_async_callback(cancelled, self._tasks.spawn(patrol.run(), name="scrub"))
            for name, work in self._warming.work(leads=self._place.leads):
                stack.push_async_callback(cancelled, self._tasks.spawn(work, name=name))
            if self._place.is_alone:
                announce(self.logs, self._config, self.public.address, self.admin.address)
            yield
            if self._place.is_alone:
                self.logs.lifecycle("stopping")

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Have the cache and the way to the upstreams, but listen to nobody: for commands. Raises ConfigError."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._tokens.close)
            stack.push_async_callback(self._failures.close)
            stack.push_async_callback(self._visible.close)
            if not self._config.offline:
                await self._egress.start()
            stack.push_async_callback(self._egress.close)
            stack.push_async_callback(self._health.close)
            await self._cache.start()
            stack.push_async_callback(self._cache.stop)
            await self._visibility.guard(name for name, one in self._config.upstreams.items() if one.credentials)
            stack.push_async_callback(self._tasks.cancel)
            yield
            await self._finish()

    async def _drain(self) -> None:
        """Let requests finish, then fills, all within `drain_timeout`; then cut what is left."""
        self._draining = True
        self._warming.warm.close()
        self._pulls.ahead.close()
        seconds = 0.0 if self._hurried else self._config.drain_timeout.total_seconds()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds) as self._patience:
                if self.is_replaced:
                    await self.public.say_farewell()
                await self.public.stop_accepting()
                await self._requests.finished()
                await self._tasks.finished()
        self._patience = None
        await self.public.stop()
        await self._tasks.cancel()

    async def _finish(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._config.drain_timeout.total_seconds()):
                await self._tasks.finished()

    def hurry(self) -> None:
        """Stop waiting: whoever asked for a stop asked again."""
        self._hurried = True
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(asyncio.get_running_loop().time())

    async def _told_readiness(self) -> Readiness:
        readiness = await self._readiness()
        self.observer.notify(ReadinessTold(readiness))
        self._budgets.tell()
        return readiness

    async def _readiness(self) -> Readiness:
        if self._draining:
            return Readiness(ready=False, troubles=(Trouble.STOPPING,))
        degraded, unreachable = tuple(self._health.degraded()), tuple(self._health.unreachable())
        return replace(await self._cache.readiness(), upstreams=degraded, unreachable=unreachable)

    def _own_name(self) -> str:
        return self._cache.identity

    def _patrol(self) -> Patrol | None:
        every, bandwidth = self._config.scrub.every, self._config.scrub.bandwidth
        if every is None or not self._place.leads:
            return None
        return Patrol(self.scrub, self._cache.diary, every, bandwidth, self._clock, self.observer)

    def _public_listener(self) -> Listener:
        handlers = Handlers(
            ManifestHandler(
                self._pulls.manifests,
                self._warming.requests.note,
                self._pulls.ahead.served,
                self._visibility.is_believed,
            ),
            BlobHandler(self._pulls.blobs, self._visibility.is_believed),
            TagsHandler(self._pulls.listings),
            ReferrersHandler(self._pulls.listings),
        )
        circle = Circle(self._own_name, self.observer)
        api = RegistryApi(registries.routing(self._config), circle, self._visibility, handlers)
        handler = public_handler(api.handle, self.observer)
        runner = bare_runner(handler, self.observer, self._requests)
        where, sockets = self._config.listen, self._place.sockets
        return Listener("listen", where.host, where.port, runner, self.observer, sockets)


async def serve(config: Config) -> None:
    """Run the mirror until SIGTERM or SIGINT; raises ConfigError or AddressUnavailable if it cannot start."""
    logs = Logs(set_up(config.log.level, config.log.format))
    raise_limit()
    mirror = Mirror(config, logs=logs)
    stop = asyncio.Event()

    def asked_to_stop() -> None:
        if stop.is_set():
            mirror.hurry()
        stop.set()

    loop = asyncio.get_running_loop()
    for wanted in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(wanted, asked_to_stop)
    loop.add_signal_handler(signal.SIGHUP, mirror.observer.notify, ReloadRefused(_NO_SUPERVISOR))
    async with mirror.running():
        search_seldom()
        await stop.wait()
    mirror.logs.lifecycle("stopped")


async def scrub(config: Config, thoroughness: Thoroughness, passed: Callable[[StoredFile], Awaitable[None]]) -> Report:
    """Verify the cache once and return what was seen; `passed` is called after each file.

    Raises ConfigError if the cache cannot be used, StoreFailed if it cannot be listed.
    """
    set_up("error", "text", sys.stderr)
    mirror = Mirror(config)
    async with mirror.working():
        return await mirror.scrub.run(thoroughness, passed=passed)

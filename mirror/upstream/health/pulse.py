"""Whether an endpoint is alive: told by everybody who asks it, and found out by pings while it is not asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import Context

from mirror.errors import (
    CredentialsUnavailable,
    LimitReached,
    MirrorError,
    Refused,
    UpstreamLoops,
    UpstreamThrottled,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from mirror.proxy.deadline import answer_within
from mirror.proxy.events.observer import Observer
from mirror.proxy.events.upstreams import EndpointJudged
from mirror.proxy.tasks import Tasks
from mirror.upstream.health.breaker import Breaker

PING_WITHIN = 10.0
"""Seconds that a ping has, token included: what is slow is not down."""

SUSPICIOUS = 5.0
"""Seconds without an answer after which a ping is to tell whether there will be one; each hanging request has 20."""

PATIENCE = 2.0
"""Seconds after which whoever gives up waiting is taken to say that there was no answer in time."""

Ping = Callable[[], Awaitable[None]]
"""Asks whether a registry answers; raises UpstreamUnavailable if not, Refused for a registry's own no."""


class Pulse:
    """One endpoint of an upstream, as all who ask it there know it; `endpoint` is what operators call it."""

    def __init__(self, upstream: str, endpoint: str, breaker: Breaker, ping: Ping, tasks: Tasks, observer: Observer):
        self.upstream = upstream
        self.endpoint = endpoint
        self._breaker = breaker
        self._ping = ping
        self._tasks = tasks
        self._observer = observer
        self._pinging: asyncio.Task[None] | None = None
        self._cause: MirrorError | None = None

    @property
    def is_out(self) -> bool:
        """Tell whether it does not answer."""
        return self._breaker.is_out

    @property
    def is_doubted(self) -> bool:
        """Tell whether it kept somebody waiting in vain, and may do so again: others are to be asked first."""
        return self._breaker.is_doubted

    @property
    def cause(self) -> str:
        """What went wrong last, in a line."""
        return str(self._cause)

    def admits(self) -> bool:
        """Tell whether it may be asked now."""
        self._see_to_pings()
        return self._breaker.admits

    def pause(self) -> float:
        """Return in how many seconds it is looked at again; 0 if that is being done."""
        return max(0.0, (self._breaker.ping_at or 0.0) - _now())

    @contextmanager
    def felt(self) -> Iterator[None]:
        """Learn from how a request to it goes."""
        self._breaker.begin()
        suspicion = asyncio.get_running_loop().call_later(SUSPICIOUS, self._suspect)
        try:
            with self._judged():
                yield
            self._learn(None)
        finally:
            suspicion.cancel()

    @contextmanager
    def _judged(self) -> Iterator[None]:
        """Learn from what goes wrong."""
        started = _now()
        try:
            yield
        except (CredentialsUnavailable, LimitReached):
            # Nobody was asked.
            self._breaker.undecided()
            raise
        except (Refused, UpstreamThrottled, UpstreamLoops):
            self._learn(None)
            raise
        except UpstreamUnavailable as error:
            self._learn(error)
            raise
        except asyncio.CancelledError:
            if _now() - started >= PATIENCE:
                self._learn(UpstreamTimeout("it did not answer in time"))
            self._breaker.undecided()
            raise
        except BaseException:
            self._breaker.undecided()
            raise

    @contextmanager
    def felt_by_body(self) -> Iterator[None]:
        """Learn from how the reading of a body goes.

        That it comes is no sign of life, for it may come from elsewhere; that several in a row stall says that the
        endpoint is of no use. One that is cut goes on somewhere at once, which costs nobody anything.
        """
        started = _now()
        try:
            yield
        except UpstreamTimeout as error:
            self._stalled(error)
            raise
        except asyncio.CancelledError:
            if _now() - started >= PATIENCE:
                self._stalled(UpstreamTimeout("it sends nothing any more"))
            raise

    def delivered(self) -> None:
        """A body came to its end."""
        self._breaker.delivered()

    def _stalled(self, failure: MirrorError) -> None:
        was_out, self._cause = self.is_out, failure
        self._breaker.stalled(_now())
        self._tell(was_out=was_out)
        self._see_to_pings()

    def _suspect(self) -> None:
        self._breaker.suspect(_now())
        self._see_to_pings()

    def _learn(self, failure: MirrorError | None) -> None:
        was_out = self.is_out
        if failure is None:
            self._breaker.succeeded()
        else:
            self._cause = failure
            self._breaker.failed(_now(), in_time=not isinstance(failure, UpstreamTimeout))
        self._tell(was_out=was_out)
        self._see_to_pings()

    def _tell(self, *, was_out: bool) -> None:
        if self.is_out != was_out:
            cause = str(self._cause) if self.is_out else None
            self._observer.notify(EndpointJudged(self.upstream, self.endpoint, not self.is_out, cause))

    def _see_to_pings(self) -> None:
        is_pinging = self._pinging is not None and not self._pinging.done()
        if self._breaker.ping_at is not None and not is_pinging:
            # In a context of its own: what came along with somebody's request is not passed on.
            self._pinging = Context().run(self._tasks.spawn, self._keep_pinging(), f"ping {self.endpoint}")

    async def _keep_pinging(self) -> None:
        while (due := self._breaker.ping_at) is not None:
            if due > _now():
                await asyncio.sleep(due - _now())
                continue
            failure = await self._pinged()
            was_out = self.is_out
            self._cause = failure or self._cause
            self._breaker.pinged(_now(), is_alive=failure is None)
            self._tell(was_out=was_out)

    async def _pinged(self) -> MirrorError | None:
        try:
            async with answer_within(PING_WITHIN):
                await self._ping()
        except (CredentialsUnavailable, LimitReached):
            # Nobody was asked: all stays as it is.
            return self._cause if self.is_out else None
        except (Refused, UpstreamThrottled, UpstreamLoops):
            return None
        except UpstreamUnavailable as error:
            return error
        return None


def _now() -> float:
    return asyncio.get_running_loop().time()

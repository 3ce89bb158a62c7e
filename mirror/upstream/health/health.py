"""What is known of all endpoints of all upstreams, shared by everybody who asks them."""

from __future__ import annotations

import random

from yarl import URL

from mirror.proxy.events.observer import Observer
from mirror.proxy.tasks import Tasks
from mirror.upstream.health.breaker import Breaker
from mirror.upstream.health.pulse import Ping, Pulse
from mirror.upstream.health.retry_budget import RetryBudget


class Health:
    """The pulse of each endpoint, and the retry budget of each upstream.

    Pings are tasks of its own, which nobody waits for when the mirror stops.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._pings = Tasks(observer)
        self._pulses: dict[tuple[str, URL], Pulse] = {}
        self._budgets: dict[str, RetryBudget] = {}

    def pulse(self, upstream: str, endpoint: URL, ping: Ping, *, is_registry: bool) -> Pulse:
        """Return the pulse of this endpoint of an upstream, pinged as whoever asked for it first would."""
        key = (upstream, endpoint)
        if key not in self._pulses:
            breaker = Breaker(needs_proof=is_registry, chance=random.random)
            self._pulses[key] = Pulse(upstream, str(endpoint), breaker, ping, self._pings, self._observer)
        return self._pulses[key]

    def budget(self, upstream: str) -> RetryBudget:
        """Return the retry budget of an upstream."""
        return self._budgets.setdefault(upstream, RetryBudget())

    def degraded(self) -> list[str]:
        """Return the upstreams one of whose endpoints does not answer, in the order of the configuration."""
        return list(dict.fromkeys(pulse.upstream for pulse in self._pulses.values() if pulse.is_out))

    def unreachable(self) -> list[str]:
        """Return the upstreams none of whose endpoints answers, of which nothing new is to be had."""
        answering = {pulse.upstream for pulse in self._pulses.values() if not pulse.is_out}
        return [upstream for upstream in self.degraded() if upstream not in answering]

    async def close(self) -> None:
        """Stop all pings."""
        await self._pings.cancel()

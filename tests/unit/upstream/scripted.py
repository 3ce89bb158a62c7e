"""Endpoints that answer what a test has written down for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import aiohttp

from mirror.errors import MirrorError
from mirror.proxy.events.observer import Observer
from mirror.proxy.tasks import Tasks
from mirror.upstream.answers import RegistryRequest, check
from mirror.upstream.auth.account import Account
from mirror.upstream.auth.authenticator import AuthPolicy
from mirror.upstream.auth.tokens import TokenServices
from mirror.upstream.base_url import BaseUrl
from mirror.upstream.client import RegistryClient
from mirror.upstream.egress import Egress
from mirror.upstream.endpoint import Endpoint
from mirror.upstream.endpoints import Candidate, Endpoints
from mirror.upstream.health.breaker import Breaker
from mirror.upstream.health.pulse import Pulse
from mirror.upstream.health.retry_budget import RetryBudget
from tests.unit.proxy.doubles import MemoryCache, SettableClock
from tests.unit.recorder import Recorder
from tests.unit.upstream.answers import ASKED
from tests.unit.upstream.purses import purse


class ScriptedEndpoint(Endpoint):
    """An endpoint that answers what it was told to, after so many seconds."""

    def __init__(self, *answers: aiohttp.ClientResponse | MirrorError, seconds: float = 0) -> None:
        observer = Recorder()
        egress = Egress("test", lambda: "mirror-test")
        tokens = TokenServices(egress, MemoryCache(SettableClock()), Tasks(observer), observer)
        account = Account(AuthPolicy("x", ASKED), tokens, observer, purse("x"))
        super().__init__(BaseUrl(ASKED), [account], egress, observer)
        self._answers = list(answers)
        self._seconds = seconds
        self.requests: list[RegistryRequest] = []
        self.when_asked: Callable[[], None] = lambda: None
        self.pings: list[MirrorError | None] = []
        """How pings go, in order; when there are no more of them, well."""
        self.pinged = 0

    @property
    def asked(self) -> list[str]:
        """The methods of the requests so far."""
        return [request.method for request in self.requests]

    async def ping(self) -> None:
        """Answer the next ping."""
        self.pinged += 1
        outcome = self.pings.pop(0) if self.pings else None
        if outcome is not None:
            raise outcome

    async def request(self, request: RegistryRequest) -> aiohttp.ClientResponse:
        """Answer the next request."""
        self.requests.append(request)
        self.when_asked()
        await asyncio.sleep(self._seconds)
        response = self._answers.pop(0)
        if isinstance(response, MirrorError):
            raise response
        check(response, self.origin, request)
        return response


def endpoints_of(endpoints: Mapping[str, Endpoint], observer: Observer, budget: RetryBudget | None = None) -> Endpoints:
    """Return what walks through endpoints, which are called as said; the last is the registry."""
    tasks, last = Tasks(observer), list(endpoints.values())[-1]
    candidates = []
    for name, endpoint in endpoints.items():
        breaker = Breaker(needs_proof=endpoint is last, chance=lambda: 0.0)
        candidates.append(Candidate(endpoint, Pulse("x", name, breaker, endpoint.ping, tasks, observer)))
    return Endpoints(candidates, budget or RetryBudget())


def client(*endpoints: ScriptedEndpoint, observer: Recorder | None = None) -> RegistryClient:
    """Return a client of these endpoints, which are called by their numbers from 0."""
    told = observer or Recorder()
    return RegistryClient("x", endpoints_of({str(at): one for at, one in enumerate(endpoints)}, told), told)

"""Endpoints that answer what a test has written down for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp

from mirror.errors import MirrorError
from mirror.proxy.tasks import Tasks
from mirror.upstream.account import Account
from mirror.upstream.answers import RegistryRequest, check
from mirror.upstream.auth import AuthPolicy
from mirror.upstream.base_url import BaseUrl
from mirror.upstream.client import RegistryClient
from mirror.upstream.egress import Egress
from mirror.upstream.endpoint import Endpoint
from mirror.upstream.tokens import TokenServices
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

    @property
    def asked(self) -> list[str]:
        """The methods of the requests so far."""
        return [request.method for request in self.requests]

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


def client(*endpoints: ScriptedEndpoint) -> RegistryClient:
    """Return a client of these endpoints."""
    return RegistryClient("x", endpoints, Recorder())

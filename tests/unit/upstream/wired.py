"""A registry client of the mirror with a network of its own, for tests of what it says and hears on the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from yarl import URL

from mirror.proxy.tasks import Tasks
from mirror.upstream.auth.account import Account
from mirror.upstream.auth.authenticator import AuthPolicy
from mirror.upstream.auth.tokens import TokenServices
from mirror.upstream.base_url import BaseUrl
from mirror.upstream.client import RegistryClient
from mirror.upstream.egress import Egress
from mirror.upstream.endpoint import Endpoint
from tests.unit.proxy.doubles import MemoryCache, SettableClock
from tests.unit.recorder import Recorder
from tests.unit.upstream.purses import purse
from tests.unit.upstream.scripted import endpoints_of


@asynccontextmanager
async def registry_client(*endpoints: URL) -> AsyncIterator[RegistryClient]:
    """Yield a client of an upstream with these endpoints, which asks for no credentials."""
    observer = Recorder()
    egress = Egress("test", lambda: "mirror-test")
    await egress.start()
    tokens = TokenServices(egress, MemoryCache(SettableClock()), Tasks(observer), observer)

    def endpoint(url: URL) -> Endpoint:
        account = Account(AuthPolicy("x", url, private_network=True), tokens, observer, purse("x"))
        return Endpoint(BaseUrl(url), [account], egress, observer)

    try:
        yield RegistryClient("x", endpoints_of({str(url): endpoint(url) for url in endpoints}, observer), observer)
    finally:
        await egress.close()

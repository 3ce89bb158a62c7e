"""Who asks at an endpoint: with which credentials, or none, and what a limit leaves to spend."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiohttp

from mirror.errors import CredentialsUnavailable, Denied, UpstreamThrottled
from mirror.oci.reference import Repository
from mirror.proxy.cache_status import Kind
from mirror.proxy.events.observer import Observer
from mirror.proxy.limits.hold import Cost
from mirror.proxy.limits.purses import Purse
from mirror.upstream.answers import RegistryRequest, retry_after
from mirror.upstream.auth.authenticator import Authenticator, AuthPolicy
from mirror.upstream.auth.tokens import TokenServices
from mirror.upstream.rate_limit import counted_for, rate_limit
from mirror.upstream.refusal import held_back

Unable = Denied | UpstreamThrottled | CredentialsUnavailable
"""Why one account gets nothing where another may."""

UNABLE = (Denied, UpstreamThrottled, CredentialsUnavailable)
"""The same, to be caught."""

_MOST_READERS = 1000
# Repositories of which it is remembered who may read them; of others it is found out anew.


class Account:
    """One of the accounts that the mirror has at an endpoint; without credentials it is anybody's."""

    def __init__(self, policy: AuthPolicy, tokens: TokenServices, observer: Observer, purse: Purse) -> None:
        self.policy = policy
        self.purse = purse
        self.looking = asyncio.Lock()
        """Held by who sees whether something is left again."""
        self.authenticator = Authenticator(policy, tokens, observer)

    async def hears(self, response: aiohttp.ClientResponse, cost: Cost, *, is_own: bool) -> None:
        """Take note of what an answer says of the limit; only the registry's own (`is_own`) can speak of it."""
        rate = rate_limit(response.headers) if is_own else None
        if rate is not None:
            self.purse.told(rate, counted_for(response.headers))
        if response.status == 429 and is_own:
            await self._refused(response, cost)
        elif response.status < 500:
            self.purse.answered(cost)

    async def _refused(self, response: aiohttp.ClientResponse, cost: Cost) -> None:
        held = Cost.NOTHING
        try:
            held = await held_back(response, cost)
        finally:
            # Whoever asked may give up while the words are read; that it was a 429 is known.
            self.purse.throttled(held, retry_after(response))


class Accounts:
    """All accounts at an endpoint, and which of them may read what others may not."""

    def __init__(self, accounts: Sequence[Account]) -> None:
        self._accounts = accounts
        self._readers: dict[Repository, Account] = {}

    def in_turn(self, repository: Repository | None) -> list[Account]:
        """Return the accounts in the order in which they are tried: the one that has the most left first.

        One that was let in where another was not goes before them: each try of the others would be in vain.
        `repository` is None for what is not about one.
        """
        reader = None if repository is None else self._readers.get(repository)
        return sorted(self._accounts, key=lambda account: (account is not reader, account.purse.rank))

    def refusal(self) -> Unable | None:
        """Return why nothing is to be asked in the name of any of them now; None if something may be."""
        if all(account.purse.is_held(Cost.NOTHING) for account in self._accounts):
            return what_they_say([account.purse.refusal(Cost.NOTHING) for account in self._accounts])
        return None

    def let_in(self, repository: Repository, account: Account) -> None:
        """Note that this account may read what another may not."""
        if repository not in self._readers and len(self._readers) >= _MOST_READERS:
            del self._readers[next(iter(self._readers))]
        self._readers[repository] = account


def cost_of(request: RegistryRequest) -> Cost:
    """Return what a registry that limits pulls counts this as.

    Docker Hub counts the GET of a manifest, once for an index and once for the image in it, and neither HEAD nor
    blobs nor lists. Others that limit pulls are taken to do likewise.
    """
    if request.kind is not Kind.MANIFEST:
        return Cost.NOTHING
    return Cost.PULL if request.method == "GET" else Cost.LOOK


def what_they_say(refusals: Sequence[Unable]) -> Unable:
    """Return the answer where no account gets one, of at least one refusal.

    While one of them could not ask, that the others may not read it does not say that nobody may.
    """
    throttled = [error for error in refusals if isinstance(error, UpstreamThrottled)]
    if throttled:
        return min(throttled, key=lambda error: error.retry_after or 0)
    return next((error for error in refusals if not isinstance(error, Denied)), refusals[0])

"""One base URL of an upstream: sends requests there, by one of the mirror's accounts, and answers its challenges."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import aiohttp

from mirror.errors import Denied, NameUnknown, UpstreamFailed, UpstreamInvalid, UpstreamThrottled
from mirror.oci.reference import Repository
from mirror.proxy.cache_status import Kind
from mirror.proxy.events.limits import PullSpent
from mirror.proxy.events.observer import Observer
from mirror.proxy.events.upstreams import UpstreamAnswered
from mirror.proxy.limits.hold import Cost
from mirror.upstream.answers import RegistryRequest, check, is_page
from mirror.upstream.auth.account import UNABLE, Account, Accounts, Unable, cost_of, what_they_say
from mirror.upstream.auth.authenticator import Authenticator
from mirror.upstream.auth.challenge import parse_challenges
from mirror.upstream.base_url import BaseUrl
from mirror.upstream.egress import Egress, Outgoing
from mirror.upstream.origin import origin_of
from mirror.upstream.proxy import may_be_proxy
from mirror.upstream.rate_limit import rate_limit

_PING = RegistryRequest("GET", Kind.OTHER, None, "", NameUnknown)


class Endpoint:
    """Where an upstream is asked, and by whom: at least one account.

    `timeout` is the seconds it has to answer while there is another endpoint, None for the usual.
    """

    def __init__(
        self,
        base: BaseUrl,
        accounts: Sequence[Account],
        egress: Egress,
        observer: Observer,
        timeout: float | None = None,
    ) -> None:
        self.base = base
        self.origin = base.origin
        self.timeout = timeout
        self._accounts = Accounts(accounts)
        self._egress = egress
        self._observer = observer

    async def request(self, request: RegistryRequest) -> aiohttp.ClientResponse:
        """Return the answer if it is one of the accepted statuses, its body unread; the caller releases it.

        A 401 is answered once, and so is another way to say that what was sent unasked has run out; what comes then is
        the answer, if no other account may read it. Raises what it means if it is not an accepted one,
        UpstreamUnavailable if there is none, and LimitReached without asking if it would be in vain.
        """
        if request.repository is not None:
            request = replace(request, repository=self.base.named(request.repository))
        refusals: list[Unable] = []
        for account in self._accounts.in_turn(request.repository):
            try:
                response = await self._asked_by(account, request)
            except UNABLE as error:
                refusals.append(error)
                continue
            if request.repository is not None and any(isinstance(error, Denied) for error in refusals):
                self._accounts.let_in(request.repository, account)
            return response
        raise what_they_say(refusals)

    def refusal(self) -> Unable | None:
        """Return why nothing is to be asked here now, since all accounts are to wait; None if something may be."""
        return self._accounts.refusal()

    async def ping(self) -> None:
        """Return if a registry answers, its token service included.

        Raises Refused for its own no, UpstreamUnavailable if there is none.
        """
        response = await self.request(_PING)
        response.release()
        if is_page(response):
            raise UpstreamInvalid("upstream answers with a page for people")

    async def _asked_by(self, account: Account, request: RegistryRequest) -> aiohttp.ClientResponse:
        cost = cost_of(request)
        if account.purse.is_held(cost):
            raise account.purse.refusal(cost)
        if cost is not Cost.PULL:
            return await self._checked(account, request)
        if account.purse.is_doubtful():
            await self._look(account, request)
        with account.purse.pulling():
            response = await self._checked(account, request)
        self._observer.notify(PullSpent(account.policy.upstream))
        return response

    async def _look(self, account: Account, request: RegistryRequest) -> None:
        """See by a HEAD, which costs nothing, whether a pull will be granted; raises what it means if not.

        Who comes meanwhile waits for what it shows.
        """
        async with account.looking:
            if not account.purse.is_doubtful():
                return
            if not account.purse.is_held(Cost.PULL) and account.purse.look():
                head = replace(request, method="HEAD", accepted=frozenset({200, 405}))
                response = await self._checked(account, head)
                response.release()
                if response.status == 200 and rate_limit(response.headers) is None:
                    # There is no limit, or none on this one.
                    return
            if account.purse.is_doubtful():
                raise account.purse.refusal(Cost.PULL)

    async def _checked(self, account: Account, request: RegistryRequest) -> aiohttp.ClientResponse:
        response = await self._authorized(account, request)
        cost = cost_of(request)
        await account.hears(response, cost, is_own=origin_of(response.url) == self.origin)
        policy = account.policy
        try:
            check(response, self.origin, request)
        except Denied:
            if not account.authenticator.has_credentials:
                raise
            whose = f"the mirror's credentials (upstreams.{policy.upstream}.credentials)"
            raise Denied(f"upstream refuses {whose}, or does not let them read this") from None
        except UpstreamThrottled:
            if not account.purse.is_held(cost):
                raise
            refusal = account.purse.refusal(cost)
            raise UpstreamThrottled(str(refusal), refusal.retry_after) from None
        except UpstreamFailed as error:
            if not may_be_proxy(policy.proxy, response.url):
                raise
            raise UpstreamFailed(f"{error}, or its proxy did") from None
        return response

    async def _authorized(self, account: Account, request: RegistryRequest) -> aiohttp.ClientResponse:
        authorization = await account.authenticator.authorization(request.repository)
        response = await self._send(account, request, authorization)
        if response.status in request.accepted or origin_of(response.url) != self.origin:
            return response
        another = await _another(account.authenticator, response, request.repository, authorization)
        return response if another is None else await self._send(account, request, another)

    async def _send(
        self, account: Account, request: RegistryRequest, authorization: str | None
    ) -> aiohttp.ClientResponse:
        path = f"{request.repository}/{request.path}" if request.repository else ""
        url = self.base.target(path, request.query)
        headers = dict(request.headers) | ({"Accept": request.accept} if request.accept else {})
        policy = account.policy
        outgoing = Outgoing(
            request.method,
            url,
            policy.private_network,
            headers,
            authorization,
            proxy=policy.proxy,
            trust=policy.trust,
            spares=request.spares,
        )
        started = time.monotonic()
        status = None
        try:
            response = await self._egress.open(outgoing)
            status = response.status
        finally:
            seconds = time.monotonic() - started
            self._observer.notify(UpstreamAnswered(policy.upstream, request.kind, status, seconds))
        return response


async def _another(
    authenticator: Authenticator, response: aiohttp.ClientResponse, repository: Repository | None, refused: str | None
) -> str | None:
    """Return the header to ask again with, None where there is none; `refused` is the one that got the response."""
    if response.status == 401:
        challenges = parse_challenges(response.headers.getall("WWW-Authenticate", []))
        response.release()
        return await authenticator.respond(challenges, repository, refused)
    if refused is None or response.status == 429:
        # The words of a 429 are still to be read.
        return None
    response.release()
    return await authenticator.renewed(repository, refused, response.status)

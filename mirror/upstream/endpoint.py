"""One base URL of an upstream: sends requests there, and answers its challenges."""

from __future__ import annotations

import time
from dataclasses import replace

import aiohttp

from mirror.errors import Denied, UpstreamFailed
from mirror.proxy.events import Observer, UpstreamAnswered
from mirror.upstream.answers import RegistryRequest, check
from mirror.upstream.auth import Authenticator, AuthPolicy
from mirror.upstream.base_url import BaseUrl
from mirror.upstream.challenge import parse_challenges
from mirror.upstream.egress import Egress, Outgoing
from mirror.upstream.origin import origin_of
from mirror.upstream.proxy import may_be_proxy
from mirror.upstream.tokens import TokenServices


class Endpoint:
    """Where an upstream is asked; `timeout` is the seconds it has to answer while there is another, None the usual."""

    def __init__(
        self,
        base: BaseUrl,
        policy: AuthPolicy,
        egress: Egress,
        tokens: TokenServices,
        observer: Observer,
        timeout: float | None = None,
    ) -> None:
        self.base = base
        self.origin = base.origin
        self.timeout = timeout
        self._policy = policy
        self._egress = egress
        self._observer = observer
        self._authenticator = Authenticator(policy, tokens, observer)

    async def request(self, request: RegistryRequest) -> aiohttp.ClientResponse:
        """Return the answer if it is one of the accepted statuses, its body unread; the caller releases it.

        A 401 is answered once; a second one is the answer. Raises what the answer means otherwise, and
        UpstreamUnavailable if there is none.
        """
        response = await self._authorized(replace(request, repository=self.base.named(request.repository)))
        try:
            check(response, self.origin, request)
        except Denied:
            if not self._authenticator.has_credentials:
                raise
            whose = f"the mirror's credentials (upstreams.{self._policy.upstream}.credentials)"
            raise Denied(f"upstream refuses {whose}, or does not let them read this") from None
        except UpstreamFailed as error:
            if not may_be_proxy(self._policy.proxy, response.url):
                raise
            raise UpstreamFailed(f"{error}, or its proxy did") from None
        return response

    async def _authorized(self, request: RegistryRequest) -> aiohttp.ClientResponse:
        authorization = await self._authenticator.authorization(request.repository)
        response = await self._send(request, authorization)
        if response.status != 401 or origin_of(response.url) != self.origin:
            return response
        challenges = parse_challenges(response.headers.getall("WWW-Authenticate", []))
        response.release()
        answer = await self._authenticator.respond(challenges, request.repository, refused=authorization)
        return response if answer is None else await self._send(request, answer)

    async def _send(self, request: RegistryRequest, authorization: str | None) -> aiohttp.ClientResponse:
        url = self.base.target(f"{request.repository}/{request.path}", request.query)
        headers = dict(request.headers) | ({"Accept": request.accept} if request.accept else {})
        policy = self._policy
        outgoing = Outgoing(
            request.method, url, policy.private_network, headers, authorization, proxy=policy.proxy, trust=policy.trust
        )
        started = time.monotonic()
        status = None
        try:
            response = await self._egress.open(outgoing)
            status = response.status
        finally:
            seconds = time.monotonic() - started
            self._observer.notify(UpstreamAnswered(self._policy.upstream, request.kind, status, seconds))
        return response

"""Token services: a token for a scope, remembered until shortly before it ends (distribution, spec/auth).

A user name and a password go along with a GET; an identity token is exchanged by a POST (oauth.md there).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from yarl import URL

from mirror.errors import Denied, MirrorError, UpstreamFailed, UpstreamInvalid, UpstreamThrottled
from mirror.proxy.deadline import answer_within
from mirror.proxy.events.access import TokenRequested
from mirror.proxy.events.observer import Observer
from mirror.proxy.interfaces.store import ShortLivedCache
from mirror.proxy.limits.hold import hold_seconds
from mirror.proxy.single_flight import SingleFlight
from mirror.proxy.tasks import Tasks
from mirror.upstream.answers import read_capped, retry_after
from mirror.upstream.egress import Egress, Outgoing
from mirror.upstream.proxy import Proxy
from mirror.upstream.trust import SYSTEM, Trust

MAX_ANSWER = 64 * 1024
DEFAULT_LIFETIME = 60.0
"""Seconds a token lives if its service does not say (token.md)."""

MAX_LIFETIME = 3600.0
"""Longest time a token is believed to live; services that say more are asked again all the same."""

RENEW_AT = 0.8
"""The share of its life after which a token is no longer used, so that none ends on the way."""

_CLIENT = "mirror"
_THROTTLED = "upstream's token service limits requests"
_SALT = secrets.token_bytes(16)
_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What is asked of a token service; `authorization` and `refresh_token` go to the realm's origin only."""

    upstream: str
    realm: URL
    service: str
    scopes: tuple[str, ...]
    private_network: bool
    account: str = ""
    authorization: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    proxy: Proxy | None = None
    trust: Trust = SYSTEM

    @property
    def key(self) -> str:
        """What a token is remembered under: nothing that would make it another token is left out."""
        return json.dumps([self.asker, self.service, sorted(self.scopes)])

    @property
    def asker(self) -> str:
        """Who asks which service: what is held back together where that service limits requests."""
        secret = json.dumps([self.authorization, self.refresh_token]).encode()
        mark = hashlib.blake2b(secret, key=_SALT, digest_size=16).hexdigest()
        return json.dumps([self.upstream, str(self.realm), self.account, mark])

    @property
    def has_credentials(self) -> bool:
        """Tell whether it is asked for anybody in particular."""
        return self.authorization is not None or self.refresh_token is not None

    @property
    def url(self) -> URL:
        """The realm with the query of this request, one `scope` parameter a scope."""
        query = [("service", self.service)] if self.service else []
        query += [("scope", scope) for scope in self.scopes]
        query += [("account", self.account)] if self.account else []
        return self.realm.extend_query(query)

    @property
    def outgoing(self) -> Outgoing:
        """The request as it goes out."""
        if self.refresh_token is None:
            return replace(self._outgoing, method="GET", url=self.url, authorization=self.authorization)
        form = {
            "grant_type": "refresh_token",
            "service": self.service,
            "scope": " ".join(self.scopes),
            "client_id": _CLIENT,
            "refresh_token": self.refresh_token,
        }
        return replace(self._outgoing, form=form)

    @property
    def _outgoing(self) -> Outgoing:
        return Outgoing("POST", self.realm, self.private_network, proxy=self.proxy, trust=self.trust)


class TokenServices:
    """Obtains tokens: one request for any number of waiters, and none while a token is good."""

    def __init__(self, egress: Egress, cache: ShortLivedCache, tasks: Tasks, observer: Observer) -> None:
        self._egress = egress
        self._cache = cache
        self._observer = observer
        self._flights = SingleFlight[str](tasks)

    async def token(self, request: TokenRequest, refused: str | None) -> str:
        """Return a token other than `refused`.

        Raises Denied if the service refuses, UpstreamUnavailable if it cannot be asked or answers nonsense, and
        UpstreamThrottled without asking while it is to be left alone.
        """
        known = await self._cache.get(request.key)
        if known is not None and known != refused:
            return known
        token, _ = await self._flights.run(request.key, lambda: self._obtain(request, refused))
        return token

    async def _obtain(self, request: TokenRequest, refused: str | None) -> str:
        known = await self._cache.get(request.key)
        if known is not None and known != refused:
            return known
        await self._check_held(request)
        try:
            async with answer_within():
                token, lifetime = await self._ask(request)
        except MirrorError as error:
            if isinstance(error, UpstreamThrottled):
                await self._hold(request, error)
            outcome = "refused" if isinstance(error, Denied) else "failed"
            self._observer.notify(TokenRequested(request.upstream, outcome))
            raise
        self._observer.notify(TokenRequested(request.upstream, "granted"))
        await self._cache.set(request.key, token, lifetime * RENEW_AT)
        return token

    async def _hold(self, request: TokenRequest, error: UpstreamThrottled) -> None:
        seconds = hold_seconds(error.retry_after)
        if error.retry_after is None:
            error.retry_after = math.ceil(seconds)
        await self._cache.set(f"held {request.asker}", str(time.monotonic() + seconds), seconds)

    async def _check_held(self, request: TokenRequest) -> None:
        until = await self._cache.get(f"held {request.asker}")
        if until is not None:
            raise UpstreamThrottled(_THROTTLED, max(1, math.ceil(float(until) - time.monotonic())))

    async def _ask(self, request: TokenRequest) -> tuple[str, float]:
        response = await self._egress.open(request.outgoing)
        data = await read_capped(response, MAX_ANSWER)
        match response.status:
            case 200:
                return parse_token(data)
            case 400 if request.refresh_token is not None and _says_invalid_grant(data):
                raise Denied("upstream's token service does not take the mirror's identity token")
            case 401 | 403 if request.has_credentials:
                whose = f"the mirror's credentials (upstreams.{request.upstream}.credentials)"
                raise Denied(f"upstream's token service refuses {whose}, or does not let them read this")
            case 401 | 403:
                raise Denied("upstream's token service refuses a token for this repository")
            case 429:
                raise UpstreamThrottled(_THROTTLED, retry_after(response))
        raise UpstreamFailed(f"upstream's token service answered {response.status}")


def parse_token(data: bytes) -> tuple[str, float]:
    """Return the token of a token service's answer and the seconds it lives; raises UpstreamInvalid."""
    answer = _document(data)
    token = answer.get("token") or answer.get("access_token")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise UpstreamInvalid("upstream's token service did not answer with a token")
    return token, _lifetime(answer.get("expires_in"))


def _document(data: bytes) -> Mapping[str, Any]:
    try:
        answer = json.loads(data.decode())
    except (ValueError, RecursionError):
        answer = None
    return answer if isinstance(answer, Mapping) else {}


def _says_invalid_grant(data: bytes) -> bool:
    """Tell whether this is OAuth's way of refusing a refresh token (RFC 6749, 5.2)."""
    return _document(data).get("error") == "invalid_grant"


def _lifetime(seconds: Any) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        return DEFAULT_LIFETIME
    return float(min(seconds, MAX_LIFETIME))

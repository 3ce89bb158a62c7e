"""Authorization for one endpoint: the challenge it gave, the scope to ask for, the answer to send.

Credentials are bound to origins. A challenge can name any token service it likes (CVE-2026-33540); one that is
not bound is asked without them.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from yarl import URL

from mirror.errors import Denied, UpstreamInvalid, UpstreamUnavailable
from mirror.oci.reference import Repository
from mirror.proxy.events.access import CredentialsWithheld
from mirror.proxy.events.observer import Observer
from mirror.upstream.auth.challenge import Challenge
from mirror.upstream.auth.credentials import Credential, Credentials
from mirror.upstream.auth.tokens import TokenRequest, TokenServices
from mirror.upstream.origin import has_proper_host, origin_of
from mirror.upstream.proxy import Proxy
from mirror.upstream.trust import SYSTEM, Trust

KNOWN_REALMS = {
    "https://registry-1.docker.io": ("https://auth.docker.io",),
    "https://registry.gitlab.com": ("https://gitlab.com",),
}
"""Token services on another origin than their registry, which may see its credentials without being configured."""

_ALIBABA = re.compile(r"https://registry\.([a-z]{2}-[a-z]+(?:-[a-z0-9]+)*)\.aliyuncs\.com")
# Its token services are called alike in each region; names with so few labels are not its customers' to have.

_HAS_RUN_OUT = {400: "bearer", 403: "basic"}
# The other way round they are about what was asked: a 403 for a token is a no.


@dataclass(frozen=True, slots=True)
class AuthPolicy:
    """What an endpoint's challenges may lead to: `realms` are further origins bound to the credentials."""

    upstream: str
    origin: URL
    credentials: Credentials | None = None
    realms: frozenset[URL] = frozenset()
    private_network: bool = False
    proxy: Proxy | None = None
    trust: Trust = SYSTEM

    def binds(self, realm: URL) -> bool:
        """Tell whether the credentials may be sent to this token service."""
        origin = origin_of(self.origin)
        return origin_of(realm) in {origin, *map(origin_of, self.realms), *map(URL, _known_realms(str(origin)))}


class Authenticator:
    """Knows how one endpoint wants to be asked, as far as it has said so."""

    def __init__(self, policy: AuthPolicy, tokens: TokenServices, observer: Observer) -> None:
        self._policy = policy
        self._tokens = tokens
        self._observer = observer
        self._challenge: Challenge | None = None

    @property
    def has_credentials(self) -> bool:
        """Tell whether what is sent comes of credentials, as far as the endpoint has said how it wants to be asked."""
        if self._policy.credentials is None or self._challenge is None:
            return False
        realm = parse_realm(self._challenge.realm)
        return self._challenge.scheme == "basic" or (realm is not None and self._policy.binds(realm))

    async def authorization(self, repository: Repository | None) -> str | None:
        """Return the header to send unasked, from what the endpoint demanded before; None before it did.

        `repository` is None for what is not about one.
        """
        if self._challenge is None:
            return None
        try:
            return await self._answer(self._challenge, repository, refused=None)
        except (Denied, UpstreamUnavailable):
            # The endpoint may name another token service by now, or want none: asked without a token, it will say.
            self._challenge = None
            return None
        except asyncio.CancelledError:
            # Nobody waited to the end for a token service that says nothing: next time the endpoint is asked first.
            self._challenge = None
            raise

    async def respond(
        self, challenges: list[Challenge], repository: Repository | None, refused: str | None
    ) -> str | None:
        """Return the header that answers a 401, None if nothing does; `refused` is the header that got it.

        `repository` is None for what is not about one.

        Raises UpstreamUnavailable if the token service cannot be asked, Denied if it refuses.
        """
        challenge = self._choose(challenges)
        if challenge is None:
            return None
        answer = await self._answer(challenge, repository, refused)
        self._challenge = _for_any_repository(challenge)
        return None if answer == refused else answer

    async def renewed(self, repository: Repository | None, refused: str, status: int) -> str | None:
        """Return the header that takes the place of one that was sent unasked and refused without a challenge.

        None if there is none, or if the status does not say that the header has had its time: Amazon's registries say
        403 of a password that ran out, and 400 of a token. Raises as `respond` does.
        """
        scheme = _HAS_RUN_OUT.get(status)
        if self._challenge is None or self._challenge.scheme != scheme:
            return None
        answer = await self._answer(self._challenge, repository, refused)
        return None if answer == refused else answer

    def _choose(self, challenges: list[Challenge]) -> Challenge | None:
        bearers = [challenge for challenge in challenges if challenge.scheme == "bearer"]
        basics = [challenge for challenge in challenges if challenge.scheme == "basic" and self._policy.credentials]
        usable = [challenge for challenge in bearers if self._may_be_asked(parse_realm(challenge.realm))]
        return next(iter([*usable, *basics, *bearers]), None)

    async def _answer(self, challenge: Challenge, repository: Repository | None, refused: str | None) -> str | None:
        if challenge.scheme == "basic":
            return await self._basic(refused)
        realm = self._realm(challenge)
        credentials = self._bound(realm)
        credential = await credentials.current() if credentials else None
        refused = refused and refused.removeprefix("Bearer ")
        try:
            token = await self._tokens.token(self._request(challenge, realm, repository, credential), refused)
        except Denied:
            another = await credentials.renewed(credential) if credentials and credential else None
            if another == credential:
                raise
            token = await self._tokens.token(self._request(challenge, realm, repository, another), refused)
        return f"Bearer {token}"

    async def _basic(self, refused: str | None) -> str | None:
        credentials = self._policy.credentials
        if credentials is None:
            return None
        credential = await credentials.current()
        if refused is not None and credential.basic == refused:
            credential = await credentials.renewed(credential)
        return credential.basic

    def _bound(self, realm: URL) -> Credentials | None:
        if self._policy.credentials is not None and not self._policy.binds(realm):
            self._observer.notify(CredentialsWithheld(self._policy.upstream, str(realm.origin())))
            return None
        return self._policy.credentials

    def _request(
        self, challenge: Challenge, realm: URL, repository: Repository | None, credential: Credential | None
    ) -> TokenRequest:
        scope = challenge.scope or (repository.pull_scope if repository else "")
        return TokenRequest(
            self._policy.upstream,
            realm,
            challenge.service,
            tuple(dict.fromkeys(map(_pull_only, scope.split()))),
            self._policy.private_network,
            account=credential.username if credential else "",
            authorization=credential.basic if credential else None,
            refresh_token=credential.password if credential and credential.is_identity_token else None,
            proxy=self._policy.proxy,
            trust=self._policy.trust,
        )

    def _realm(self, challenge: Challenge) -> URL:
        realm = parse_realm(challenge.realm)
        if realm is None:
            raise UpstreamInvalid("upstream demands a token and does not say from where")
        if not self._may_be_asked(realm):
            raise UpstreamInvalid("upstream's token service is not on https")
        return realm

    def _may_be_asked(self, realm: URL | None) -> bool:
        return realm is not None and not (self._policy.origin.scheme == "https" and realm.scheme == "http")


def parse_realm(text: str) -> URL | None:
    """Return the address of a token service, None if `text` is no address that could be one."""
    try:
        realm = URL(text)
        anonymous = realm.user is None and realm.password is None
        return realm if realm.scheme in ("http", "https") and has_proper_host(realm) and anonymous else None
    except (ValueError, IndexError):  # yarl raises the latter for "https://[]@"
        return None


def _known_realms(origin: str) -> tuple[str, ...]:
    if alibaba := _ALIBABA.fullmatch(origin):
        return (f"https://dockerauth.{alibaba[1]}.aliyuncs.com",)
    return KNOWN_REALMS.get(origin, ())


def _pull_only(scope: str) -> str:
    """Return a scope as it is, but of a repository no more than the right to pull: pushing is not our business."""
    kind, _, rest = scope.partition(":")
    name, colon, _ = rest.rpartition(":")
    return f"repository:{name}:pull" if kind == "repository" and colon else scope


def _for_any_repository(challenge: Challenge) -> Challenge:
    """Return what a challenge for one repository says of all: a scope of another kind holds for each of them."""
    if not challenge.scope.startswith("repository:"):
        return challenge
    return Challenge(challenge.scheme, challenge.realm, challenge.service)

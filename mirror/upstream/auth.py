"""Authorization for one endpoint: the challenge it gave, the scope to ask for, the answer to send.

Credentials are bound to origins. A challenge can name any token service it likes (CVE-2026-33540); one that is
not bound is asked without them.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from yarl import URL

from mirror.errors import UpstreamInvalid, UpstreamUnavailable
from mirror.oci.reference import Repository
from mirror.proxy.events import CredentialsWithheld, Observer
from mirror.upstream.challenge import Challenge
from mirror.upstream.origin import origin_of
from mirror.upstream.tokens import TokenRequest, TokenServices

KNOWN_REALMS = {
    "https://registry-1.docker.io": ("https://auth.docker.io",),
    "https://registry.gitlab.com": ("https://gitlab.com",),
}
"""Token services on another origin than their registry, which may see its credentials without being configured."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A user name and a secret."""

    username: str
    password: str = field(repr=False)

    @property
    def basic(self) -> str:
        """The Authorization header of the Basic scheme (RFC 7617)."""
        pair = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"


@dataclass(frozen=True, slots=True)
class AuthPolicy:
    """What an endpoint's challenges may lead to: `realms` are further origins bound to the credential."""

    upstream: str
    origin: URL
    credential: Credential | None = None
    realms: frozenset[URL] = frozenset()
    private_network: bool = False

    def binds(self, realm: URL) -> bool:
        """Tell whether the credential may be sent to this token service."""
        origin = origin_of(self.origin)
        known = map(URL, KNOWN_REALMS.get(str(origin), ()))
        return origin_of(realm) in {origin, *map(origin_of, self.realms), *known}


class Authenticator:
    """Knows how one endpoint wants to be asked, as far as it has said so."""

    def __init__(self, policy: AuthPolicy, tokens: TokenServices, observer: Observer) -> None:
        self._policy = policy
        self._tokens = tokens
        self._observer = observer
        self._challenge: Challenge | None = None

    async def authorization(self, repository: Repository) -> str | None:
        """Return the header to send unasked, from what the endpoint demanded before; None before it did."""
        if self._challenge is None:
            return None
        try:
            return await self._answer(self._challenge, repository, refused=None)
        except UpstreamUnavailable:
            # The endpoint may name another token service by now; the next request goes and sees.
            self._challenge = None
            raise

    async def respond(self, challenges: list[Challenge], repository: Repository, refused: str | None) -> str | None:
        """Return the header that answers a 401, None if nothing does; `refused` is the header that got it.

        Raises UpstreamUnavailable if the token service cannot be asked, Denied if it refuses.
        """
        challenge = self._choose(challenges)
        if challenge is None:
            return None
        answer = await self._answer(challenge, repository, refused)
        self._challenge = _for_any_repository(challenge)
        return None if answer == refused else answer

    def _choose(self, challenges: list[Challenge]) -> Challenge | None:
        by_scheme = {challenge.scheme: challenge for challenge in reversed(challenges)}
        if bearer := by_scheme.get("bearer"):
            return bearer
        return by_scheme.get("basic") if self._policy.credential else None

    async def _answer(self, challenge: Challenge, repository: Repository, refused: str | None) -> str | None:
        credential = self._policy.credential
        if challenge.scheme == "basic":
            return credential.basic if credential else None
        realm = self._realm(challenge)
        if credential is not None and not self._policy.binds(realm):
            self._observer.notify(CredentialsWithheld(self._policy.upstream, str(realm.origin())))
            credential = None
        request = TokenRequest(
            self._policy.upstream,
            realm,
            challenge.service,
            tuple((challenge.scope or repository.pull_scope).split()),
            self._policy.private_network,
            account=credential.username if credential else "",
            authorization=credential.basic if credential else None,
        )
        token = await self._tokens.token(request, refused and refused.removeprefix("Bearer "))
        return f"Bearer {token}"

    def _realm(self, challenge: Challenge) -> URL:
        try:
            realm = URL(challenge.realm)
            anonymous = realm.user is None and realm.password is None
            usable = realm.scheme in ("http", "https") and bool(realm.host) and anonymous
        except ValueError:
            usable = False
        if not usable:
            raise UpstreamInvalid("upstream demands a token and does not say from where")
        if self._policy.origin.scheme == "https" and realm.scheme == "http":
            raise UpstreamInvalid("upstream's token service is not on https")
        return realm


def _for_any_repository(challenge: Challenge) -> Challenge:
    """Return what a challenge for one repository says of all: a scope of another kind holds for each of them."""
    if not challenge.scope.startswith("repository:"):
        return challenge
    return Challenge(challenge.scheme, challenge.realm, challenge.service)

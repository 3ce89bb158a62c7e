"""Google's registries (docker-registry-proxy's nginx.conf; watchtower 1894; argo-cd 26260)."""

from __future__ import annotations

from dataclasses import replace

from tests.dialects.dialect import SECRET, Dialect
from tests.dialects.house import House
from tests.dialects.site import Site
from tests.fakes import faults
from tests.fakes.answer import Answer
from tests.fakes.auth import TokenAuth, unauthorized
from tests.fakes.cdn import Document, FakeCDN
from tests.fakes.credentials import bearer_token
from tests.fakes.redirects import Redirect
from tests.fakes.request import Request
from tests.fakes.script import Fault
from tests.fakes.token_service import FakeTokenService

KEY = '{\n  "type": "service_account",\n  "private_key": "-----BEGIN PRIVATE KEY-----\\n' + SECRET + '\\n"\n}'
"""The password of `_json_key` is a file of several lines."""


class Verbose(FakeCDN):
    """Signs addresses of more than the 8 KiB that clients take for a header line."""

    def publish(self, key: str, document: Document, redirect: Redirect) -> str:
        """An address that ends in a signature of that size."""
        return super().publish(key, document, redirect) + f"&X-Goog-Signature={'5e' * 6000}"


class Unasking(FakeTokenService):
    """Needs not be told the service: the challenge of `/v2/` says none."""

    def reply(self, request: Request) -> Answer:
        """As described."""
        if request.parameter("service") is None:
            joined = "&" if request.query else "?"
            request = replace(request, target=f"{request.target}{joined}service={self.service}")
        return super().reply(request)


class Terse(TokenAuth):
    """Says of `/v2/` no more than from where tokens are."""

    def refusal(self, request: Request, repository: str | None) -> Answer | None:
        """As described."""
        if repository is None and bearer_token(request.header("Authorization")) is None:
            return unauthorized(f'Bearer realm="{self.tokens.realm}"')
        return super().refusal(request, repository)


class Regional(House):
    """With such a token service."""

    kind = Unasking


class ContainerRegistry(Dialect):
    """The challenge of gcr.io says its service without quotes, and that of `/v2/` no scope."""

    title = "gcr.io"
    challenge = "Bearer, service unquoted"
    tokens_from = "itself, /v2/token"
    quirks = "no scope in the challenge, user _json_key with a file as password, long relative redirects"
    upstream = "gcr.io"
    user = "_json_key"
    may_see = ("gcr.io/v2/token",)
    host = "gcr.io"
    made_of: type[House] = House
    says = 'Bearer realm="{realm}",service={service}'

    def build(self, site: Site) -> None:
        """One host: redirects lead to other paths of it."""
        self.registry = house = site.host(self.host, self.made_of)
        house.tokens.path = "/v2/token"
        house.tokens.accounts = {self.user: self.secret(SECRET)}
        house.tokens.restrict(self.private, self.user)
        house.auth = TokenAuth(house.tokens, challenge=self.says)
        self.objects = site.host(f"objects.{self.host}", Verbose)
        house.redirect_blobs(self.objects, Redirect(status=302, form="relative"))

    def secret(self, secret: str) -> str:
        """A key file with this secret in it."""
        return KEY.replace(SECRET, secret)

    def credentials(self, secret: str) -> dict[str, str]:
        """The key file as it is downloaded."""
        return super().credentials(self.secret(secret))

    def throttled(self) -> Fault:
        """The form of Google's APIs (assumed)."""
        return faults.answer_with(429, b'{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}')


class ArtifactRegistry(ContainerRegistry):
    """`*-docker.pkg.dev`: manifests are redirected as well, and no token is given for what cannot be read.

    That its token service does without a service is known from `docker login`, which has none to tell.
    """

    title = "europe-west3-docker.pkg.dev"
    challenge = "Bearer"
    quirks = "no token for what cannot be read, relative redirects of manifests too, user oauth2accesstoken"
    upstream = host = "europe-west3-docker.pkg.dev"
    user = "oauth2accesstoken"
    made_of = Regional
    may_see = ("europe-west3-docker.pkg.dev/v2/token",)
    unknown = (403, "DENIED")

    def build(self, site: Site) -> None:
        """As before, with a token service that says no itself."""
        super().build(site)
        house = self.registry
        assert isinstance(house, House)
        house.auth = Terse(house.tokens)
        house.tokens.deny_status = 403
        house.tokens.restrict("no/such")
        house.redirect_manifests(self.objects, Redirect(status=302, form="relative"))

    def secret(self, secret: str) -> str:
        """A token, which lives for an hour; who gets it writes the file anew."""
        return f"ya29.{secret}"

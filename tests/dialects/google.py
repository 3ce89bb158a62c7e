"""Google's registries (docker-registry-proxy's nginx.conf; watchtower 1894; argo-cd 26260)."""

from __future__ import annotations

from tests.dialects.dialect import SECRET, Dialect
from tests.dialects.house import House
from tests.dialects.site import Site
from tests.fakes import faults
from tests.fakes.auth import TokenAuth
from tests.fakes.cdn import Document, FakeCDN
from tests.fakes.redirects import Redirect
from tests.fakes.script import Fault

KEY = '{\n  "type": "service_account",\n  "private_key": "-----BEGIN PRIVATE KEY-----\\n' + SECRET + '\\n"\n}'
"""The password of `_json_key` is a file of several lines."""


class Verbose(FakeCDN):
    """Signs addresses of more than the 8 KiB that clients take for a header line."""

    def publish(self, key: str, document: Document, redirect: Redirect) -> str:
        """An address that ends in a signature of that size."""
        return super().publish(key, document, redirect) + f"&X-Goog-Signature={'5e' * 6000}"


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
    says = 'Bearer realm="{realm}",service={service}'

    def build(self, site: Site) -> None:
        """One host: redirects lead to other paths of it."""
        self.registry = house = site.host(self.host, House)
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
    """`*-docker.pkg.dev`: manifests are redirected as well, and no token is given for what cannot be read."""

    title = "europe-west3-docker.pkg.dev"
    challenge = "Bearer"
    quirks = "no token for what cannot be read, relative redirects of manifests too, user oauth2accesstoken"
    upstream = host = "europe-west3-docker.pkg.dev"
    user = "oauth2accesstoken"
    may_see = ("europe-west3-docker.pkg.dev/v2/token",)
    says = 'Bearer realm="{realm}",service="{service}",scope="{scope}"'
    unknown = (403, "DENIED")

    def build(self, site: Site) -> None:
        """As before, with a token service that says no itself."""
        super().build(site)
        house = self.registry
        assert isinstance(house, House)
        house.tokens.deny_status = 403
        house.tokens.restrict("no/such")
        house.redirect_manifests(self.objects, Redirect(status=302, form="relative"))

    def secret(self, secret: str) -> str:
        """A token, which lives for an hour; who gets it writes the file anew."""
        return f"ya29.{secret}"

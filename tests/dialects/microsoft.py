"""Microsoft's registries (microsoft/containerregistry 57 and 196; azure.github.io/acr; Azure/acr 217)."""

from __future__ import annotations

import json

from tests.dialects.dialect import SECRET, Dialect, Referrers
from tests.dialects.house import House
from tests.dialects.site import Site
from tests.fakes import faults
from tests.fakes.cdn import FakeCDN
from tests.fakes.redirects import Redirect
from tests.fakes.registry import FakeRegistry
from tests.fakes.script import Fault

NOBODY = "00000000-0000-0000-0000-000000000000"


class Artifacts(Dialect):
    """mcr.microsoft.com: open to everybody, blobs from a CDN that may stop at a multiple of 8 MiB."""

    title = "mcr.microsoft.com"
    challenge = "none"
    quirks = "CDN bodies that end early, with a 200 and the whole length"
    upstream = "mcr.microsoft.com"
    private = ""

    def build(self, site: Site) -> None:
        """The registry and where its blobs are."""
        self.registry = site.host("mcr.microsoft.com", FakeRegistry)
        self.cdn = site.host("westeurope.data.mcr.microsoft.com", FakeCDN)
        self.registry.redirect_blobs(self.cdn, Redirect(status=307))

    def throttled(self) -> Fault:
        """A page of its front server (assumed)."""
        return faults.both(
            faults.answer_with(429, b"<h2>Our services aren't available right now</h2>", "text/html"),
            faults.header("Retry-After", "2"),
        )


class ContainerRegistry(Dialect):
    """azurecr.io: an identity token is exchanged by a POST; the answer has `access_token` only.

    Its blob storage refuses whoever sends it an Authorization header.
    """

    title = "azurecr.io"
    challenge = "Bearer"
    tokens_from = "itself, /oauth2/token"
    quirks = "identity token from a docker configuration, refresh-token grant, access_token only"
    upstream = "example.azurecr.io"
    may_see = ("example.azurecr.io/oauth2/token",)
    referrers = Referrers.API
    unknown = (403, "DENIED")

    def build(self, site: Site) -> None:
        """The registry and where its blobs are."""
        self.house = self.registry = house = site.host("example.azurecr.io", House)
        house.tokens.path = "/oauth2/token"
        house.tokens.fields = ("access_token",)
        house.tokens.expires_in = None
        house.tokens.identity_tokens = {SECRET: self.user}
        house.tokens.deny_status = 401
        house.tokens.restrict(self.private, self.user)
        house.tokens.restrict("no/such")
        house.redirect_blobs(site.host("weurmanaged15.blob.core.windows.net", FakeCDN), Redirect(status=307))

    def credentials(self, secret: str) -> dict[str, str]:
        """What `az acr login` leaves behind."""
        file = self.folder / "config.json"
        entry = {"auth": "MDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAwOg==", "identitytoken": secret}
        file.write_text(json.dumps({"auths": {self.upstream: entry}}))
        return {"docker_config": str(file)}

"""GitHub's registry (NVIDIA#132, openai/tunnel-client 75, falcosecurity/plugins 1069)."""

from __future__ import annotations

from tests.dialects.dialect import SECRET, TOO_MANY, Dialect
from tests.dialects.house import House
from tests.dialects.site import Site
from tests.fakes import faults
from tests.fakes.cdn import FakeCDN
from tests.fakes.redirects import Redirect
from tests.fakes.script import Fault


class GitHub(Dialect):
    """Even what is public needs a token; for what is private or not there, the token service says 401.

    There is no API for referrers: a 404 in the form of a manifest that is unknown.
    """

    title = "ghcr.io"
    challenge = "Bearer"
    tokens_from = "itself, /token"
    quirks = "no token for what is not there, no referrers, 429 with microseconds"
    upstream = "ghcr.io"
    may_see = ("ghcr.io/token",)
    unknown = (403, "DENIED")

    def build(self, site: Site) -> None:
        """The registry and where its blobs are."""
        self.registry = house = site.host("ghcr.io", House)
        house.tokens.accounts = {self.user: SECRET}
        house.tokens.deny_status = 401
        house.tokens.restrict(self.private, self.user)
        house.tokens.restrict("no/such")
        house.redirect_blobs(site.host("pkg-containers.githubusercontent.com", FakeCDN), Redirect(status=307))

    def throttled(self) -> Fault:
        """The message is known; that the header says the same is assumed."""
        message = "retry-after: 985.86µs, allowed: 44000/minute"
        return faults.both(
            faults.answer_with(429, (TOO_MANY % message).encode()), faults.header("Retry-After", "985.86us")
        )

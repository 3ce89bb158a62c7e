"""Docker Hub (docs.docker.com, pulls.md; hub-feedback 1850, 2464)."""

from __future__ import annotations

from tests.dialects.dialect import SECRET, TOO_MANY, Dialect
from tests.dialects.site import Site
from tests.fakes import faults
from tests.fakes.auth import TokenAuth
from tests.fakes.cdn import FakeCDN
from tests.fakes.registry import FakeRegistry
from tests.fakes.script import Fault
from tests.fakes.token_service import FakeTokenService

_LIMIT = "You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit"


class DockerHub(Dialect):
    """Tokens come from another host, blobs from a third; every manifest tells what is left of the limit.

    A repository that does not exist is a 401, as one that is private: its token is given, without the right to pull.
    """

    title = "Docker Hub"
    challenge = "Bearer"
    tokens_from = "auth.docker.io (built in)"
    quirks = "library/, rate limit headers, blobs 307 to a CDN, 401 for what is not there"
    upstream = "docker.io"
    repository = "library/app"
    may_see = ("auth.docker.io/token",)
    unknown = (403, "DENIED")

    def build(self, site: Site) -> None:
        """Three hosts."""
        self.tokens = site.host("auth.docker.io", FakeTokenService)
        self.tokens.service = "registry.docker.io"
        self.tokens.fields = ("token", "access_token")
        self.tokens.accounts = {self.user: SECRET}
        self.tokens.restrict(self.private, self.user)
        self.tokens.restrict("no/such")
        self.registry = site.host("registry-1.docker.io", FakeRegistry)
        self.registry.auth = TokenAuth(self.tokens)
        self.registry.headers = {
            "RateLimit-Limit": "100;w=21600",
            "RateLimit-Remaining": "99;w=21600",
            "Docker-RateLimit-Source": "192.0.2.7",
        }
        self.registry.redirect_blobs(site.host("production.cloudfront.docker.com", FakeCDN))

    def throttled(self) -> Fault:
        """The limit is reached: no Retry-After (assumed), but the headers that say so."""
        return faults.both(
            faults.answer_with(429, (TOO_MANY % _LIMIT).encode()),
            faults.header("RateLimit-Limit", "100;w=21600"),
            faults.header("RateLimit-Remaining", "0;w=21600"),
        )

"""GitLab, as a service and on machines of one's own (docker_registry2 14, sbx-releases 535, decisions.md 31)."""

from __future__ import annotations

from tests.dialects.dialect import SECRET, Dialect, Referrers
from tests.dialects.site import Site
from tests.fakes.auth import TokenAuth
from tests.fakes.cdn import FakeCDN
from tests.fakes.content import FakeManifest
from tests.fakes.redirects import Redirect
from tests.fakes.registry import FakeRegistry
from tests.fakes.repository import FakeRepository
from tests.fakes.token_service import FakeTokenService


class Lenient(FakeRepository):
    """Takes the tag that signatures are found by for the digest of what is signed."""

    def find_manifest(self, reference: str) -> FakeManifest | None:
        """As described."""
        return super().find_manifest(reference.replace("sha256-", "sha256:", 1))


class Registry(FakeRegistry):
    """Made of such repositories."""

    def _repository(self, name: str) -> FakeRepository:
        return self.repositories.setdefault(name, Lenient())


class GitLab(Dialect):
    """Tokens come from GitLab itself, at another host; for what cannot be read, one that reads nothing."""

    title = "registry.gitlab.com"
    challenge = "Bearer"
    tokens_from = "gitlab.com (built in)"
    quirks = "tokens from another host, takes the tag of referrers for a digest"
    upstream = "registry.gitlab.com"
    authority = "gitlab.com"
    may_see = ("gitlab.com/jwt/auth",)
    unknown = (403, "DENIED")
    referrers = Referrers.NONE

    def build(self, site: Site) -> None:
        """Three hosts."""
        tokens = site.host(self.authority, FakeTokenService)
        tokens.path = "/jwt/auth"
        tokens.service = "container_registry"
        tokens.accounts = {self.user: SECRET}
        tokens.restrict(self.private, self.user)
        tokens.restrict("no/such")
        self.registry = site.host(self.upstream, Registry)
        self.registry.auth = TokenAuth(tokens)
        self.registry.redirect_blobs(site.host("cdn.registry.gitlab-static.net", FakeCDN), Redirect(status=307))


class SelfManaged(GitLab):
    """Both have names of one's own, so that their bond has to be said in `realms`."""

    title = "GitLab, self-managed"
    tokens_from = "gitlab.example.com (realms)"
    upstream = "registry.example.com"
    authority = "gitlab.example.com"
    may_see = ("gitlab.example.com/jwt/auth",)

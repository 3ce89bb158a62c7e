"""JFrog Artifactory (go-containerregistry 1962; jfrog.com, docker login; containerd's authorizer)."""

from __future__ import annotations

from tests.dialects.dialect import SECRET, Dialect
from tests.dialects.house import House
from tests.dialects.site import Site
from tests.fakes.answer import Answer, error
from tests.fakes.auth import BasicAuth, TokenAuth
from tests.fakes.registry import FakeRegistry
from tests.fakes.request import Request


def without_referrers(request: Request) -> Answer | None:
    """The 406 that it has for an API it does not know."""
    return error(406, "UNSUPPORTED", "Not Acceptable") if "/referrers/" in request.path else None


class Saas(House):
    """Gives tokens for GET and answers a POST there with 401."""

    def reply(self, request: Request) -> Answer:
        """As described."""
        if request.method == "POST":
            return error(401, "UNAUTHORIZED", "authentication is required")
        return without_referrers(request) or super().reply(request)


class Plain(FakeRegistry):
    """The same with passwords."""

    def reply(self, request: Request) -> Answer:
        """As described."""
        return without_referrers(request) or super().reply(request)


class Artifactory(Dialect):
    """The key of a repository in it comes before the names of images; a token lives for an hour."""

    title = "Artifactory"
    challenge = "Bearer"
    tokens_from = "itself, /artifactory/api/docker/docker-remote/v2/token"
    quirks = "repository key before names, POST token 401, referrers 406"
    upstream = "example.jfrog.io"
    may_see = ("example.jfrog.io/artifactory/api/docker/docker-remote/v2/token",)
    repository = "docker-remote/team/app"
    private = "docker-remote/team/private"

    def build(self, site: Site) -> None:
        """One host."""
        self.registry = house = site.host(self.upstream, Saas)
        house.tokens.path = "/artifactory/api/docker/docker-remote/v2/token"
        house.tokens.expires_in = 3600
        house.tokens.accounts = {self.user: SECRET}
        house.tokens.restrict(self.private, self.user)
        house.auth = TokenAuth(house.tokens)


class Passwords(BasicAuth):
    """The registry as such is open to everybody where any repository is (assumed, from its support's answers)."""

    def refusal(self, request: Request, repository: str | None) -> Answer | None:
        """As described."""
        return super().refusal(request, repository) if repository else None


class ArtifactoryWithPasswords(Dialect):
    """Set to ask for passwords."""

    title = "Artifactory, Basic"
    challenge = "Basic"
    quirks = "repository key before names, referrers 406"
    unknown = (403, "DENIED")
    upstream = "example.jfrog.io"
    may_see = ("example.jfrog.io/v2/*",)
    repository = "docker-remote/team/app"
    private = "docker-remote/team/private"

    def build(self, site: Site) -> None:
        """One host."""
        self.registry = site.host(self.upstream, Plain)
        self.registry.auth = Passwords(self.user, SECRET, realm="Artifactory Realm", public=(self.repository,))

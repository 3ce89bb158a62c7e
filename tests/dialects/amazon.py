"""Amazon's registries (aws/containers-roadmap 2835, soci-snapshotter 1196, flipt 3043; renovate's fixtures)."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.dialects.dialect import SECRET, TOO_MANY, Dialect, Referrers
from tests.dialects.house import House
from tests.dialects.site import Site
from tests.fakes import faults
from tests.fakes.answer import Answer, error
from tests.fakes.auth import TokenAuth, unauthorized
from tests.fakes.cdn import FakeCDN
from tests.fakes.credentials import basic_credentials, bearer_token
from tests.fakes.helper import FakeHelper
from tests.fakes.redirects import Redirect
from tests.fakes.registry import FakeRegistry
from tests.fakes.request import Request
from tests.fakes.script import Fault
from tests.fakes.token_service import Verdict

PRIVATE_HOST = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"


class Unchallenging(TokenAuth):
    """A token that is not good is a 400 that names no way to another one."""

    def refusal(self, request: Request, repository: str | None) -> Answer | None:
        """The challenge for who brings none."""
        if self.tokens.judge(bearer_token(request.header("Authorization")), self.scope) is Verdict.INVALID:
            return error(400, "DENIED", "Your Authorization Token is invalid.")
        return super().refusal(request, repository)


class Public(Dialect):
    """One token for everything, whose service gives no lifetime; an account gets more of the same."""

    title = "public.ecr.aws"
    challenge = "Bearer, scope aws"
    tokens_from = "itself, /token/"
    quirks = "scope of no repository, realm ends in a slash, 400 for a token that ran out, 429 Data limit exceeded"
    upstream = "public.ecr.aws"
    user = "AWS"
    may_see = ("public.ecr.aws/token/",)
    unknown = (404, "MANIFEST_UNKNOWN")

    def build(self, site: Site) -> None:
        """The registry and where its blobs are."""
        self.registry = house = site.host("public.ecr.aws", House)
        house.tokens.path = "/token/"
        house.tokens.expires_in = None
        house.tokens.accounts = {self.user: SECRET}
        house.auth = Unchallenging(house.tokens, scope="aws")
        house.redirect_blobs(site.host("d2glxqk2uabbnd.cloudfront.net", FakeCDN), Redirect(status=307))

    def is_private(self, repository: str) -> bool:
        """There is nothing that is."""
        return False

    def throttled(self) -> Fault:
        """As its users report it."""
        return faults.answer_with(429, (TOO_MANY % "Data limit exceeded").encode())


@dataclass
class Password:
    """Basic; a password that ran out is a 403, without a challenge."""

    good: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)

    def refusal(self, request: Request, repository: str | None) -> Answer | None:
        """The three ways to be told no."""
        user, password = basic_credentials(request.header("Authorization")) or ("", "")
        if user == "AWS" and password in self.ended:
            return error(403, "DENIED", "Your authorization token has expired. Reauthenticate and try again.")
        if user == "AWS" and password in self.good:
            return None
        return unauthorized(f'Basic realm="https://{PRIVATE_HOST}/",service="ecr.amazonaws.com"')

    def account(self, request: Request) -> str | None:
        """Nobody's pulls are counted."""
        return None

    def revoke(self) -> None:
        """Let all end that were given out."""
        self.ended, self.good = self.ended | self.good, set()


class PrivateRegistry(Dialect):
    """A password that a helper knows, good for twelve hours; nothing is for everybody."""

    title = "private ECR"
    challenge = "Basic"
    quirks = "credential helper, password of 12 h, 403 without a challenge when it ran out"
    upstream = PRIVATE_HOST
    repository = ""
    user = "AWS"
    may_see = (f"{PRIVATE_HOST}/v2/*",)
    referrers = Referrers.API

    def build(self, site: Site) -> None:
        """The registry and where its blobs are."""
        self.passwords = Password(good={SECRET})
        self.registry = site.host(PRIVATE_HOST, FakeRegistry)
        self.registry.auth = self.passwords
        bucket = "prod-eu-central-1-starport-layer-bucket.s3.eu-central-1.amazonaws.com"
        self.registry.redirect_blobs(site.host(bucket, FakeCDN), Redirect(status=307))

    def credentials(self, secret: str) -> dict[str, str]:
        """A helper on PATH, which is asked for the host."""
        self.helper = FakeHelper(self.folder, "ecr-login")
        self.helper.give(PRIVATE_HOST, self.user, secret)
        return {"helper": "ecr-login"}

    def throttled(self) -> Fault:
        """As its documentation has it."""
        return faults.answer_with(429, (TOO_MANY % "Rate exceeded").encode())

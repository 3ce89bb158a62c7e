"""How a registry decides who may read: not at all, by password, or by tokens from a token service."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

from tests.fakes.answer import Answer, error
from tests.fakes.credentials import basic_credentials, bearer_token
from tests.fakes.request import Request
from tests.fakes.token_service import FakeTokenService, Verdict

_USUAL = 'Bearer realm="{realm}",service="{service}"'
_SCOPE = ',scope="{scope}"'


class Auth(Protocol):
    """Decides about each request before anything else does."""

    def refusal(self, request: Request, repository: str | None) -> Answer | None:
        """The 401 for this request, or None to let it pass. `repository` is None for the ping."""

    def revoke(self) -> None:
        """Make every token issued so far invalid."""

    def account(self, request: Request) -> str | None:
        """Who sends this request, which was let pass; None for nobody in particular."""


class Anonymous:
    """Everybody may read."""

    def refusal(self, request: Request, repository: str | None) -> Answer | None:
        return None

    def revoke(self) -> None:
        return None

    def account(self, request: Request) -> str | None:
        return None


@dataclass
class BasicAuth:
    """Who knows the password may read; `public` (patterns) everybody may. `challenge` is sent verbatim."""

    user: str
    password: str
    realm: str = "fake-registry"
    public: tuple[str, ...] = ()
    challenge: str | tuple[str, ...] | None = None

    def refusal(self, request: Request, repository: str | None) -> Answer | None:
        if repository is not None and any(fnmatchcase(repository, pattern) for pattern in self.public):
            return None
        if basic_credentials(request.header("Authorization")) == (self.user, self.password):
            return None
        return unauthorized(self.challenge or f'Basic realm="{self.realm}"')

    def revoke(self) -> None:
        return None

    def account(self, request: Request) -> str | None:
        credentials = basic_credentials(request.header("Authorization"))
        return credentials[0] if credentials else None


@dataclass
class TokenAuth:
    """Who brings a token of this service for the repository may read.

    `challenge` replaces the header verbatim, except that {realm}, {service} and {scope} are filled in;
    a tuple means several headers. `scope` replaces the repository scope ("aws"); "" leaves it out of the
    challenge and still wants the repository's.
    """

    tokens: FakeTokenService
    realm: str | None = None
    scope: str | None = None
    challenge: str | tuple[str, ...] | None = None
    ping_needs_token: bool = True

    def refusal(self, request: Request, repository: str | None) -> Answer | None:
        if repository is None and not self.ping_needs_token:
            return None
        pull = None if repository is None else f"repository:{repository}:pull"
        verdict = self.tokens.judge(bearer_token(request.header("Authorization")), self.scope or pull)
        if verdict is Verdict.VALID:
            return None
        shown = pull if self.scope is None else self.scope
        return unauthorized(self._challenges(shown or "", verdict))

    def revoke(self) -> None:
        self.tokens.revoke()

    def account(self, request: Request) -> str | None:
        issued = self.tokens.issued.get(bearer_token(request.header("Authorization")) or "")
        return issued.account if issued else None

    def _challenges(self, scope: str, verdict: Verdict) -> tuple[str, ...]:
        usual = _USUAL + (_SCOPE if scope else "") + verdict.as_parameter()
        chosen = self.challenge or usual
        lines = (chosen,) if isinstance(chosen, str) else chosen
        return tuple(self._fill(one, scope) for one in lines)

    def _fill(self, template: str, scope: str) -> str:
        realm = self.realm or self.tokens.realm
        filled = template.replace("{realm}", realm).replace("{service}", self.tokens.service)
        return filled.replace("{scope}", scope)


def unauthorized(challenge: str | tuple[str, ...]) -> Answer:
    lines = (challenge,) if isinstance(challenge, str) else challenge
    headers = (("WWW-Authenticate", line) for line in lines)
    return error(401, "UNAUTHORIZED", "authentication required", *headers)

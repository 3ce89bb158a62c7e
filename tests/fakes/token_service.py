"""The token service of a fake registry: an origin of its own, with an adjustable clock and an account book."""

import json
import ssl
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from urllib.parse import parse_qsl

from tests.fakes.answer import JSON, Answer, error
from tests.fakes.credentials import basic_credentials
from tests.fakes.faults import answer_with
from tests.fakes.journal import Journal
from tests.fakes.origin import Origin
from tests.fakes.request import Request

DEFAULT_LIFETIME = 60


class Verdict(StrEnum):
    """What a token is worth; the value is the `error` of the challenge."""

    VALID = "valid"
    MISSING = ""
    INVALID = "invalid_token"
    INSUFFICIENT = "insufficient_scope"

    def as_parameter(self) -> str:
        return f',error="{self.value}"' if self.value else ""


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """What was granted to whom, and until when on the service's clock."""

    scopes: frozenset[str]
    account: str | None
    expires_at: float


class FakeTokenService(Origin):
    """Answers GET <realm>?service=…&scope=…; everybody may read everything unless told otherwise.

    It answers the POST of a form with an identity token as well (grant_type=refresh_token), if it knows that token.

    Attributes to set: `fields` (which of "token", "access_token" the answer has), `expires_in` (None: not
    sent, 60 s), `issued_at` (sent verbatim), `accounts` (user -> password), `identity_tokens` (token -> user),
    `require_credentials`, `path` (of the realm),
    `allowed_scopes` (patterns; others are refused with 403), `deny_status` (None: who may not read a
    restricted repository gets a token without that scope; else this status), `suffix` (put after each token).
    """

    def __init__(
        self,
        journal: Journal | None = None,
        service: str = "fake-registry",
        name: str = "tokens",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(name, journal, tls)
        self.service = service
        self.path = "/token"
        self.fields: tuple[str, ...] = ("token",)
        self.expires_in: int | None = 300
        self.issued_at: str | None = None
        self.accounts: dict[str, str] = {}
        self.identity_tokens: dict[str, str] = {}
        self.require_credentials = False
        self.allowed_scopes: tuple[str, ...] = ("*",)
        self.deny_status: int | None = None
        self.suffix = ""
        self.now = 0.0
        self.issued: dict[str, IssuedToken] = {}
        self._readers: list[tuple[str, frozenset[str]]] = []
        self._serial = 0

    @property
    def realm(self) -> str:
        return f"{self.url}{self.path}"

    # What tests do

    def restrict(self, repositories: str, *readers: str) -> None:
        """Only these accounts may read repositories that match the pattern; the last rule that matches holds."""
        self._readers.append((repositories, frozenset(readers)))

    def open_up(self, repositories: str) -> None:
        """Drop the rules given for this pattern."""
        self._readers = [rule for rule in self._readers if rule[0] != repositories]

    def advance(self, seconds: float) -> None:
        """Let time pass on the service's own clock: tokens expire by it."""
        self.now += seconds

    def revoke(self) -> None:
        self.issued.clear()

    def answer(self, status: int, body: bytes, media_type: str = JSON) -> None:
        """Answer every token request like this, until `heal()`."""
        self.always("*", answer_with(status, body, media_type))

    def requests(self) -> int:
        return self.journal.count(host=self.name)

    # What the registry asks

    def judge(self, token: str | None, scope: str | None) -> Verdict:
        """Whether this token is good for this scope (None: for any)."""
        if token is None:
            return Verdict.MISSING
        found = self.issued.get(token)
        if found is None or found.expires_at <= self.now:
            return Verdict.INVALID
        return Verdict.VALID if scope is None or scope in found.scopes else Verdict.INSUFFICIENT

    # Requests

    def reply(self, request: Request) -> Answer:
        if request.method == "POST" and self.identity_tokens:
            return self._exchange(request)
        if request.method != "GET":
            return self.unknown("UNSUPPORTED", 405)
        if request.parameter("service") != self.service:
            return self.unknown("UNKNOWN", 400)
        known, account = self._account(request)
        if not known or (self.require_credentials and account is None):
            return error(401, "UNAUTHORIZED", "incorrect username or password")
        wanted = _scopes(request)
        if any(not _matches(scope, self.allowed_scopes) for scope in wanted):
            return error(403, "DENIED", "scope refused")
        return self._grant(wanted, account)

    def _exchange(self, request: Request) -> Answer:
        form = dict(parse_qsl(request.body.decode()))
        if form.get("grant_type") != "refresh_token" or form.get("service") != self.service or "client_id" not in form:
            return self.unknown("UNKNOWN", 400)
        account = self.identity_tokens.get(form.get("refresh_token", ""))
        if account is None:
            return Answer(400, (("Content-Type", JSON),), b'{"error": "invalid_grant"}')
        return self._grant(form.get("scope", "").split(), account)

    def _grant(self, wanted: list[str], account: str | None) -> Answer:
        granted = frozenset(scope for scope in wanted if self._may_read(scope, account))
        if self.deny_status is not None and len(granted) < len(set(wanted)):
            return error(self.deny_status, "DENIED", "access to the repository denied")
        self._serial += 1
        token = f"{self.name}-token-{self._serial}{self.suffix}"
        lifetime = DEFAULT_LIFETIME if self.expires_in is None else self.expires_in
        self.issued[token] = IssuedToken(granted, account, self.now + lifetime)
        document: dict[str, object] = dict.fromkeys(self.fields, token)
        document |= {} if self.expires_in is None else {"expires_in": self.expires_in}
        document |= {} if self.issued_at is None else {"issued_at": self.issued_at}
        return Answer(200, (("Content-Type", JSON),), json.dumps(document).encode())

    def _account(self, request: Request) -> tuple[bool, str | None]:
        """Whether the credentials are in order, and whose they are."""
        header = request.header("Authorization")
        if header is None:
            return True, None
        given = basic_credentials(header)
        known = given is not None and self.accounts.get(given[0]) == given[1]
        return known, given[0] if given and known else None

    def _may_read(self, scope: str, account: str | None) -> bool:
        repository = scope.removeprefix("repository:").rpartition(":")[0]
        rules = [readers for pattern, readers in self._readers if fnmatchcase(repository, pattern)]
        return not rules or account in rules[-1]


def _scopes(request: Request) -> list[str]:
    """Scopes as granted one by one: `repository:a:pull,push` counts as the pull it contains."""
    asked = " ".join(value for name, value in request.parameters if name == "scope").split()
    return [_pull_only(scope) for scope in asked]


def _pull_only(scope: str) -> str:
    head, _, actions = scope.rpartition(":")
    return f"{head}:pull" if "pull" in actions.split(",") and head else scope


def _matches(scope: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(scope, pattern) for pattern in patterns)

"""The program behind TokenService: grants pull, and only pull, and prints each request as a JSON line."""

import json
import secrets
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from .http_client import basic
from .token_key import TokenKey

LIFETIME = 300  # seconds a token is good for


@dataclass(frozen=True)
class Settings:
    """What the program is told on its command line, as JSON."""

    directory: str
    port: int
    service: str
    users: Mapping[str, str]


class RefusedError(Exception):
    """A request that gets no token; the status says why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class TokenServer:
    """Answers GET /token as the token service of one registry."""

    def __init__(self, key: TokenKey, service: str, users: Mapping[str, str]) -> None:
        self._key = key
        self._service = service
        self._users = {basic(*user)["Authorization"]: user[0] for user in users.items()}

    async def answer(self, request: web.Request) -> web.Response:
        """A token for the scopes asked for, or a refusal; both are printed."""
        user = self._users.get(request.headers.get("Authorization", ""), "")
        try:
            token = self._token(request, user)
        except RefusedError as refusal:
            _note(request, user, refusal.status)
            return web.json_response({"details": str(refusal)}, status=refusal.status)
        _note(request, user, 200)
        return web.json_response({"token": token, "access_token": token, "expires_in": LIFETIME})

    def _token(self, request: web.Request, user: str) -> str:
        if self._users and not user:
            raise RefusedError(401, "a name and its password are needed")
        if request.query.getall("service", []) != [self._service]:
            raise RefusedError(400, f"this is the token service of {self._service}")
        scopes = request.query.getall("scope", [])
        if not scopes:
            raise RefusedError(400, "a scope is needed")
        return self._key.sign(self._claims(user, [_access(scope) for scope in scopes]))

    def _claims(self, user: str, access: list[dict[str, object]]) -> dict[str, object]:
        now = int(time.time())
        return {
            "iss": self._service,
            "sub": user,
            "aud": self._service,
            "nbf": now - 5,
            "iat": now,
            "exp": now + LIFETIME,
            "jti": secrets.token_hex(8),
            "access": access,
        }


def _access(scope: str) -> dict[str, object]:
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    if kind != "repository" or not name or actions != "pull":
        raise RefusedError(403, f"{scope} is not repository:<name>:pull")
    return {"type": kind, "name": name, "actions": [actions]}


def _note(request: web.Request, user: str, status: int) -> None:
    line = {"scopes": request.query.getall("scope", []), "user": user, "status": status}
    print(json.dumps(line), flush=True)


def main(settings: Settings) -> None:
    """Serves on a port of 127.0.0.1 until SIGTERM."""
    key = TokenKey.load(Path(settings.directory))
    server = TokenServer(key, settings.service, settings.users)
    application = web.Application()
    application.router.add_get("/token", server.answer)
    web.run_app(application, host="127.0.0.1", port=settings.port, print=None, access_log=None)


if __name__ == "__main__":
    main(Settings(**json.loads(sys.argv[1])))

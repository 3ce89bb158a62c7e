"""Who may call the API: an operator's tool, and no web page in an operator's browser.

A page can have its own name resolve to this address (DNS rebinding); then Host is that name. It can also send simple
requests to any address; but not with a JSON body or another method than GET and POST, unless it is asked first, which
nothing here allows.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from mirror.admin.documents import problem

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Guard:
    """What is asked of callers: the `token`, if there is one; without one, nobody else may reach the listener.

    `host` is the address it listens on.
    """

    host: str
    token: str | None

    def reading(self, handler: Handler) -> Handler:
        """Return `handler` for requests that only look."""

        async def handle(request: web.Request) -> web.StreamResponse:
            return self._refusal(request) or await handler(request)

        return handle

    def changing(self, handler: Handler) -> Handler:
        """Return `handler` for requests that change something."""

        async def handle(request: web.Request) -> web.StreamResponse:
            return self._refusal(request) or self._refusal_to_change(request) or await handler(request)

        return handle

    def _refusal(self, request: web.Request) -> web.Response | None:
        if self._has_token(request) or _is_address(_host_of(request.host)) or _host_of(request.host) == self.host:
            return None
        return problem(403, "host-unknown", "call the API by its address, or with the token: a name may be anybody's")

    def _refusal_to_change(self, request: web.Request) -> web.Response | None:
        if self.token is None and not _is_loopback(self.host):
            sentence = "calls that change something need admin.token_file, since admin.listen is not a loopback address"
            return problem(403, "token-missing", sentence)
        if self.token is not None and not self._has_token(request):
            refused = problem(401, "token-wrong", "this call needs the token of admin.token_file")
            refused.headers["WWW-Authenticate"] = 'Bearer realm="mirror"'
            return refused
        if request.method == "POST" and request.content_type != "application/json":
            return problem(415, "json-only", "the body of this call is JSON: Content-Type: application/json")
        if "Origin" in request.headers:
            return problem(403, "browser", "web pages change nothing here")
        return None

    def _has_token(self, request: web.Request) -> bool:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if self.token is None or scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(given.strip().encode(errors="surrogateescape"), self.token.encode())


def _host_of(authority: str) -> str:
    """Return the host of a Host header, without brackets and port."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0]


def _is_address(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host.lower() == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)

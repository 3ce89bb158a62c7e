"""The only door out: every request to an upstream, a token service or a CDN is opened here.

What must hold for all of them holds because there is no other way: credentials stay with their origin, redirects
are followed by hand, https stays https, private addresses are refused, bodies come as they were sent.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from yarl import URL

from mirror.errors import ProxyRefused, UpstreamInvalid, UpstreamTimeout, UpstreamUnreachable
from mirror.proxy import chain
from mirror.upstream.addresses import AddressForbidden, check_host, public_socket
from mirror.upstream.origin import has_proper_host, origin_of
from mirror.upstream.proxy import Proxy
from mirror.upstream.spares import Spares
from mirror.upstream.trust import SYSTEM, Trust

MAX_HOPS = 5
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 15.0
"""Longest wait for the next bytes, headers included."""

_REDIRECTS = {301, 302, 303, 307, 308}
_READ_BUFFER = 256 * 1024
_MAX_HEADER = 32 * 1024
# Google Artifact Registry redirects with signed URLs of more than aiohttp's 8 KiB.


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One request, nothing of which was copied from a client: GET, HEAD, or the POST of a form.

    `authorization` and `form` are sent to the origin of `url` and nowhere else. `private_network` allows private
    addresses; the proxy's own may be one in any case. Beside it as many connections to its origin are opened as
    `spares` says, for what is likely to follow; none by a proxy.
    """

    method: str
    url: URL
    private_network: bool
    headers: Mapping[str, str] = field(default_factory=dict)
    authorization: str | None = field(default=None, repr=False)
    form: Mapping[str, str] | None = field(default=None, repr=False)
    proxy: Proxy | None = None
    trust: Trust = SYSTEM
    spares: int = 0


class Egress:
    """The client sessions: one for public addresses, one that may connect to private ones.

    Every request says through whom it came, this mirror last, by its `own_name`: where that comes back, it is a circle.
    """

    def __init__(
        self,
        user_agent: str,
        own_name: Callable[[], str],
        response_class: type[aiohttp.ClientResponse] = aiohttp.ClientResponse,
    ) -> None:
        self._user_agent = user_agent
        self._own_name = own_name
        self._response_class = response_class
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._spares: dict[bool, Spares] = {}

    async def start(self) -> None:
        """Make the sessions."""
        for private_network in (False, True):
            connector = aiohttp.TCPConnector(limit=0, socket_factory=None if private_network else public_socket)
            self._sessions[private_network] = aiohttp.ClientSession(
                connector=connector,
                response_class=self._response_class,
                headers={"User-Agent": self._user_agent, "Accept-Encoding": "identity"},
                timeout=_timeout(),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                requote_redirect_url=False,
                trust_env=False,
                read_bufsize=_READ_BUFFER,
                max_line_size=_MAX_HEADER,
                max_field_size=_MAX_HEADER,
            )
            self._spares[private_network] = Spares(self._sessions[private_network])

    async def close(self) -> None:
        """Close all connections."""
        for spares in self._spares.values():
            await spares.close()
        for session in self._sessions.values():
            await session.close()

    async def open(self, outgoing: Outgoing) -> aiohttp.ClientResponse:
        """Send the request, follow redirects, and return the response with its body unread.

        The caller releases it. Raises UpstreamUnreachable, UpstreamTimeout, or UpstreamInvalid for a redirect
        that may not be followed, as no form may, and for an encoded body.
        """
        url, authorization = outgoing.url, outgoing.authorization
        if outgoing.spares and outgoing.proxy is None:
            # They begin once the request has taken an idle connection, or has begun to open one.
            self._spares[outgoing.private_network].open(url, outgoing.trust.context(url), outgoing.spares)
        for _ in range(MAX_HOPS + 1):
            if origin_of(url) != origin_of(outgoing.url):
                # For good: another host could lead back to where the credential works, by a path of its choice.
                authorization = None
            response = await self._send(outgoing, url, authorization)
            if response.status not in _REDIRECTS:
                return _unencoded(response)
            location = response.headers.get("Location", "")
            response.release()
            if outgoing.form is not None:
                raise UpstreamInvalid("upstream redirects a request that holds a secret")
            url = redirected(url, location)
        raise UpstreamInvalid(f"upstream redirects more than {MAX_HOPS} times")

    async def _send(self, outgoing: Outgoing, url: URL, authorization: str | None) -> aiohttp.ClientResponse:
        headers = {**outgoing.headers, "CDN-Loop": ", ".join((*chain.came_through(), self._own_name()))}
        if authorization is not None:
            headers["Authorization"] = authorization
        session, proxied = self._sessions[outgoing.private_network], {}
        if outgoing.proxy is not None:
            # Whatever it is connected to, that is the proxy; what the proxy connects to is judged by its name.
            session, proxied = self._sessions[True], await _by_proxy(outgoing.proxy, url, headers)
            if not outgoing.private_network:
                _check_host(url)
        with translated(url, outgoing.proxy):
            response = await session.request(
                outgoing.method,
                url,
                headers=headers,
                data=outgoing.form,
                allow_redirects=False,
                ssl=outgoing.trust.context(url),
                **proxied,
            )
        if response.status == 407:
            response.release()
            raise ProxyRefused(f"{url.origin()} cannot be reached: its proxy answered 407")
        return response


def _timeout(connect: float | None = None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=connect, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)


async def _by_proxy(proxy: Proxy, url: URL, headers: dict[str, str]) -> dict[str, Any]:
    """Return how a request is sent by a proxy, whose own headers are put where nobody but the proxy reads them.

    A proxy may take the connection and never make the next one: that is waited for no longer than for an answer.
    """
    authorization = await proxy.authorization()
    if url.scheme == "http":
        headers.update(authorization)
        authorization = {}
    return {"proxy": proxy.url, "proxy_headers": authorization, "timeout": _timeout(connect=SILENCE_SECONDS)}


def _check_host(url: URL) -> None:
    try:
        check_host(url.host or "")
    except AddressForbidden as error:
        raise UpstreamUnreachable(f"{url.origin()} cannot be reached: {error}") from error


def redirected(url: URL, location: str) -> URL:
    """Return where a redirect from `url` leads (RFC 9110, 10.2.2); raises UpstreamInvalid if it may not."""
    try:
        relative = URL(location, encoded=True)
        target = url.join(relative)
        allowed = target.scheme in ("http", "https") and has_proper_host(target) and target.port is not None
        allowed = allowed and (bool(relative.host) or not relative.scheme)
    except (ValueError, IndexError):  # yarl raises the latter for "//[]@"
        allowed = False
    if not location or not allowed or target.user is not None or target.password is not None:
        raise UpstreamInvalid("upstream redirects to something that is not a plain http(s) address")
    if url.scheme == "https" and target.scheme == "http":
        raise UpstreamInvalid("upstream redirects from https to http")
    return target.with_fragment(None)


@contextmanager
def translated(url: URL, proxy: Proxy | None = None) -> Iterator[None]:
    """Turn what the client library raises for a request to `url`, by a proxy, into our errors.

    Only its origin is named, and the proxy's host.
    """
    origin = url.origin()
    try:
        yield
    except TimeoutError as error:
        raise UpstreamTimeout(f"{origin} did not answer in time") from error
    except aiohttp.ClientHttpProxyError as error:
        raise ProxyRefused(f"{origin} cannot be reached: its proxy answered {error.status}") from error
    except aiohttp.ClientProxyConnectionError as error:
        raise ProxyRefused(f"{origin} cannot be reached: its proxy: {_reason(error)}") from error
    except (aiohttp.ClientConnectorError, ssl.SSLError) as error:
        if proxy is not None and isinstance(error, aiohttp.ClientConnectorDNSError):
            # No other name is resolved here.
            unnamed = f"its proxy's name, {proxy.url.host}, does not resolve"
            raise ProxyRefused(f"{origin} cannot be reached: {unnamed}") from error
        raise UpstreamUnreachable(f"{origin} cannot be reached: {_reason(error)}") from error
    except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
        raise UpstreamUnreachable(f"{origin} closed the connection") from error
    except (aiohttp.ClientError, ValueError) as error:
        raise UpstreamInvalid(f"{origin} did not answer in proper HTTP") from error


def _reason(error: Exception) -> str:
    cause = getattr(error, "os_error", error)
    if isinstance(cause, AddressForbidden):
        return str(cause)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name does not resolve"
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return "TLS failed"
    number = getattr(cause, "errno", None)
    return os.strerror(number).lower() if number else type(cause).__name__


def _unencoded(response: aiohttp.ClientResponse) -> aiohttp.ClientResponse:
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        response.close()
        raise UpstreamInvalid("upstream sent an encoded body that was not asked for")
    return response

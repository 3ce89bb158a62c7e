"""A proxy that requests of an upstream go through: it sees where they go, and of https nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from yarl import URL

from mirror.upstream.auth.credentials import Credentials


@dataclass(frozen=True, slots=True)
class Proxy:
    """An http(s) proxy; `credentials` are what it wants for itself, and nobody else gets them."""

    url: URL
    credentials: Credentials | None = None

    async def authorization(self) -> dict[str, str]:
        """Return the headers that the proxy, and only it, is to have; raises CredentialsUnavailable."""
        credential = await self.credentials.current() if self.credentials else None
        basic = credential.basic if credential else None
        return {} if basic is None else {"Proxy-Authorization": basic}


def may_be_proxy(proxy: Proxy | None, url: URL) -> bool:
    """Tell whether an answer for `url` may be the proxy's own: only what comes through a tunnel cannot be."""
    return proxy is not None and url.scheme == "http"

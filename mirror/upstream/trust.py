"""Whose certificates are believed: those of the system's authorities, and for an endpoint perhaps others beside them.

A context is made once and kept, for aiohttp shares connections only among requests with the same one.
"""

from __future__ import annotations

import functools
import ssl
from dataclasses import dataclass

from yarl import URL

from mirror.upstream.origin import origin_of


@dataclass(frozen=True, slots=True)
class Trust:
    """For all that is asked on behalf of an endpoint: its token services and what it redirects to as well.

    `authorities` are certificates in PEM form that are believed beside the system's; `unverified` is the one origin
    whose certificate may be anybody's.
    """

    authorities: str = ""
    unverified: URL | None = None

    def context(self, url: URL) -> ssl.SSLContext | bool:
        """Return what aiohttp is to verify `url` by: True is as the system does, False not at all."""
        if self.unverified is not None and origin_of(url) == self.unverified:
            return False
        return _believing(self.authorities) if self.authorities else True


SYSTEM = Trust()
"""As the system does."""


@functools.cache
def _believing(authorities: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(cadata=authorities)
    context.set_alpn_protocols(("http/1.1",))
    return context

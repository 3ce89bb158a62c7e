"""Sonatype Nexus (nexus-public 311, 410 and 921)."""

from __future__ import annotations

from tests.dialects.dialect import SECRET, Dialect
from tests.dialects.house import House
from tests.dialects.site import Site
from tests.fakes.auth import BasicAuth, TokenAuth
from tests.fakes.registry import FakeRegistry


class Nexus(Dialect):
    """As it comes: Basic in capitals for everything, nothing for nobody."""

    title = "Nexus"
    challenge = "BASIC"
    quirks = "scheme in capitals"
    upstream = "nexus.example.com"
    repository = ""
    may_see = ("nexus.example.com/v2/*",)

    def build(self, site: Site) -> None:
        """One host."""
        self.registry = site.host(self.upstream, FakeRegistry)
        says = 'BASIC realm="Sonatype Nexus Repository Manager"'
        self.registry.auth = BasicAuth(self.user, SECRET, challenge=says)


class NexusWithTokens(Dialect):
    """With its realm for bearer tokens, which lets everybody in.

    That its service is the address of its token service, and that what is private gets a 401 there, is assumed.
    """

    title = "Nexus, bearer realm"
    challenge = "Bearer"
    tokens_from = "itself, /v2/token"
    quirks = "an address for a service"
    upstream = "nexus.example.com"
    may_see = ("nexus.example.com/v2/token",)

    def build(self, site: Site) -> None:
        """One host."""
        self.registry = house = site.host(self.upstream, House)
        house.tokens.path = "/v2/token"
        house.tokens.service = house.tokens.realm
        house.tokens.accounts = {self.user: SECRET}
        house.tokens.restrict(self.private, self.user)
        house.auth = TokenAuth(house.tokens)

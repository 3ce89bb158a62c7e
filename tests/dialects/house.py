"""A registry that gives out its tokens itself, at a path of its own host."""

from __future__ import annotations

import ssl

from tests.fakes.answer import Answer
from tests.fakes.auth import TokenAuth
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.request import Request
from tests.fakes.token_service import FakeTokenService


class House(FakeRegistry):
    """`tokens` is its token service, which has no host of its own; `kind` is what that is made of."""

    kind = FakeTokenService

    def __init__(self, journal: Journal, name: str, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(journal, name=name, tls=tls)
        self.tokens = self.kind(journal, service=name, name=name, tls=tls)
        self.tokens.known_as = name
        self.auth = TokenAuth(self.tokens)

    def reply(self, request: Request) -> Answer:
        """Tokens at the realm, everything else as a registry does."""
        return self.tokens.reply(request) if request.path == self.tokens.path else super().reply(request)

    async def close(self) -> None:
        """Give up both ports."""
        await self.tokens.close()
        await super().close()

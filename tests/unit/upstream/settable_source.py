"""A source of credentials that a test sets."""

from __future__ import annotations

import asyncio

from mirror.upstream.auth.credentials import Credential, NoCredential


class SettableSource:
    """Gives `credential`, or has none to give; counts how often it is read."""

    def __init__(self, credential: Credential | None = None) -> None:
        self.credential = credential
        self.reads = 0
        self.gate: asyncio.Event | None = None

    async def read(self) -> Credential:
        self.reads += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.credential is None:
            raise NoCredential("the safe is locked")
        return self.credential

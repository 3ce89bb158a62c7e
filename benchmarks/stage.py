"""The stage of a benchmark: an upstream with one large blob, a cache folder, and mirrors that are started on it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.content import FakeBlob
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.script import Fault
from tests.fakes.token_service import FakeTokenService
from tests.integration.paths import path_of
from tests.integration.processes import Mirrors, mirrors_of, put


@dataclass(frozen=True, slots=True)
class Stage:
    """What a measurement works with."""

    mirrors: Mirrors
    registry: FakeRegistry
    journal: Journal
    blob: FakeBlob

    def spoil(self, *faults: Fault) -> None:
        """Spoil the next answers for the blob, one fault an answer."""
        self.registry.fault(path_of(self.blob), *faults)

    @property
    def fetched(self) -> float:
        """Bytes that upstream has sent, in lengths of the blob."""
        return self.journal.body_bytes(path_of(self.blob)) / self.blob.size

    @property
    def transfers(self) -> int:
        """How often upstream was asked for the blob."""
        return self.journal.count("GET", path_of(self.blob))


@asynccontextmanager
async def stage(size: int) -> AsyncIterator[Stage]:
    """Set up everything afresh, for a blob of `size` bytes; nothing of it is left at the end."""
    journal = Journal()
    with tempfile.TemporaryDirectory(prefix="mirror-benchmark-") as folder:
        async with (
            FakeRegistry(journal) as registry,
            FakeTokenService(journal) as tokens,
            mirrors_of(registry, tokens, Path(folder)) as mirrors,
        ):
            yield Stage(mirrors, registry, journal, put(registry, size))

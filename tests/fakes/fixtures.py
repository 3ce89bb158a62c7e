"""Fixtures: a journal, and the fakes that write to it. A test that leaves something unexpected there fails."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.fakes.cdn import FakeCDN
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService


@pytest.fixture
def journal() -> Iterator[Journal]:
    """The journal all fakes of this test share; unexpected requests in it fail the test at its end."""
    kept = Journal()
    yield kept
    if kept.unexpected:
        story = f"\n\nall requests:\n{kept}"
        pytest.fail("unexpected requests:\n" + "\n".join(kept.unexpected) + story, pytrace=False)


@pytest.fixture
async def registry(journal: Journal) -> AsyncIterator[FakeRegistry]:
    """A running, empty, anonymous registry."""
    async with FakeRegistry(journal) as running:
        yield running


@pytest.fixture
async def other_registry(journal: Journal) -> AsyncIterator[FakeRegistry]:
    """A second registry, for a second endpoint or upstream; the journal calls it "other"."""
    async with FakeRegistry(journal, name="other") as running:
        yield running


@pytest.fixture
async def token_service(journal: Journal) -> AsyncIterator[FakeTokenService]:
    """A running token service; give it to a registry with `registry.auth = TokenAuth(token_service)`."""
    async with FakeTokenService(journal) as running:
        yield running


@pytest.fixture
async def cdn(journal: Journal) -> AsyncIterator[FakeCDN]:
    """A running CDN; use it with `registry.redirect_blobs(cdn)`."""
    async with FakeCDN(journal) as running:
        yield running

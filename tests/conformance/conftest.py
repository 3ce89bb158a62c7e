"""One mirror in front of one fake registry for all clauses of a file; each test has a repository of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count

import aiohttp
import pytest
import pytest_asyncio

from mirror.app import Mirror
from mirror.config import Config
from tests.conformance.site import Site
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.integration.conftest import RunningMirror


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A mirror that revalidates tags with every request, and its upstream, which is Docker Hub to it."""
    async with FakeRegistry(Journal()) as registry:
        config = Config(
            listen="127.0.0.1:0",  # type: ignore[arg-type]  # parsed from text
            admin={"listen": "127.0.0.1:0"},  # type: ignore[arg-type]
            cache={"path": str(tmp_path_factory.mktemp("cache"))},  # type: ignore[arg-type]
            freshness={"tag_ttl": "0s", "stale_while_revalidate": "0s"},  # type: ignore[arg-type]
            upstreams={"docker.io": {"endpoints": [registry.url], "private_network": True, "read_ahead": False}},  # type: ignore[dict-item]
        )
        mirror = Mirror(config)
        async with mirror.running(), aiohttp.ClientSession(auto_decompress=False) as session:
            yield Site(registry, RunningMirror(mirror, session))
        assert not registry.journal.unexpected


@pytest.fixture(name="site")
def own_repository(running_site: Site, numbers: count[int]) -> Site:
    """The site, with a repository that no other test has heard of."""
    return running_site.with_repository(f"owner/app{next(numbers)}")


@pytest.fixture(scope="session")
def numbers() -> count[int]:
    """Each number once."""
    return count()

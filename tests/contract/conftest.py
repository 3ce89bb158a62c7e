"""The two kinds of registry that must answer alike, and a client that interferes with nothing."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from tests.contract.real_registry import EXECUTABLE, RealRegistry, basic_auth, real_registry, token_auth
from tests.fakes.auth import Anonymous, Auth, BasicAuth, TokenAuth
from tests.fakes.fixtures import cdn, journal, other_registry, registry, token_service
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService

__all__ = ["cdn", "journal", "other_registry", "registry", "token_service"]

USER, PASSWORD = "alice", "wonder:land"
REALM, SERVICE = "http://127.0.0.1:9/token", "contract"


@dataclass(frozen=True, slots=True)
class Subjects:
    """The same kind of registry in each of its three ways to let clients in."""

    open: FakeRegistry | RealRegistry
    basic: FakeRegistry | RealRegistry
    token: FakeRegistry | RealRegistry

    def expect_absent(self, path: str) -> None:
        """A fake must be told what a test will not find; the real one takes it as it comes."""
        if isinstance(self.open, FakeRegistry):
            self.open.absent(path)


@pytest.fixture(scope="session")
def real_registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subjects]:
    if not EXECUTABLE.exists():
        pytest.skip(f"{EXECUTABLE} (Debian package docker-registry) is not installed")
    with ExitStack() as running:

        def start(name: str, auth: dict[str, object] | None = None) -> RealRegistry:
            return running.enter_context(real_registry(_folder(tmp_path_factory, name), auth))

        basic = basic_auth(_folder(tmp_path_factory, "htpasswd"), USER, PASSWORD)
        token = token_auth(_folder(tmp_path_factory, "certificate"), REALM, SERVICE)
        yield Subjects(start("open"), start("basic", basic), start("token", token))


@pytest.fixture
async def fake_registries(journal: Journal) -> AsyncIterator[Subjects]:
    async with FakeTokenService(journal, SERVICE) as tokens:
        auths: list[Auth] = [Anonymous(), BasicAuth(USER, PASSWORD), TokenAuth(tokens, realm=REALM)]
        fakes = [FakeRegistry(journal, auth) for auth in auths]
        async with fakes[0], fakes[1], fakes[2]:
            yield Subjects(*fakes)


@pytest.fixture(params=["fake", "real"])
def subjects(request: pytest.FixtureRequest) -> Subjects:
    found: Subjects = request.getfixturevalue(f"{request.param}_registries")
    return found


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that decodes nothing; requests that are not to be redirected say so."""
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(auto_decompress=False, timeout=timeout) as session:
        yield session


def _folder(factory: pytest.TempPathFactory, name: str) -> Path:
    return factory.mktemp(name)

"""A purge is obeyed by whoever asks after its answer, however many are answered at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest

from mirror.proxy.events.gathering import Gathering
from tests.fakes import content
from tests.fakes.registry import FakeRegistry
from tests.integration.conftest import StartMirror
from tests.integration.processes import REPOSITORY
from tests.integration.raw_http import RawClient, raw_client
from tests.integration.waiting import until
from tests.integration.workers import Crew, crew, start_workers

LATEST = f"/v2/{REPOSITORY}/manifests/latest"
HEAD = f"GET {LATEST} HTTP/1.1\r\nHost: x\r\nAccept: {content.OCI_MANIFEST}\r\n\r\n".encode()
CLIENTS = 8

__all__ = ["crew", "start_workers"]


class Crowd:
    """Clients that ask for the same, again and again, and know whether the purge had been answered when they asked."""

    def __init__(self, clients: Sequence[RawClient]) -> None:
        self._clients = clients
        self.is_purged = False
        self.before: list[int] = []
        self.after: list[int] = []

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._ask(client)) for client in self._clients]
        await until(lambda: len(self.before) > 20 * len(self._clients), "all have been answered again and again")
        yield
        await asyncio.gather(*tasks)

    async def _ask(self, client: RawClient) -> None:
        for _ in range(2):
            is_last = False
            while not is_last:
                is_last, statuses = self.is_purged, self.after if self.is_purged else self.before
                client.send_now(HEAD)
                statuses.append((await client.answer()).head.status)


async def purge(crowd: Crowd, admin: str, registry: FakeRegistry) -> None:
    async with crowd.asking(), aiohttp.ClientSession() as session:
        registry.remove_tag(REPOSITORY, "latest")
        async with session.delete(f"{admin}/api/v1/images/{REPOSITORY}:latest") as response:
            assert (response.status, len((await response.json())["images"])) == (200, 1)
            crowd.is_purged = True


@pytest.fixture(autouse=True)
def image(registry: FakeRegistry) -> None:
    registry.add_image(REPOSITORY, "latest", content.image(layers=1))


async def test_who_asks_after_a_purge_does_not_get_what_was_purged(
    registry: FakeRegistry, start_mirror: StartMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    together: list[int] = []
    notify = Gathering.tell

    def tell(gathering: Gathering) -> None:
        together.append(len(gathering._given))
        notify(gathering)

    monkeypatch.setattr(Gathering, "tell", tell)
    # Else many requests end what should be ended by the turn.
    monkeypatch.setattr("mirror.server.repeats.repeats.MOST_TOGETHER", 1_000_000)
    async with start_mirror() as mirror, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(raw_client(mirror)) for _ in range(CLIENTS)]
        crowd = Crowd(clients)
        await purge(crowd, mirror.admin_url, registry)
        assert set(crowd.before) <= {200, 404}
        assert crowd.after == [404] * 2 * CLIENTS
        assert max(together) > 1, "several were answered in one turn of the loop"


async def test_no_worker_gives_what_was_purged_to_who_asks_after_it(crew: Crew, registry: FakeRegistry) -> None:
    clients = [await crew.client(worker) for worker in (1, 2) * (CLIENTS // 2)]
    crowd = Crowd(clients)
    await purge(crowd, f"http://{crew.mirror.address('admin')}", registry)
    assert set(crowd.before) <= {200, 404}
    assert crowd.after == [404] * 2 * CLIENTS

"""The fake proxy, used by Python's own client, which has nothing to do with the mirror's."""

import asyncio
import urllib.error
import urllib.request

import pytest

from tests.fakes import content
from tests.fakes.proxy import FakeProxy
from tests.fakes.registry import FakeRegistry

BLOB = content.blob()
PATH = f"/v2/team/app/blobs/{BLOB.digest}"


async def fetched(proxy: FakeProxy, login: str = "", host: str = "registry.test") -> bytes:
    """The blob, as urllib gets it through the proxy."""
    address = proxy.url.replace("//", f"//{login}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": address, "https": address}))

    def read() -> bytes:
        with opener.open(f"http://{host}{PATH}", timeout=60) as response:
            return bytes(response.read())

    return await asyncio.to_thread(read)


async def test_an_absolute_form_is_passed_on(registry: FakeRegistry) -> None:
    registry.put_blob("team/app", BLOB)
    async with FakeProxy({"registry.test": registry.port}) as proxy:
        assert await fetched(proxy) == BLOB.data
        assert await fetched(proxy, host=registry.host) == BLOB.data
    assert proxy.targets == [f"GET http://registry.test{PATH}", f"GET {registry.url}{PATH}"]


async def test_who_does_not_log_in_gets_a_407(registry: FakeRegistry) -> None:
    registry.put_blob("team/app", BLOB)
    async with FakeProxy({"registry.test": registry.port}, login=("me", "secret")) as proxy:
        assert await fetched(proxy, "me:secret@") == BLOB.data
        for login in ("", "me:wrong@"):
            with pytest.raises(urllib.error.HTTPError, match="407"):
                await fetched(proxy, login)
    (entry,) = registry.journal.entries
    assert entry.header("Proxy-Authorization") is None

"""One request, its answer read to the end, and what every error answer must look like."""

import aiohttp


class Reply:
    """Status, headers and body of an answer, read to its end."""

    def __init__(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = body

    def picked(self, *names: str) -> dict[str, str | None]:
        return {name: self.headers.get(name) for name in names}


async def ask(
    client: aiohttp.ClientSession, url: str, method: str = "GET", headers: dict[str, str] | None = None
) -> Reply:
    skip = ["User-Agent"] if headers and "Accept" in headers else ["User-Agent", "Accept"]
    async with client.request(method, url, headers=headers, skip_auto_headers=skip) as response:
        return Reply(response, await response.read())


def assert_error(reply: Reply, method: str, status: int, code: str) -> None:
    assert reply.status == status
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
    assert int(reply.headers["Content-Length"]) > 0
    if method == "HEAD":
        assert reply.body == b""
    else:
        assert f'"code": "{code}"'.encode() in reply.body.replace(b'":"', b'": "')


async def read_until_failure(response: aiohttp.ClientResponse) -> bytes:
    """What arrives before the connection breaks; it must break."""
    received = bytearray()
    try:
        async for piece in response.content.iter_any():
            received += piece
    except aiohttp.ClientError:
        return bytes(received)
    raise AssertionError("the body ended in order")

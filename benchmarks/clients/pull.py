"""An image pulled as engines do: ping, token if one is wanted, manifest by tag, then everything it names at once."""

from __future__ import annotations

import json
import time
from http.client import HTTPConnection
from urllib.parse import urlsplit

from benchmarks.clients.connection import UnexpectedAnswer
from benchmarks.clients.reader import DEADLINE, fetch
from benchmarks.content import Image
from tests.fakes.content import OCI_MANIFEST


def pull(url: str, image: Image) -> float:
    """Return the seconds from the first connection to the last byte of the last layer; nothing is kept or hashed."""
    began = time.monotonic()
    connection = HTTPConnection(urlsplit(url).netloc, timeout=DEADLINE)
    try:
        token = token_of(connection)
        headers = {"Accept": OCI_MANIFEST} | ({"Authorization": f"Bearer {token}"} if token else {})
        _get(connection, image.by_tag, headers, 200)
    finally:
        connection.close()
    fetch(url, [image.config.path, *(layer.path for layer in image.layers)], token)
    return time.monotonic() - began


def token_of(connection: HTTPConnection) -> str | None:
    """Return the token that a registry asks for, or None if it asks for none."""
    if _get(connection, "/v2/", {}, 200, 401)[0] == 200:
        return None
    return str(json.loads(_get(connection, "/token", {}, 200)[1])["token"])


def _get(connection: HTTPConnection, path: str, headers: dict[str, str], *expected: int) -> tuple[int, bytes]:
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status not in expected:
        raise UnexpectedAnswer(f"{path}: {answer.status}")
    return answer.status, body

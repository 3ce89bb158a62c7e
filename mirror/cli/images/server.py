"""The admin API of a running mirror, as a client."""

from __future__ import annotations

import http.client
import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

from mirror.config import Config

_SECONDS = 120.0
# A purge of a large repository takes a while.


class Unanswered(Exception):
    """There is no mirror to talk to; the text says so in a sentence."""


class Refused(Exception):
    """The mirror said no; the text is its sentence."""


class AdminServer:
    """The running mirror at `url`; its methods return documents, and raise Unanswered or Refused."""

    def __init__(self, url: str, token: str | None) -> None:
        self._url = urlsplit(url)
        self._token = token

    def images(self, text: str) -> Any:
        """Return the images that have `text` in their names."""
        return self._ask("GET", f"images?filter={quote(text, safe='')}")

    def image(self, name: str) -> Any:
        """Return an image."""
        return self._ask("GET", f"images/{_quoted(name)}")

    def pin(self, name: str) -> Any:
        """Pin an image."""
        return self._ask("POST", "pins", {"image": name})

    def unpin(self, name: str) -> Any:
        """Unpin an image."""
        return self._ask("DELETE", f"pins/{_quoted(name)}")

    def purge(self, name: str) -> Any:
        """Purge an image."""
        return self._ask("DELETE", f"images/{_quoted(name)}")

    def purge_repository(self, name: str) -> Any:
        """Purge all of a repository."""
        return self._ask("DELETE", f"repositories/{_quoted(name)}")

    def warm(self, images: Sequence[str], platforms: Sequence[str]) -> Generator[Any, None, None]:
        """Warm images, and yield what is told meanwhile; without platforms the mirror chooses. To be closed."""
        body = {"images": list(images), **({"platforms": list(platforms)} if platforms else {})}
        with self._asked("POST", "warm", body) as response:
            if response.status != 200:
                self._understood(response.status, response.read())
            told: Any = {}
            while told.get("event") != "end":
                told = self._told(response)
                yield told

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        with self._asked(method, path, body) as response:
            status, content = response.status, response.read()
        return self._understood(status, content)

    @contextmanager
    def _asked(self, method: str, path: str, body: Any) -> Iterator[http.client.HTTPResponse]:
        """Ask, and have the answer as it comes; raises Unanswered."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body)
        make = http.client.HTTPSConnection if self._url.scheme == "https" else http.client.HTTPConnection
        connection = make(self._url.hostname or "", self._url.port, timeout=_SECONDS)
        try:
            connection.request(method, f"/api/v1/{path}", data, headers)
            yield connection.getresponse()
        except TimeoutError:
            raise Unanswered(f"the mirror at {self._url.netloc} did not answer within {_SECONDS:.0f} s") from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise Unanswered(
                f"no mirror answers at {self._url.netloc} ({reason.lower()}): this needs the one that runs"
                " (`admin.listen`, or --server URL)"
            ) from None
        finally:
            connection.close()

    def _told(self, response: http.client.HTTPResponse) -> dict[str, Any]:
        try:
            document = json.loads(response.readline())
        except (ValueError, RecursionError, OSError, http.client.HTTPException):
            document = None
        if not isinstance(document, dict):
            raise Unanswered(f"the mirror at {self._url.netloc} went away before all was done")
        return document

    def _understood(self, status: int, content: bytes) -> Any:
        try:
            document = json.loads(content)
            if status == 200 and isinstance(document, dict):
                return document
            message = document["error"]["message"]
        except (ValueError, KeyError, TypeError, RecursionError):
            message = None
        if not isinstance(message, str):
            raise Unanswered(f"what answers at {self._url.netloc} is no mirror that knows this command")
        raise Refused(message)


def server_of(config: Config, url: str | None) -> AdminServer:
    """Return the mirror at `url`, or the one that the configuration is of; raises ValueError, ConfigError."""
    listen = config.admin.listen
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen.host, listen.host)  # noqa: S104  # not to listen on
    found = url or f"http://{f'[{host}]' if ':' in host else host}:{listen.port}"
    parts = urlsplit(found)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise ValueError("a mirror is at http(s)://host[:port], with nothing behind it")
    _ = parts.port
    return AdminServer(found, config.admin.token)


def _quoted(name: str) -> str:
    return quote(name, safe="/:@")

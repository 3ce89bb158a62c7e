"""What makes an answer one that may be given again, and what is to be done each time that it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web

from mirror.proxy.events.requests import RequestFinished
from mirror.server.delivery import Deliveries

Response = TypeVar("Response", bound=web.StreamResponse)

_KEY = web.ResponseKey("again", object)


def _always() -> bool:
    return True


def _ageless() -> None:
    return None


def _unheard(_: int) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Again:
    """An answer of which `note` was told; it is the same while `holds`, but for its `age`.

    `given` hears how often it was given again. If its body is not in memory, there are `deliveries` of it.
    """

    note: RequestFinished
    holds: Callable[[], bool] = _always
    age: Callable[[], int | None] = _ageless
    given: Callable[[int], object] = _unheard
    deliveries: Deliveries | None = None


def mark(response: Response, again: Again) -> Response:
    """Return the answer, marked as one that may be given again."""
    response[_KEY] = again
    return response


def marked(response: web.StreamResponse) -> Again | None:
    """Return what an answer was marked with."""
    again = response.get(_KEY)
    return again if isinstance(again, Again) else None

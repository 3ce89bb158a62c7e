"""What a service was asked, as its own log tells it."""

from typing import NamedTuple


class Request(NamedTuple):
    """One request that was answered; the path is without its query."""

    method: str
    path: str
    status: int

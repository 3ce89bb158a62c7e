"""The sockets that clients connect to: one a worker, all on the same address, so that the kernel spreads connections.

They are the supervisor's: while a worker is replaced, those who connect wait for the next one and are not refused.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

from mirror.config.units import Address
from mirror.server.listener import refusal

Sockets = tuple[socket.socket, ...]
"""One for each address that a name means."""

Place = tuple[int, tuple[Any, ...]]
"""A family, and an address of it."""


async def bound(key: str, address: Address, count: int) -> list[Sockets]:
    """Return `count` groups of sockets, bound and not listening yet; `key` is the path of the field.

    Raises AddressUnavailable where that may go well later, ConfigError where it will not.
    """
    seats: list[Sockets] = []
    try:
        places = await _resolved(address)
        if address.port:
            # Sockets of a group would share the port with another mirror without a word.
            close([_bound(place, shared=False) for place in places])
        for _ in range(count):
            seats.append(tuple(_bound(place, shared=True) for place in places))
            places = [(one.family, one.getsockname()) for one in seats[0]]
    except OSError as error:
        for seat in seats:
            close(seat)
        raise refusal(key, str(address), error) from error
    return seats


class Seat:
    """Sockets of one worker after another, in the group while it is open."""

    def __init__(self, sockets: Sockets) -> None:
        self.sockets = sockets
        self._places: list[Place] = [(one.family, one.getsockname()) for one in sockets]

    def shut(self) -> None:
        """Leave the group: who waits here for a worker is refused, and whoever connects next comes to another."""
        close(self.sockets)
        self.sockets = ()

    def open(self) -> None:
        """Be in the group again, if it was left; raises OSError."""
        if not self.sockets:
            self.sockets = tuple(_bound(place, shared=True) for place in self._places)


async def _resolved(address: Address) -> list[Place]:
    """Return families and addresses; where any port will do, only the first: others could not have the same."""
    found = await asyncio.get_running_loop().getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    places: list[Place] = list(dict.fromkeys((int(family), place) for family, _, _, _, place in found))
    return places if address.port else places[:1]


def _bound(place: Place, *, shared: bool) -> socket.socket:
    family, where = place
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if shared:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        opened.bind(where)
    except BaseException:
        opened.close()
        raise
    return opened


def close(sockets: Sequence[socket.socket]) -> None:
    """Close all of them."""
    for one in sockets:
        one.close()

"""The sockets that clients connect to: one a worker, all on the same address, so that the kernel spreads connections.

They are the supervisor's: while a worker is replaced, those who connect wait for the next one and are not refused.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from mirror.config.units import Address
from mirror.server.listener import refusal
from mirror.server.sockets import Place, all_bound, places

Sockets = tuple[socket.socket, ...]
"""One for each address that a name means."""


async def bound(key: str, address: Address, count: int) -> list[Sockets]:
    """Return `count` groups of sockets, bound and not listening yet; `key` is the path of the field.

    Raises AddressUnavailable where that may go well later, ConfigError where it will not.
    """
    seats: list[Sockets] = []
    try:
        wanted = await places(address.host, address.port)
        if address.port:
            # Sockets of a group would share the port with another mirror without a word.
            close(all_bound(wanted))
        for _ in range(count):
            seats.append(all_bound(wanted, shared=True))
            wanted = [(one.family, one.getsockname()) for one in seats[0]]
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
            self.sockets = all_bound(self._places, shared=True)


def close(sockets: Sequence[socket.socket]) -> None:
    """Close all of them."""
    for one in sockets:
        one.close()

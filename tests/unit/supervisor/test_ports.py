from __future__ import annotations

import socket

import pytest

from mirror.config.units import Address
from mirror.errors import AddressUnavailable, ConfigError
from mirror.supervisor.ports import Seat, bound, close


async def test_all_groups_have_the_same_port() -> None:
    seats = await bound("listen", Address("127.0.0.1", 0), 3)
    addresses = {one.getsockname() for seat in seats for one in seat}
    for seat in seats:
        close(seat)
    assert len(seats) == 3
    assert len(addresses) == 1
    assert next(iter(addresses))[1] > 0


async def test_a_port_that_somebody_listens_on_is_not_shared() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        host, port = other.getsockname()
        with pytest.raises(AddressUnavailable, match=rf"^listen: 127\.0\.0\.1:{port} is in use$"):
            await bound("listen", Address(host, port), 2)


async def test_an_address_of_nobody_may_come_and_one_that_is_none_may_not() -> None:
    with pytest.raises(AddressUnavailable, match="cannot be listened on"):
        await bound("listen", Address("192.0.2.1", 0), 2)
    with pytest.raises(AddressUnavailable, match="no such name"):
        await bound("listen", Address("nowhere.invalid", 0), 2)
    with pytest.raises((AddressUnavailable, ConfigError)):
        await bound("listen", Address("::1%nothing", 0), 2)


async def test_who_leaves_the_group_gets_no_connections_and_can_come_back() -> None:
    seats = [Seat(sockets) for sockets in await bound("listen", Address("127.0.0.1", 0), 2)]
    for seat in seats:
        seat.sockets[0].listen()
    address = seats[0].sockets[0].getsockname()
    seats[1].shut()
    for _ in range(20):
        with socket.create_connection(address):
            seats[0].sockets[0].accept()[0].close()
    seats[1].open()
    seats[1].open()
    assert seats[1].sockets[0].getsockname() == address
    for seat in seats:
        seat.shut()

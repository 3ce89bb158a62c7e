"""Sockets that are bound to an address, and do not listen yet."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

Place = tuple[int, tuple[Any, ...]]
"""A family, and an address of it."""

_LOOPBACK = {int(socket.AF_INET): "127.0.0.1", int(socket.AF_INET6): "::1"}
_LACKING = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}
# What a machine says that has no IPv6, or has it switched off.


async def places(host: str, port: int) -> list[Place]:
    """Return all that a name means here; where any port will do, only the first: others could not have the same.

    Those of a family that this machine has no addresses of are left out, unless there are no others. Raises OSError
    where it means nothing.
    """
    # In a thread, and not by the loop: libuv takes an address with a zone that there is not.
    found = await asyncio.to_thread(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    meant = dict.fromkeys((int(family), where) for family, _, _, _, where in found)
    usable = [place for place in meant if _is_usable(place[0])] or list(meant)
    return usable if port else usable[:1]


def _is_usable(family: int) -> bool:
    """Tell whether this machine has such addresses; one without IPv6 may still have them in its list of hosts."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.bind((_LOOPBACK[family], 0))
    except OSError as error:
        return error.errno not in _LACKING
    return True


def all_bound(wanted: Iterable[Place], *, shared: bool = False) -> tuple[socket.socket, ...]:
    """Return a socket for each place; `shared` ones let others have the same. Raises OSError, and leaves none then."""
    with ExitStack() as undo:
        sockets = tuple(undo.enter_context(_bound(place, shared=shared)) for place in wanted)
        undo.pop_all()
    return sockets


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

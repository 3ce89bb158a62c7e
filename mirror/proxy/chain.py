"""Through whom a request came: the caches before this one, which whatever it causes tells those behind (RFC 8586).

A variable of the context and no argument, so that nobody can forget to pass it on: every task, flight and fill is begun
in the context of the request that caused it. What no request caused came through nobody.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class _Way:
    """What is known of how a request came; shared by all that it causes."""

    members: tuple[str, ...] = ()
    is_circle: bool = False


_WAY: ContextVar[_Way | None] = ContextVar("way", default=None)


def enter(members: tuple[str, ...]) -> None:
    """Say of all that happens in this context from now on that it came through these, the first one first."""
    _WAY.set(_Way(members))


def came_through() -> tuple[str, ...]:
    """Return the members of CDN-Loop that came with what is being done."""
    way = _WAY.get()
    return () if way is None else way.members


def found_circular() -> None:
    """Note that somebody who was asked for it is one of those through whom it came."""
    way = _WAY.get()
    if way is not None:
        way.is_circle = True


def is_circular() -> bool:
    """Tell whether this mirror asks one of those who ask it, as far as that has been noticed."""
    way = _WAY.get()
    return way is not None and way.is_circle

"""Through whom a request came: the caches before this one, which whatever it causes tells those behind (RFC 8586).

A variable of the context and no argument, so that nobody can forget to pass it on: every task, flight and fill is begun
in the context of the request that caused it. What no request caused came through nobody.
"""

from __future__ import annotations

from contextvars import ContextVar

_CAME_THROUGH: ContextVar[tuple[str, ...]] = ContextVar("came_through", default=())


def enter(members: tuple[str, ...]) -> None:
    """Say of all that happens in this context from now on that it came through these, the first one first."""
    _CAME_THROUGH.set(members)


def came_through() -> tuple[str, ...]:
    """Return the members of CDN-Loop that came with what is being done."""
    return _CAME_THROUGH.get()

"""A purse that nobody else pays from."""

from __future__ import annotations

from mirror.proxy.limits.purses import Purse, Purses
from mirror.proxy.rate_limit import Reserve
from tests.unit.proxy.doubles import SettableClock
from tests.unit.recorder import Recorder


def purse(upstream: str) -> Purse:
    """Return the purse of the only account at an upstream."""
    purses = Purses(upstream, Reserve(), SettableClock(), Recorder())
    return purses.purse("there", "only", "the mirror's address", pays=True)

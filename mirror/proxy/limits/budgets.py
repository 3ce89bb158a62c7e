"""The limits of all upstreams (see rate_limit.Governor). Each process has its own: registries tell them all."""

from __future__ import annotations

from collections.abc import Mapping

from mirror.proxy.events.observer import Observer
from mirror.proxy.interfaces.clock import Clock
from mirror.proxy.limits.purses import Purse, Purses
from mirror.proxy.rate_limit import Reserve, Spending


class Budgets:
    """Knows what every account has left, as its registry tells it; `reserves` has an entry for each upstream."""

    def __init__(self, reserves: Mapping[str, Reserve], clock: Clock, observer: Observer) -> None:
        self._upstreams = {name: Purses(name, reserve, clock, observer) for name, reserve in reserves.items()}

    def purse(self, upstream: str, endpoint: str, account: str, owner: str, *, pays: bool) -> Purse:
        """Return the purse of an account (see Purses.purse)."""
        return self._upstreams[upstream].purse(endpoint, account, owner, pays=pays)

    def spending(self, upstream: str) -> Spending:
        """Return what may be spent on this upstream now."""
        purses = self._upstreams.get(upstream)
        return Spending.FREE if purses is None else purses.spending()

    def tell(self) -> None:
        """Report what is left of every limit."""
        for purses in self._upstreams.values():
            purses.tell()

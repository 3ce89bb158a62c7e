"""Noticing that a request goes round in a circle: it comes back with what this mirror added to it."""

from __future__ import annotations

from collections.abc import Callable

from mirror.errors import LoopDetected
from mirror.proxy import chain
from mirror.proxy.events.observer import Observer
from mirror.proxy.events.requests import LoopRefused
from mirror.server.cdn_loop import id_of, parse_members
from mirror.server.exchange import Exchange

MOST_MEMBERS = 16
"""Caches that a request may have come through; nobody has so many in a row on purpose."""

MOST_CHARACTERS = 2048


class Circle:
    """Knows by what name this mirror passes requests on: `own_name` returns it, once the cache is open."""

    def __init__(self, own_name: Callable[[], str], observer: Observer) -> None:
        self._own_name = own_name
        self._observer = observer

    def check(self, exchange: Exchange) -> None:
        """Take note of whom the request came through; raises LoopDetected if this mirror is among them."""
        members = parse_members(exchange.request.headers.getall("CDN-Loop", ()))
        if self._own_name() in map(id_of, members):
            self._refuse(exchange, "this mirror has asked for it itself: endpoints of mirrors lead in a circle")
        if len(members) > MOST_MEMBERS or sum(map(len, members)) > MOST_CHARACTERS:
            self._refuse(exchange, "the request came through more caches than can be meant")
        chain.enter(members)

    def _refuse(self, exchange: Exchange, why: str) -> None:
        self._observer.notify(LoopRefused(exchange.note.upstream, exchange.note.client))
        raise LoopDetected(why)

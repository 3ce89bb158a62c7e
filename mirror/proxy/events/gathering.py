"""Answers that are given again are told of together: there are many in a turn of the loop, and all are told alike."""

from __future__ import annotations

import time

from mirror.proxy.events.observer import Event, Observer
from mirror.proxy.events.requests import Given, RequestFinished, RequestsRepeated


class Gathering:
    """Stands in front of an observer, which is told of everything in the order in which it happened.

    Whoever adds something sees to it that it is told soon.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._given: list[Given] = []

    def add(self, note: RequestFinished, client: str, microseconds: int) -> None:
        """Have told with others that `client` was given an answer again, which took so long."""
        self._given.append((note, client, time.time_ns() // 1000, microseconds))

    def tell(self) -> None:
        """Tell of all that were added."""
        if self._given:
            given, self._given = self._given, []
            self._observer.notify(RequestsRepeated(given))

    def notify(self, event: Event) -> None:
        """Pass `event` on, behind what was before."""
        self.tell()
        self._observer.notify(event)

"""Several observers as one."""

from __future__ import annotations

from mirror.proxy.events.observer import Event, Observer


class Observers:
    """Tells each of its observers of every event, in order."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def notify(self, event: Event) -> None:
        """Pass `event` on."""
        for observer in self._observers:
            observer.notify(event)

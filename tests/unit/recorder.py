"""An observer that keeps what it is told."""

from __future__ import annotations

from typing import TypeVar

from mirror.proxy.events.observer import Event

E = TypeVar("E")


class Recorder:
    """Keeps every event, in order."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        """Keep `event`."""
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

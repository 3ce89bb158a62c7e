"""Whether hits can be served, and what is not as it should be: a closed set, for people and for metrics alike."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Trouble(StrEnum):
    """What can be wrong with the mirror itself; upstreams have no say in it."""

    STOPPING = "stopping"
    UNREADABLE = "unreadable"
    HANDLES_SHORT = "handles_short"
    UNWRITABLE = "unwritable"
    DISK_SHORT = "disk_short"
    PINS_CROWDING = "pins_crowding"


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether hits can be served, and the troubles there are.

    `upstreams` are those one of whose endpoints does not answer, `unreachable` those of them of which none does.
    """

    ready: bool
    troubles: tuple[Trouble, ...] = ()
    upstreams: tuple[str, ...] = ()
    unreachable: tuple[str, ...] = ()

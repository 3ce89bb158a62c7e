"""Survival: clients see errors only while something is in trouble that their answer depends on, or shortly after.

That other mirrors die, that files vanish and that databases are damaged is no excuse; and a disk that works is not to
be blamed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator

from tests.soak.history import Chaos, Ending, History, Request, Transfer, Trouble
from tests.soak.rules.timeline import Timeline

_REMEMBERED = 7.0
# Seconds for which the mirror believes that upstream could not be asked, and some for the look-up that found out.

_RECONNECTED = 1.0
# Seconds after which clients have given up their connections to a mirror that died.

_PINGED = 12.0
# Seconds within which a mirror notices that upstream answers again: about as long as it did not.

_HONEST = {502, 503, 504}


def groundless_errors(history: History) -> Iterator[str]:
    """Yield the errors that nothing excuses."""
    excuses = _Excuses(history)
    for request in history.requests:
        if request.status is not None and request.status >= 400 and request.status not in _HONEST:
            yield f"an answer that is not true: {request}"
        elif _failed(request) and not excuses.has(request):
            yield f"an error for no reason: {request}"


def _failed(request: Request) -> bool:
    return request.ending in {Ending.CUT, Ending.UNANSWERED} or (request.status or 0) >= 400


class _Excuses:
    """What may be behind an error."""

    def __init__(self, history: History) -> None:
        self._chaos = Timeline(one for one in history.chaos if one.what in _AFTER)
        spoiled: dict[str, list[Transfer]] = defaultdict(list)
        for transfer in history.transfers:
            if transfer.fault is not None:
                for key in _keys_of(transfer):
                    spoiled[key].append(transfer)
        self._spoiled = {key: Timeline(of_it) for key, of_it in spoiled.items()}
        self._throttled = Timeline(one for one in history.transfers if one.status == 429)
        self._deliveries: dict[str, list[float]] = defaultdict(list)
        for request in history.requests:
            if request.is_whole and request.status == 200:
                self._deliveries[request.reference].append(request.t1)

    def has(self, request: Request) -> bool:
        if "store-failed" in request.cache_status:
            return False
        spoiled = self._spoiled.get(_key(request), Timeline[Transfer](()))
        return (
            any(_concerns(one, request) for one in self._chaos.during(request.t0 - _PINGED, request.t1))
            or any(spoiled.during(request.t0 - _REMEMBERED, request.t1))
            or any(self._throttled.during(request.t0 - _REMEMBERED, request.t1))
            or any(self._is_poisoned(one, request) for one in spoiled.during(-math.inf, request.t1))
        )

    def _is_poisoned(self, transfer: Transfer, request: Request) -> bool:
        """Whether wrong bytes may still lie in the partial file: its writer died before it could tell."""
        well_since = any(transfer.t1 < t < request.t0 for t in self._deliveries[request.reference])
        return transfer.fault == "wrong" and not well_since


def _keys_of(transfer: Transfer) -> tuple[str, ...]:
    """What requests this transfer can spoil: those for its digest; for a manifest, also those for any tag."""
    tags = f"tags of {transfer.repository}"
    return (transfer.reference, tags) if transfer.kind == "manifests" else (transfer.reference,)


def _key(request: Request) -> str:
    return f"tags of {request.repository}" if request.is_tag else request.reference


def _concerns(trouble: Chaos, request: Request) -> bool:
    is_past = request.t0 > trouble.t1 + _AFTER[trouble.what]
    return trouble.process in {None, request.process} and not is_past


_AFTER = {
    Trouble.KILL: _RECONNECTED,
    Trouble.RESTART: _RECONNECTED,
    Trouble.STOP: _RECONNECTED,
    Trouble.OUTAGE: _PINGED,
    Trouble.SILENCE: _PINGED,
}
# The troubles that excuse errors, and for how many seconds after their end.

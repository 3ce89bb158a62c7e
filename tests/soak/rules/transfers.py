"""One fetch: no byte of a blob comes twice at once, whatever the number of clients and mirrors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations

from tests.soak.history import History, Request, Transfer, Trouble
from tests.soak.rules.timeline import Timeline

_HEARD_WITHIN = 0.2
# Seconds after which the registry knows that the other end has closed a connection.


def double_transfers(history: History) -> Iterator[str]:
    """Yield pairs of transfers of the same bytes that went on at the same time."""
    excuses = _Excuses(history)
    by_digest: dict[str, list[Transfer]] = defaultdict(list)
    for transfer in sorted(history.transfers, key=lambda transfer: transfer.t0):
        if transfer.kind == "blobs" and transfer.method == "GET" and transfer.sent:
            by_digest[transfer.reference].append(transfer)
    for transfers in by_digest.values():
        for one, other in combinations(transfers, 2):
            if _overlap(one, other) and not excuses.have(one, other):
                yield f"the same bytes were fetched twice at once: {one} and {other}"


def _overlap(one: Transfer, other: Transfer) -> bool:
    same_time = other.t0 < one.t1 - _HEARD_WITHIN
    return same_time and max(one.start, other.start) < min(one.start + one.sent, other.start + other.sent)


class _Excuses:
    """A writer that died, for whom another goes on; and bytes for which the disk had no room: one process sees them."""

    def __init__(self, history: History) -> None:
        self._kills = Timeline(one for one in history.chaos if one.what is Trouble.KILL)
        self._full = Timeline(one for one in history.chaos if one.what is Trouble.FULL)
        passing: dict[str, list[Request]] = defaultdict(list)
        for request in history.requests:
            if request.method == "GET" and _is_passing(request.cache_status):
                passing[request.reference].append(request)
        self._passing = {digest: Timeline(requests) for digest, requests in passing.items()}

    def have(self, one: Transfer, other: Transfer) -> bool:
        passing = self._passing.get(other.reference, Timeline[Request](()))
        return (
            self._has_died(one, other)
            or any(self._full.during(other.t0, other.t1))
            or any(passing.during(other.t0, other.t1))
        )

    def _has_died(self, one: Transfer, other: Transfer) -> bool:
        kills = self._kills.during(one.t0, other.t0 + _HEARD_WITHIN)
        return any(kill.process == one.process and kill.t0 >= one.t0 - _HEARD_WITHIN for kill in kills)


def _is_passing(cache_status: str) -> bool:
    return "fwd=miss" in cache_status and "stored" not in cache_status

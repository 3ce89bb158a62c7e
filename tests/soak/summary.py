"""A run in a few lines of numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tests.soak.history import Ending, History


def summary(history: History) -> str:
    """Return what was asked, answered and done to the mirrors, in some lines."""
    requests, bodies = history.requests, [one for one in history.transfers if one.sent]
    received, sent = sum(one.length for one in requests), sum(one.sent for one in bodies)
    return "\n".join(
        (
            f"requests   {len(requests)}: {_counted(one.ending for one in requests)}",
            f"statuses   {_counted(str(one.status) for one in requests)}",
            f"cache      {_counted(one.cache_status for one in requests if one.ending is Ending.COMPLETE)}",
            f"bytes      {received / 2**20:.0f} MiB to clients, {sent / 2**20:.0f} MiB from upstream",
            f"upstream   {len(history.transfers)} requests, spoiled: "
            f"{_counted(one.fault for one in history.transfers if one.fault)}",
            f"chaos      {_counted(one.what for one in history.chaos)}",
        )
    )


def _counted(values: Iterable[str]) -> str:
    return ", ".join(f"{count} {value}" for value, count in Counter(values).most_common()) or "nothing"

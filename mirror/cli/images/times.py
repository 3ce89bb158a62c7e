"""Times as people tell them."""

from __future__ import annotations

from datetime import UTC, datetime


def ago(at: str | None) -> str:
    """Return how long ago a time of the API was, `-` for none."""
    return "-" if at is None else f"{span(-_seconds_until(at))} ago"


def left(at: str) -> str:
    """Return how long it is until a time of the API."""
    return span(_seconds_until(at))


def is_over(at: str) -> bool:
    """Tell whether a time of the API has passed."""
    return _seconds_until(at) <= 0


def is_ahead(at: str) -> bool:
    """Tell whether a time of the API that should have been has yet to come, by more than two clocks may differ."""
    return _seconds_until(at) > 60


def span(seconds: float) -> str:
    """Return a time span in the unit that suits it."""
    seconds = max(0.0, seconds)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length * 2:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _seconds_until(at: str) -> float:
    return (datetime.fromisoformat(at) - datetime.now(UTC)).total_seconds()

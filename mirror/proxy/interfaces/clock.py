"""The time, as it is told to whoever asks."""

from __future__ import annotations

from collections.abc import Callable

Clock = Callable[[], float]
"""Wall-clock time in seconds since the epoch."""

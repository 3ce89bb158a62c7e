"""What durations are sorted into: the same buckets wherever seconds are measured."""

from __future__ import annotations

SECONDS = (0.001, 0.005, 0.025, 0.1, 0.25, 1, 2.5, 5, 10, 20, 30, 60, 300)

"""Every row of the table, in its order."""

from __future__ import annotations

from benchmarks.rows import beside, cold, herd, start, warm, workers
from benchmarks.rows.row import Row

_ALL = (*warm.ROWS, *beside.ROWS, *cold.ROWS, *herd.ROWS, *start.ROWS, *workers.ROWS)

ROWS: dict[str, Row] = {row.name: row for row in _ALL}

__all__ = ["ROWS", "Row"]

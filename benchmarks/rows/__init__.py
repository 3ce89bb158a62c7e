"""Every row of the table, in its order."""

from __future__ import annotations

from benchmarks.rows import beside, cold, herd, start, warm
from benchmarks.rows.row import Row

ROWS: dict[str, Row] = {row.name: row for row in (*warm.ROWS, *beside.ROWS, *cold.ROWS, *herd.ROWS, *start.ROWS)}

__all__ = ["ROWS", "Row"]

"""What was told, as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tests.integration.outages.theatre import Told


def cell(told: Told) -> str:
    """Status, time and Cache-Status of the first pull, what both cost, and the Cache-Status of the second."""
    first, again = told.first, _short(told.second.cache_status)
    by = f", by {told.served_by}" if told.has_spare else ""
    return f"{first.status}, {first.seconds:.1f} s, {_short(first.cache_status)}, {told.spent}{by}, then {again}"


def side_by_side(title: str, columns: Mapping[str, Mapping[str, Told]]) -> str:
    """Faults down, kinds of images across: what each got."""
    faults = dict.fromkeys(fault for column in columns.values() for fault in column)
    rows = [
        [fault, *(cell(column[fault]) if fault in column else "" for column in columns.values())] for fault in faults
    ]
    return (
        f"\n{title}: status, time, Cache-Status, requests + tokens of two pulls, Cache-Status of the second\n\n"
        + table(["fault", *columns], rows)
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in the form of Markdown, its columns as wide as need be."""
    lines = [list(heads), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    drawn = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines]
    return "\n".join([drawn[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *drawn[1:]])


def _short(cache_status: str) -> str:
    return cache_status.removeprefix("mirror; ").replace("fwd-status=404; ", "")

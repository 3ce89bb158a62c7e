"""Results as a table for people, in Markdown, and as JSON for programs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.peers import NAMES
from benchmarks.result import Result

HEAD = ("row", "measure", *NAMES, "mirror against", "commit")


def head() -> str:
    """Return the first two lines of the table."""
    return f"{_line(HEAD)}\n{_line(['---'] * len(HEAD))}"


def lines(result: Result) -> Iterator[str]:
    """Return the lines of a row, one a measure, and one for each thing that could not be measured."""
    for measure in result.measures():
        cells = [str(spread) if (spread := result.spread(peer, measure)) else "" for peer in NAMES]
        verdicts = "; ".join(map(str, result.verdicts(measure)))
        yield _line([result.row.name, measure, *cells, verdicts, result.commit])
    for failure in result.failures:
        yield _line([result.row.name, f"not measured: {' '.join(failure.split())}", *[""] * (len(HEAD) - 2)])


def document(results: Sequence[Result], scale: str) -> str:
    """Return everything as JSON."""
    machine = {"cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}
    return json.dumps({"scale": scale, "machine": machine, "rows": [_row(result) for result in results]}, indent=2)


def _row(result: Result) -> dict[str, Any]:
    return {
        "row": result.row.name,
        "about": result.row.about,
        "commit": result.commit,
        "rounds": result.rounds,
        "goals": [
            {
                "measure": measure,
                "of": verdict.goal.of,
                "bound": verdict.goal.bound,
                "is_most": verdict.goal.is_most,
                "value": verdict.value,
                "is_met": verdict.is_met,
            }
            for measure in result.measures()
            for verdict in result.verdicts(measure)
        ],
        "failures": result.failures,
    }


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

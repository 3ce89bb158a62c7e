"""What came of a row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

from benchmarks.goal import Round, Verdict
from benchmarks.rows.row import Row


@dataclass(frozen=True, slots=True)
class Spread:
    """Several values of one measure."""

    values: tuple[float, ...]

    @property
    def middle(self) -> float:
        """The median."""
        return median(self.values)

    @property
    def width(self) -> float:
        """How far the farthest value is from the median, as a share of it."""
        middle = self.middle
        return max(abs(value - middle) for value in self.values) / middle if middle else 0.0

    def __str__(self) -> str:
        digits = 0 if self.middle >= 100 else 1 if self.middle >= 10 else 2
        spread = f" ±{self.width:.0%}" if len(self.values) > 1 else ""
        return f"{self.middle:,.{digits}f}{spread}"


@dataclass(frozen=True, slots=True)
class Result:
    """A row, the commit that was measured, its rounds, and what could not be measured, with the reason."""

    row: Row
    commit: str
    rounds: list[Round] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def measures(self) -> list[str]:
        """Return the names of what was measured, in the row's order."""
        return list(dict.fromkeys(name for told in self.rounds for values in told.values() for name in values))

    def spread(self, peer: str, measure: str) -> Spread | None:
        """Return what was measured of a peer, or None if nothing was."""
        values = tuple(told[peer][measure] for told in self.rounds if peer in told)
        return Spread(values) if values else None

    def verdicts(self, measure: str) -> Iterator[Verdict]:
        """Return what came of the goals for a measure, where whom they speak of was measured."""
        for goal in self.row.goals:
            if goal.measure == measure and (verdict := goal.judge(self.rounds)) is not None:
                yield verdict

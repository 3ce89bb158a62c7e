"""A goal: what the mirror has to reach, by itself or measured by others in the same run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Values = Mapping[str, float]
"""What one shot told, by the names of measures, which end with their units."""

Round = Mapping[str, Values]
"""What one round told, by the names of peers."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a goal: the measured `value` is a ratio if the goal is one."""

    goal: Goal
    value: float

    @property
    def is_met(self) -> bool:
        """Tell whether the goal is reached."""
        return self.value <= self.goal.bound if self.goal.is_most else self.value >= self.goal.bound

    def __str__(self) -> str:
        of = f" x {' or '.join(self.goal.of)}" if self.goal.of else ""
        sign = "≤" if self.goal.is_most else "≥"
        return f"{self.value:.2f}{of} (goal {sign} {self.goal.bound:g}) {'ok' if self.is_met else 'MISSED'}"


@dataclass(frozen=True, slots=True)
class Goal:
    """A measure of the mirror, and a bound for it: times the best of the peers `of`, if some are named."""

    measure: str
    bound: float
    is_most: bool
    of: tuple[str, ...] = ()

    def judge(self, rounds: Sequence[Round]) -> Verdict | None:
        """Return the median over rounds that told what it takes; None if there is no such round."""
        values = [value for told in rounds if (value := self._value(told)) is not None]
        return Verdict(self, median(values)) if values else None

    def _value(self, told: Round) -> float | None:
        if "mirror" not in told:
            return None
        own = told["mirror"][self.measure]
        if not self.of:
            return own
        others = [told[peer][self.measure] for peer in self.of if peer in told]
        best = (min if self.is_most else max)(others, default=0.0)
        return own / best if best else None


def at_least(measure: str, bound: float, *of: str) -> Goal:
    """Return a goal for what is better the more there is."""
    return Goal(measure, bound, False, of)


def at_most(measure: str, bound: float, *of: str) -> Goal:
    """Return a goal for what is better the less there is."""
    return Goal(measure, bound, True, of)

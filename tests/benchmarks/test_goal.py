"""Goals are judged by what was measured in the same round."""

from __future__ import annotations

import pytest

from benchmarks.goal import Goal, Round, at_least, at_most
from benchmarks.result import Spread

SPEEDS: list[Round] = [
    {"mirror": {"GB/s": 1.0}, "nginx": {"GB/s": 2.0}, "drayage": {"GB/s": 0.1}},
    {"mirror": {"GB/s": 3.0}, "nginx": {"GB/s": 3.0}, "drayage": {"GB/s": 0.1}},
    {"mirror": {"GB/s": 9.0}, "nginx": {"GB/s": 3.0}, "drayage": {"GB/s": 0.1}},
]


@pytest.mark.parametrize(
    ("goal", "value", "is_met"),
    [
        (at_least("GB/s", 1.0, "nginx"), 1.0, True),
        (at_least("GB/s", 1.1, "nginx"), 1.0, False),
        (at_least("GB/s", 1.1, "nginx", "drayage"), 1.0, False),  # the best of them
        (at_least("GB/s", 5.0, "drayage"), 30.0, True),
        (at_most("GB/s", 1.0, "nginx", "drayage"), 30.0, False),
        (at_most("GB/s", 3.0), 3.0, True),
        (at_least("GB/s", 3.1), 3.0, False),
    ],
)
def test_a_goal_is_the_median_over_the_rounds(goal: Goal, value: float, is_met: bool) -> None:
    verdict = goal.judge(SPEEDS)

    assert verdict is not None
    assert verdict.value == pytest.approx(value)
    assert verdict.is_met is is_met


def test_rounds_that_lack_somebody_are_left_out() -> None:
    rounds: list[Round] = [{"nginx": {"s": 1.0}}, {"mirror": {"s": 1.0}}, {"mirror": {"s": 4.0}, "nginx": {"s": 2.0}}]

    verdict = at_most("s", 1.0, "nginx").judge(rounds)

    assert verdict is not None
    assert str(verdict) == "2.00 x nginx (goal ≤ 1) MISSED"


def test_there_is_no_verdict_about_somebody_who_was_not_measured() -> None:
    assert at_most("GB/s", 1.0, "docker-registry").judge(SPEEDS) is None
    assert at_most("GB/s", 1.0).judge([]) is None


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((1234.4,), "1,234"),
        ((10.0, 12.0, 9.0), "10.0 ±20%"),
        ((0.5, 0.5), "0.50 ±0%"),
        ((0.0, 0.0), "0.00 ±0%"),
    ],
)
def test_a_spread_tells_the_median_and_how_far_values_are_from_it(values: tuple[float, ...], text: str) -> None:
    assert str(Spread(values)) == text

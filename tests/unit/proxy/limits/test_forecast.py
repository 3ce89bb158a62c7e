from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.proxy.limits.forecast import LEAST, SPAN, Forecast

NOW = 1_700_000_000.0
NUMBERS = st.integers(0, 10_000)


def forecast(*told: tuple[float, int]) -> Forecast:
    """What was said: seconds from now, and what was left."""
    made = Forecast()
    for later, remaining in told:
        made.told(remaining, NOW + later)
    return made


def test_nothing_is_known_of_what_nobody_told() -> None:
    assert Forecast().seconds(NOW) == math.inf


@pytest.mark.parametrize(
    ("told", "at", "seconds"),
    [
        ([(0, 100)], 0, math.inf),
        ([(0, 100), (600, 100)], 600, math.inf),
        ([(0, 100), (600, 90)], 600, 5400),
        # Where nobody pulls any more, the end moves away.
        ([(0, 100), (600, 90)], 1200, 10800),
        # A burst is taken to have lasted a minute.
        ([(0, 100), (1, 80)], 1, 4 * LEAST),
        # A limit that starts anew.
        ([(0, 100), (600, 0), (601, 100)], 601, math.inf),
        ([(0, 5), (600, 100), (1200, 90)], 1200, 5400),
        # One that gives back what is old, as fast as it is spent.
        ([(0, 50), (100, 49), (200, 50), (300, 49), (400, 50)], 400, math.inf),
        ([(0, 3), (60, 0)], 60, 0),
        ([(0, 0)], 0, 0),
        # Long ago.
        ([(0, 100), (600, 90)], 600 + SPAN + 1, math.inf),
    ],
)
def test_when_nothing_will_be_left(told: list[tuple[float, int]], at: float, seconds: float) -> None:
    assert forecast(*told).seconds(NOW + at) == pytest.approx(seconds)


@given(st.integers(1, 100), st.integers(100, 10_000), st.floats(60, SPAN / 20))
def test_a_steady_fall_ends_when_it_ends(step: int, start: int, every: float) -> None:
    made, remaining, at = Forecast(), start, 0.0
    while remaining > step and at < 10 * every:
        made.told(remaining, NOW + at)
        remaining, at = remaining - step, at + every
    made.told(remaining, NOW + at)
    if remaining < start:
        assert made.seconds(NOW + at) == pytest.approx(remaining / step * every, rel=0.01)


@given(st.lists(st.tuples(st.floats(-1e5, 1e5), NUMBERS), max_size=40), st.floats(-1e6, 1e6))
def test_no_story_is_too_strange(story: list[tuple[float, int]], later: float) -> None:
    made, now = Forecast(), NOW
    for passed, remaining in story:
        now += passed
        made.told(remaining, now)
    assert made.seconds(now + later) >= 0


@given(st.integers(0, 100), st.integers(0, 100), NUMBERS)
def test_with_more_left_the_end_is_not_nearer(fallen: int, more: int, remaining: int) -> None:
    less = forecast((0, remaining + fallen), (600, remaining))
    other = forecast((0, remaining + fallen + more), (600, remaining + more))
    assert other.seconds(NOW + 600) >= less.seconds(NOW + 600)


def test_it_does_not_grow() -> None:
    made = Forecast()
    for second in range(100_000):
        made.told(100_000 - second, NOW + second)
    assert len(made._samples) < 100


def test_what_was_said_at_a_time_that_has_not_come_yet_is_forgotten() -> None:
    made = forecast((86400, 100))
    made.told(90, NOW)
    assert made.seconds(NOW) == math.inf
    made.told(80, NOW + 100)
    assert made.seconds(NOW + 100) == 800

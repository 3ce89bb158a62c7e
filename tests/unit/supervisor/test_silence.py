from __future__ import annotations

import pytest

from mirror.supervisor.silence import Silence


class Watch:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watch() -> Watch:
    return Watch()


def looks(silence: Silence, watch: Watch, *passed: float) -> list[bool]:
    """Look again and again, after so many seconds each."""
    asked = []
    for seconds in passed:
        watch.now += seconds
        asked.append(silence.look())
    return asked


def test_who_has_said_nothing_yet_is_not_silent(watch: Watch) -> None:
    silence = Silence(watch)
    looks(silence, watch, *[1.0] * 100)
    assert silence.seconds == 0.0


def test_who_does_not_answer_is_silent_since_he_was_asked(watch: Watch) -> None:
    silence = Silence(watch)
    silence.heard()
    assert looks(silence, watch, 1.0, 1.0, 1.0) == [True, False, False]
    assert silence.seconds == 2.0


def test_who_answers_is_not_and_is_asked_again(watch: Watch) -> None:
    silence = Silence(watch)
    silence.heard()
    for _ in range(5):
        assert looks(silence, watch, 1.0) == [True]
        silence.heard()
    looks(silence, watch, 1.0, 1.0)
    silence.heard()
    assert silence.seconds == 0.0


def test_while_nobody_looked_nobody_was_silent(watch: Watch) -> None:
    silence = Silence(watch)
    silence.heard()
    looks(silence, watch, 1.0, 3600.0)
    assert silence.seconds == 2.0


def test_who_is_forgiven_has_all_the_time_again(watch: Watch) -> None:
    silence = Silence(watch)
    silence.heard()
    looks(silence, watch, 1.0, 1.0, 1.0)
    silence.forgive()
    assert silence.seconds == 0.0
    looks(silence, watch, 1.0)
    assert silence.seconds == 1.0

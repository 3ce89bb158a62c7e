from __future__ import annotations

from mirror.supervisor.pauses import FIRST_SECONDS, LONGEST_SECONDS, WELL_SECONDS, Pauses


class Watch:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_first_death_is_no_reason_to_wait() -> None:
    assert Pauses(Watch()).next() == 0.0


def test_whoever_goes_on_dying_is_waited_with_longer_and_longer() -> None:
    pauses = Pauses(Watch())
    waits = [pauses.next() for _ in range(20)]
    assert waits[:4] == [0.0, FIRST_SECONDS, 2 * FIRST_SECONDS, 4 * FIRST_SECONDS]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_SECONDS


def test_after_a_while_of_life_it_begins_anew() -> None:
    watch = Watch()
    pauses = Pauses(watch)
    for _ in range(5):
        pauses.next()
    watch.now += WELL_SECONDS + 1
    assert pauses.next() == 0.0

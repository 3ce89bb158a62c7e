from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mirror.upstream.health.breaker import FIRST_PAUSE, JITTER, LONGEST_PAUSE, THRESHOLD, Breaker, State


def breaker(*, needs_proof: bool = False, chance: float = 0.0) -> Breaker:
    return Breaker(needs_proof=needs_proof, chance=lambda: chance)


def taken_out(now: float = 0.0, *, needs_proof: bool = False, chance: float = 0.0) -> Breaker:
    """A breaker that has just opened."""
    one = breaker(needs_proof=needs_proof, chance=chance)
    for _ in range(THRESHOLD):
        one.failed(now)
    if needs_proof:
        one.pinged(now, is_alive=False)
    assert one.is_out
    return one


def test_failures_in_a_row_take_an_endpoint_out() -> None:
    one = breaker()
    for _ in range(THRESHOLD - 1):
        one.failed(0)
        assert one.admits
    one.failed(0)
    assert (one.state, one.admits, one.ping_at) == (State.OUT, False, FIRST_PAUSE)


def test_a_success_in_between_begins_the_row_anew() -> None:
    one = breaker()
    for _ in range(10):
        for _ in range(THRESHOLD - 1):
            one.failed(0)
        one.succeeded()
    assert one.state is State.WELL


def test_who_kept_somebody_waiting_is_pinged_at_once_and_doubted_meanwhile() -> None:
    one = breaker()
    one.failed(7, in_time=False)
    assert (one.state, one.admits, one.ping_at) == (State.DOUBTED, True, 7)
    one.pinged(8, is_alive=False)
    assert (one.state, one.admits, one.ping_at) == (State.OUT, False, 8 + FIRST_PAUSE)


def test_a_ping_ends_the_doubt_and_not_the_row_of_failures() -> None:
    one = breaker()
    for _ in range(THRESHOLD - 1):
        one.failed(0, in_time=False)
        one.pinged(0, is_alive=True)
        assert (one.state, one.ping_at) == (State.WELL, None)
    one.failed(0, in_time=False)
    assert one.is_out


def test_failures_count_while_it_is_doubted() -> None:
    one = breaker()
    for _ in range(THRESHOLD):
        one.failed(0, in_time=False)
    assert one.is_out


def test_a_registry_is_not_doubted_for_nobody_else_has_what_it_has() -> None:
    one = breaker(needs_proof=True)
    one.failed(0, in_time=False)
    assert (one.state, one.ping_at) == (State.WELL, None)


def test_bodies_that_stall_count_whatever_begins_well_meanwhile() -> None:
    one = breaker()
    for _ in range(THRESHOLD):
        assert one.admits
        one.succeeded()
        one.stalled(0)
    assert one.is_out


def test_a_body_that_comes_to_its_end_begins_the_row_anew() -> None:
    one = breaker()
    for _ in range(THRESHOLD):
        one.stalled(0)
        one.delivered()
    assert one.state is State.WELL


def test_one_whose_bodies_stall_is_back_more_rarely_each_time() -> None:
    one, now, pauses = breaker(), 0.0, []
    for _ in range(THRESHOLD - 1):
        one.stalled(now)
    for _ in range(4):
        one.stalled(now)
        assert one.ping_at is not None
        pauses.append(one.ping_at - now)
        now = one.ping_at
        one.pinged(now, is_alive=True)
        one.begin()
        one.succeeded()
    assert pauses == [1, 2, 4, 8]


def test_a_registry_whose_bodies_stall_is_pinged_and_stays() -> None:
    one = breaker(needs_proof=True)
    for _ in range(2 * THRESHOLD):
        one.stalled(7)
        one.pinged(7, is_alive=True)
    assert (one.state, one.admits) == (State.WELL, True)


def test_a_registry_is_out_only_when_its_ping_fails_too() -> None:
    one = breaker(needs_proof=True)
    for _ in range(THRESHOLD):
        one.failed(7)
    assert (one.state, one.admits, one.ping_at) == (State.SUSPECTED, True, 7)
    one.pinged(8, is_alive=False)
    assert (one.state, one.admits, one.ping_at) == (State.OUT, False, 8 + FIRST_PAUSE)


def test_a_registry_whose_ping_is_answered_is_suspected_no_more() -> None:
    one = breaker(needs_proof=True)
    for _ in range(THRESHOLD):
        one.failed(0)
    one.pinged(0, is_alive=True)
    assert (one.state, one.ping_at) == (State.WELL, None)
    one.failed(0)
    assert one.state is State.WELL


def test_a_registry_that_lets_wait_is_pinged_and_an_accelerator_is_not() -> None:
    registry, accelerator = breaker(needs_proof=True), breaker()
    for one in (registry, accelerator):
        one.suspect(7)
    assert (registry.state, registry.admits, registry.ping_at) == (State.SUSPECTED, True, 7)
    assert (accelerator.state, accelerator.ping_at) == (State.WELL, None)
    registry.pinged(8, is_alive=False)
    registry.suspect(8)
    assert (registry.state, registry.ping_at) == (State.OUT, 8 + FIRST_PAUSE)


def test_a_registry_is_back_with_its_ping() -> None:
    one = taken_out(needs_proof=True)
    one.pinged(1, is_alive=True)
    assert (one.state, one.ping_at) == (State.WELL, None)


def test_pings_become_rare_up_to_a_minute() -> None:
    one, now, pauses = taken_out(), 0.0, []
    for _ in range(9):
        assert one.ping_at is not None
        pauses.append(one.ping_at - now)
        now = one.ping_at
        one.pinged(now, is_alive=False)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_mirrors_do_not_ping_in_step() -> None:
    assert taken_out(chance=1.0).ping_at == FIRST_PAUSE * (1 - JITTER)


def test_on_trial_one_request_at_a_time_is_let_through() -> None:
    one = taken_out()
    one.pinged(1, is_alive=True)
    assert (one.state, one.admits, one.ping_at) == (State.ON_TRIAL, True, None)
    one.begin()
    assert not one.admits
    one.undecided()
    assert one.admits


def test_a_trial_that_goes_well_brings_it_back() -> None:
    one = taken_out()
    one.pinged(1, is_alive=True)
    one.begin()
    one.succeeded()
    assert (one.state, one.admits) == (State.WELL, True)
    one.failed(2)
    assert one.state is State.WELL


def test_a_trial_that_fails_is_followed_by_a_longer_pause() -> None:
    one = taken_out()
    one.pinged(1, is_alive=True)
    one.begin()
    one.failed(5)
    assert (one.state, one.ping_at) == (State.OUT, 5 + 2 * FIRST_PAUSE)


@pytest.mark.parametrize("needs_proof", [False, True])
def test_an_answer_that_comes_late_is_an_answer(needs_proof: bool) -> None:
    one = taken_out(needs_proof=needs_proof)
    one.succeeded()
    assert (one.state, one.ping_at) == (State.WELL, None)


class Machine(RuleBasedStateMachine):
    """Whatever happens in whatever order."""

    def __init__(self) -> None:
        super().__init__()
        self.one = breaker()
        self.now = 0.0
        self.row = 0

    @initialize(needs_proof=st.booleans(), chance=st.floats(0, 1))
    def begin(self, needs_proof: bool, chance: float) -> None:
        self.one = breaker(needs_proof=needs_proof, chance=chance)

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.one.admits)
    @rule()
    def a_request_begins(self) -> None:
        was_on_trial = self.one.state is State.ON_TRIAL
        self.one.begin()
        assert self.one.admits is not was_on_trial

    @rule()
    def a_request_succeeds(self) -> None:
        self.one.succeeded()
        self.row = 0
        assert self.one.state is State.WELL

    @rule(in_time=st.booleans())
    def a_request_fails(self, in_time: bool) -> None:
        before = self.one.state
        self.one.failed(self.now, in_time=in_time)
        self.row += 1
        if before is State.WELL and self.row < THRESHOLD:
            assert self.one.state is State.WELL or (self.one.state is State.DOUBTED and not in_time)

    @rule()
    def a_request_waits_for_long(self) -> None:
        was_admitted = self.one.admits
        self.one.suspect(self.now)
        assert self.one.admits is was_admitted

    @rule(ends=st.booleans())
    def a_body_stalls_or_ends(self, ends: bool) -> None:
        before = self.one.state
        if ends:
            self.one.delivered()
            assert self.one.state is before
            return
        self.one.stalled(self.now)
        if self.one.state is not before:
            assert self.one.state in (State.OUT, State.SUSPECTED)

    @rule()
    def a_request_ends_undecided(self) -> None:
        before = self.one.state
        self.one.undecided()
        assert self.one.state is before

    @rule(is_alive=st.booleans())
    def a_ping_ends(self, is_alive: bool) -> None:
        before = self.one.state
        self.one.pinged(self.now, is_alive=is_alive)
        if before in (State.WELL, State.ON_TRIAL):
            assert self.one.state is before
        else:
            assert self.one.is_out is not is_alive
            if before is not State.DOUBTED or not is_alive:
                self.row = 0

    @invariant()
    def somebody_sees_to_it_that_it_comes_back(self) -> None:
        # Who is not asked is pinged; who is asked needs none, unless it is to be taken out.
        wanted = self.one.state in (State.OUT, State.SUSPECTED, State.DOUBTED)
        assert (self.one.ping_at is not None) is wanted
        if self.one.ping_at is not None:
            assert self.one.ping_at <= self.now + LONGEST_PAUSE
        assert self.one.admits or self.one.state is not State.WELL

    @invariant()
    def few_failures_change_nothing(self) -> None:
        if self.one.state is State.WELL:
            assert self.row < THRESHOLD


TestMachine = Machine.TestCase

"""A circuit breaker: whether an endpoint is worth asking. Pure; times are in seconds of one monotonic clock.

Failures in a row take an endpoint out, a success brings it back. While it is out nobody asks it but a ping now and
then, less often the longer it is gone. One that kept somebody waiting in vain is pinged at once: to wait again is worse
than to fail again.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

THRESHOLD = 3
"""Failures in a row that one request too many, a restart or a lost packet does not explain any more."""

FIRST_PAUSE = 1.0
"""Seconds before the first ping of an endpoint that is out; each that fails doubles it."""

LONGEST_PAUSE = 60.0
"""Seconds between two pings at most."""

JITTER = 0.2
"""By which part of itself a pause is shortened at most, so that many mirrors do not ping in step."""


class State(StrEnum):
    """What is thought of an endpoint."""

    WELL = "well"
    """It is asked."""
    DOUBTED = "doubted"
    """It did not answer in time: others are asked before it, until a ping has told whether it is there."""
    SUSPECTED = "suspected"
    """It is asked, and a ping is to tell whether the failures were its own or those of what it was asked for."""
    OUT = "out"
    """It is not asked, only pinged."""
    ON_TRIAL = "on trial"
    """A ping was answered: one request at a time is let through, and decides."""


class Breaker:
    """What is thought of one endpoint.

    With `needs_proof` failures of requests are not enough to take it out, a ping has to fail as well: nobody else has
    what it has, and one broken image must not take the others away. `chance` returns numbers from 0 to 1.
    """

    def __init__(self, *, needs_proof: bool, chance: Callable[[], float]) -> None:
        self._needs_proof = needs_proof
        self._chance = chance
        self._failures = 0
        self._stalled_bodies = 0
        self._pause = FIRST_PAUSE
        self._is_tried = False
        self.state = State.WELL
        self.ping_at: float | None = None
        """When the next ping is due; None while none is wanted."""

    @property
    def is_out(self) -> bool:
        """Tell whether it is not to be asked because it does not answer."""
        return self.state is State.OUT

    @property
    def is_doubted(self) -> bool:
        """Tell whether others are to be asked first."""
        return self.state is State.DOUBTED

    @property
    def admits(self) -> bool:
        """Tell whether a request may be made now."""
        return self.state in (State.WELL, State.DOUBTED, State.SUSPECTED) or (
            self.state is State.ON_TRIAL and not self._is_tried
        )

    def begin(self) -> None:
        """A request is made that was admitted."""
        self._is_tried = self.state is State.ON_TRIAL

    def succeeded(self) -> None:
        """It has answered as a registry does, be it with a no."""
        self._failures = 0
        if self._stalled_bodies < THRESHOLD:
            self._pause = FIRST_PAUSE
        self._enter(State.WELL)

    def failed(self, now: float, *, in_time: bool = True) -> None:
        """A request had no answer, or none of a registry; not `in_time` if that took all the time it had."""
        if self.state is State.ON_TRIAL:
            self._go_out(now)
        elif self.state in (State.WELL, State.DOUBTED):
            self._failures += 1
            if self._failures >= THRESHOLD:
                self._suspect(now)
            elif not in_time and not self._needs_proof and self.state is State.WELL:
                self._enter(State.DOUBTED, ping_at=now)

    def stalled(self, now: float) -> None:
        """A body that had begun stalled: that others begin well takes nothing back of it."""
        self._stalled_bodies += 1
        if self.state is State.ON_TRIAL:
            self._go_out(now)
        elif self.state in (State.WELL, State.DOUBTED) and self._stalled_bodies >= THRESHOLD:
            self._suspect(now)

    def delivered(self) -> None:
        """A body came to its end."""
        self._stalled_bodies = 0

    def suspect(self, now: float) -> None:
        """A request has been waiting for long: where a ping has the last word, it may as well have the first."""
        if self._needs_proof and self.state is State.WELL:
            self._enter(State.SUSPECTED, ping_at=now)

    def undecided(self) -> None:
        """A request ended in a way that says nothing of the endpoint."""
        self._is_tried = False

    def pinged(self, now: float, *, is_alive: bool) -> None:
        """A ping was answered, or not."""
        if self.state not in (State.DOUBTED, State.SUSPECTED, State.OUT):
            return
        if not is_alive:
            self._go_out(now)
        elif self.state is State.DOUBTED:
            # What it failed at before still counts: it may answer nothing but pings.
            self._enter(State.WELL)
        elif self._needs_proof:
            self._stalled_bodies = 0
            self.succeeded()
        else:
            self._enter(State.ON_TRIAL)

    def _suspect(self, now: float) -> None:
        if self._needs_proof:
            self._enter(State.SUSPECTED, ping_at=now)
        else:
            self._go_out(now)

    def _go_out(self, now: float) -> None:
        pause, self._pause = self._pause, min(self._pause * 2, LONGEST_PAUSE)
        self._enter(State.OUT, ping_at=now + pause * (1 - JITTER * self._chance()))

    def _enter(self, state: State, ping_at: float | None = None) -> None:
        self.state = state
        self.ping_at = ping_at
        self._is_tried = False

"""The endpoints of one upstream, asked in order until one has an answer."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mirror.errors import LimitReached, Refused, UpstreamDown, UpstreamLoops, UpstreamUnavailable
from mirror.proxy import chain
from mirror.proxy.deadline import ANSWER_WITHIN
from mirror.upstream.endpoint import Endpoint
from mirror.upstream.health.pulse import Pulse
from mirror.upstream.health.retry_budget import RetryBudget
from mirror.upstream.verdict import Answer, most_telling

T = TypeVar("T")

FAILOVER_WITHIN = 2.0
"""Seconds an endpoint has to answer while there is another one to ask, unless it has a time-out of its own.

A tag that moved takes two questions.
"""


_NO_FAILURES = (Refused, LimitReached, UpstreamLoops)
# What is not there, what was not even asked, and a way that is wrong: going on after these is no retry.


@dataclass(frozen=True, slots=True)
class Candidate:
    """An endpoint as one client of it asks it; the pulse is shared by all who ask it."""

    endpoint: Endpoint
    pulse: Pulse

    def absence(self) -> Refused | UpstreamUnavailable | None:
        """Return why it is not to be asked now, marked as remembered; None if it may be."""
        error: Refused | UpstreamUnavailable | None = self.endpoint.refusal()
        if error is None and not self.pulse.admits():
            again = max(1, math.ceil(self.pulse.pause()))
            error = UpstreamDown(f"{self.pulse.cause}; upstream is not asked before it answers again", again)
        if error is not None:
            error.remembered = True
        return error

    async def asked(self, question: Question[T], seconds: float) -> T:
        """Return its answer; raises Refused or UpstreamUnavailable."""
        with self.pulse.felt():
            return await question(self, seconds)


Question = Callable[[Candidate, float], Awaitable[T]]
"""Asks an endpoint, which has so many seconds; raises Refused or UpstreamUnavailable."""


class Endpoints:
    """The endpoints of one upstream for one client of it: the last is the registry, those before are accelerators.

    What goes wrong with one is retried with the next as far as the upstream's `budget` goes.
    """

    def __init__(self, candidates: Sequence[Candidate], budget: RetryBudget) -> None:
        self._candidates = candidates
        self._budget = budget

    async def ask(self, question: Question[T], attempt: int = 0, *, is_retry: bool = False) -> T:
        """Return the first answer; a further `attempt` begins with the next endpoint, and may be a retry by itself.

        An accelerator's no is not final. Raises what tells most if nobody has an answer: at once, if nobody is to
        be asked now.
        """
        if not is_retry:
            self._budget.requested()
        elif not self._budget.spend(_now()):
            raise UpstreamUnavailable("too many requests to upstream fail for this one to be tried again now")
        answers: list[Answer] = []
        has_failed = False
        for candidate, others in self._in_turn(attempt):
            if candidate.pulse.is_doubted and any(answer.is_final for answer in answers):
                break
            error: Refused | UpstreamUnavailable | None = candidate.absence()
            if error is None:
                if has_failed and not self._budget.spend(_now()):
                    break
                try:
                    return await candidate.asked(question, _seconds(candidate, others))
                except (Refused, UpstreamUnavailable) as raised:
                    error = raised
                    if isinstance(raised, UpstreamLoops):
                        chain.found_circular()
                    has_failed = has_failed or not isinstance(raised, _NO_FAILURES)
            answers.append(Answer(error, is_registry=candidate is self._candidates[-1]))
        raise most_telling(answers)

    def _in_turn(self, attempt: int) -> Iterator[tuple[Candidate, Sequence[Candidate]]]:
        """All endpoints, each attempt beginning with the next one, and those that are left behind each.

        Those that kept others waiting a moment ago come last.
        """
        turn = attempt % len(self._candidates)
        order = [*self._candidates[turn:], *self._candidates[:turn]]
        order.sort(key=lambda candidate: candidate.pulse.is_doubted)
        for place, candidate in enumerate(order, start=1):
            yield candidate, order[place:]


def _seconds(candidate: Candidate, others: Sequence[Candidate]) -> float:
    """Return how long an endpoint has: less, where another could answer in its stead, or it may not be there at all."""
    is_alone = all(other.pulse.is_doubted or other.absence() is not None for other in others)
    if is_alone and not candidate.pulse.is_doubted:
        return ANSWER_WITHIN
    return FAILOVER_WITHIN if candidate.endpoint.timeout is None else candidate.endpoint.timeout


def _now() -> float:
    return asyncio.get_running_loop().time()

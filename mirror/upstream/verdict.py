"""What the answers of several endpoints amount to when none of them is a yes. Pure.

The last endpoint is the registry itself, those before it are accelerators: that one of these does not have something,
or refuses it, says nothing of the registry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mirror.errors import Refused, UpstreamDown, UpstreamThrottled, UpstreamUnavailable


@dataclass(frozen=True, slots=True)
class Answer:
    """Why an endpoint gave nothing; an UpstreamDown where it was not even asked."""

    error: Refused | UpstreamUnavailable
    is_registry: bool

    @property
    def is_final(self) -> bool:
        """Tell whether nobody else's answer would count."""
        return self.is_registry and isinstance(self.error, Refused)


def most_telling(answers: Sequence[Answer]) -> Refused | UpstreamUnavailable:
    """Return the one error that stands for all, which are in the order of asking.

    The registry's own no; else that all are throttled, until the first of them is not; else what went wrong last
    with one that was asked; else that all are down, until the first is looked at again.
    """
    for answer in answers:
        if answer.is_final:
            return answer.error
    failures = [answer.error for answer in answers if isinstance(answer.error, UpstreamUnavailable)]
    heard = [error for error in failures if not isinstance(error, UpstreamDown)]
    if all(isinstance(error, UpstreamThrottled) for error in heard):
        return min(heard or failures, key=_wait)
    return heard[-1]


def _wait(error: UpstreamUnavailable) -> float:
    return float("inf") if error.retry_after is None else error.retry_after

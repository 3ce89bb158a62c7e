"""How Docker Hub limits pulls: who asks has so many GETs of manifests in six hours; HEADs and blobs are free."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.fakes.answer import Answer, error
from tests.fakes.request import Request

ADDRESS = "198.51.100.7"
"""Whom it counts for that does not say who it is."""

_SORRY = "You have reached your pull rate limit. You may increase the limit by authenticating and upgrading."


@dataclass
class PullLimit:
    """Counts what is pulled, by account; a window begins with the first pull in it.

    `limits` are those of accounts that have another; None: no limit, and no word of it. With `retry_after` a 429 says
    so, with `is_silent` its headers say nothing of the limit, and `refuses_heads` refuses those as well when nothing is
    left. `spent` is of this window, `pulls` of all time: the pulls that were granted.
    """

    limit: int = 100
    window: int = 21600
    clock: Callable[[], float] = time.monotonic
    limits: dict[str, int | None] = field(default_factory=dict)
    retry_after: int | None = None
    is_silent: bool = False
    refuses_heads: bool = False
    spent: Counter[str] = field(default_factory=Counter)
    pulls: Counter[str] = field(default_factory=Counter)
    _began: dict[str, float] = field(default_factory=dict)

    def judge(self, request: Request, account: str, answer: Answer) -> Answer:
        """The answer to a request for a manifest that is there, or a 429; with what is left of the limit."""
        now, limit = self.clock(), self.limits.get(account, self.limit)
        if now - self._began.get(account, now) >= self.window:
            self.spent[account] = 0
            del self._began[account]
        is_pull = request.method == "GET"
        if (is_pull or self.refuses_heads) and limit is not None and self.spent[account] >= limit:
            return self._refusal() if self.is_silent else self._told(self._refusal(), account, limit)
        if is_pull:
            self._began.setdefault(account, now)
            self.spent[account] += 1
            self.pulls[account] += 1
        return self._told(answer, account, limit)

    def _refusal(self) -> Answer:
        headers = () if self.retry_after is None else (("Retry-After", str(self.retry_after)),)
        return error(429, "TOOMANYREQUESTS", _SORRY, *headers)

    def _told(self, answer: Answer, account: str, limit: int | None) -> Answer:
        if limit is None:
            return answer
        told = {
            "ratelimit-limit": f"{limit};w={self.window}",
            "ratelimit-remaining": f"{limit - self.spent[account]};w={self.window}",
            "docker-ratelimit-source": account,
        }
        for name, value in told.items():
            answer = answer.with_header(name, value)
        return answer

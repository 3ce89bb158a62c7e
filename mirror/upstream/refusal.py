"""The two kinds of 429: of a limit of pulls, which blobs have nothing to do with, and of any other."""

from __future__ import annotations

import aiohttp

from mirror.errors import UpstreamUnavailable
from mirror.proxy.deadline import answer_within
from mirror.proxy.limits.hold import Cost
from mirror.proxy.rate_limit import RateLimit
from mirror.upstream.answers import read_capped
from mirror.upstream.rate_limit import counted_for, rate_limit

_WORDS = b"pull rate limit"
# Docker Hub's, in each of its ways to put it; the limit on abuse has no such words.

_MAX_WORDS = 16 * 1024
_WORDS_WITHIN = 1.0


async def held_back(response: aiohttp.ClientResponse, cost: Cost) -> Cost:
    """Return what a 429 holds back, that and all that costs more; `cost` is what was refused. The body is used up.

    It is of the pull limit where a manifest was refused and, as the headers say or the words, nothing is left. Any
    other is taken to be about all requests.
    """
    if cost is Cost.NOTHING:
        return Cost.NOTHING
    rate = rate_limit(response.headers)
    is_of_pulls = await _speaks_of_pulls(response) if rate is None else _has_ended(rate, response)
    return cost if is_of_pulls else Cost.NOTHING


def _has_ended(rate: RateLimit, response: aiohttp.ClientResponse) -> bool:
    """Tell whether the headers are a pull limit's, and nothing is left; GitLab and others count requests in such."""
    is_of_pulls = rate.window is not None or counted_for(response.headers) is not None
    return is_of_pulls and rate.remaining == 0


async def _speaks_of_pulls(response: aiohttp.ClientResponse) -> bool:
    try:
        async with answer_within(_WORDS_WITHIN):
            return _WORDS in (await read_capped(response, _MAX_WORDS)).lower()
    except UpstreamUnavailable:
        return False

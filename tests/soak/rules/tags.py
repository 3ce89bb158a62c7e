"""Freshness: what a tag answers was upstream's within its TTL, or says that it is stale."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from mirror.proxy.rate_limit import STRETCH
from tests.soak.history import Chaos, History, Request, TagMoved, Terms, Transfer, Trouble
from tests.soak.rules.timeline import Timeline

_SLACK = 1.5
# Seconds between upstream's word on a tag and the request for its manifest, for example because the word came late.


def outdated_tags(history: History) -> Iterator[str]:
    """Yield the answers to tags that upstream had not given for too long, or not yet."""
    tags = _Tags(history)
    for request in history.requests:
        is_answer = request.is_tag and request.status == 200
        if is_answer and not tags.was_current(request):
            yield f"a tag answered what it was not: {request}"


class _Tags:
    """What tags were, and how old an answer may be."""

    def __init__(self, history: History) -> None:
        self._terms: Terms = history.terms
        self._moves: dict[tuple[str, str], list[TagMoved]] = defaultdict(list)
        for move in history.moves:
            self._moves[move.repository, move.tag].append(move)
        stops: dict[str, list[Chaos]] = defaultdict(list)
        for trouble in history.chaos:
            if trouble.what is Trouble.STOP and trouble.process is not None:
                stops[trouble.process].append(trouble)
        look_ups: dict[tuple[str, str], list[Transfer]] = defaultdict(list)
        for transfer in history.transfers:
            if transfer.kind == "manifests":
                look_ups[transfer.process, transfer.repository].append(transfer)
        self._stops = {process: Timeline(of_it) for process, of_it in stops.items()}
        self._look_ups = {key: Timeline(of_it) for key, of_it in look_ups.items()}

    def was_current(self, request: Request) -> bool:
        """Whether upstream gave this answer at a time that still counts."""
        earliest = request.t0 - self._allowed(request)
        return any(
            begin <= request.t1 and end >= earliest
            for begin, end, digest in self._values(request)
            if digest == request.digest
        )

    def _allowed(self, request: Request) -> float:
        """How many seconds old an answer may be: a mirror that stands still does not age what it has."""
        marks = {
            "detail=upstream-unavailable": self._terms.stale_if_error,
            "detail=limit-reached": self._terms.stale_if_error,
            "fwd=stale; detail=saving-pulls": self._terms.stale_if_error,
            "hit; detail=saving-pulls": self._terms.tag_ttl * (STRETCH - 1),
            "detail=revalidating": self._terms.stale_while_revalidate,
        }
        stale = sum(seconds for mark, seconds in marks.items() if mark in request.cache_status)
        age = self._terms.tag_ttl + stale + _SLACK + self._joined(request)
        stops = self._stops.get(request.process)
        return age + (stops.seconds(request.t0 - age, request.t1) if stops else 0)

    def _joined(self, request: Request) -> float:
        """How long a look-up may have been under way that this request joined."""
        look_ups = self._look_ups.get((request.process, request.repository), Timeline[Transfer](()))
        begun = (one.t0 for one in look_ups.during(request.t0, request.t0))
        return request.t0 - min(begun, default=request.t0)

    def _values(self, request: Request) -> Iterator[tuple[float, float, str]]:
        moves = self._moves[request.repository, request.reference]
        for move, following in pairwise([*moves, None]):
            if move is not None:
                yield move.t, math.inf if following is None else following.t, move.digest

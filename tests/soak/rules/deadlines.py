"""Bounds: an answer or an error within 25 seconds, and an end to everything."""

from __future__ import annotations

from collections.abc import Iterator

from tests.soak.history import Ending, History, Trouble
from tests.soak.rules.timeline import Timeline

ANSWER_WITHIN = 25.0

_SLACK = 5.0
# Seconds that a busy machine may take on top.


def late_answers(history: History) -> Iterator[str]:
    """Yield what took longer than promised; a mirror that was stopped is not to blame for that time."""
    stops = Timeline(one for one in history.chaos if one.what is Trouble.STOP)
    for request in history.requests:
        head_at = request.t1 if request.answered is None else request.answered
        waited = head_at - request.t0
        if request.ending is Ending.HUNG:
            yield f"no end within {request.patience:.0f} s: {request}"
        elif waited > ANSWER_WITHIN + _SLACK + stops.seconds(request.t0, head_at):
            yield f"no answer for {waited:.0f} s: {request}"

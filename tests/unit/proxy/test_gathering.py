"""Answers that were given again are told of together, and still in the order in which everything happened."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mirror.proxy.events.gathering import Gathering
from mirror.proxy.events.observer import Event
from mirror.proxy.events.requests import RequestFinished, RequestsRepeated
from tests.unit.recorder import Recorder

NOTES = [RequestFinished("GET", f"/{number}", "first") for number in range(3)]


@given(st.lists(st.sampled_from(["given", "given", "tell", "other"]), max_size=40))
def test_everything_is_told_once_and_in_order(happened: list[str]) -> None:
    told, expected = Recorder(), list[str]()
    gathering = Gathering(told)
    for number, what in enumerate(happened):
        match what:
            case "given":
                gathering.add(NOTES[number % 3], str(number), number)
                expected.append(f"/{number % 3} {number} {number / 1_000_000}")
            case "other":
                gathering.notify(RequestFinished("GET", "/other", str(number)))
                expected.append(f"/other {number} 0.0")
                assert _names(told.events) == expected, "nothing is held back behind what is told"
            case _:
                gathering.tell()
                assert _names(told.events) == expected
    gathering.tell()
    assert _names(told.events) == expected


def _names(events: list[Event]) -> list[str]:
    names = []
    for event in events:
        requests = event.each() if isinstance(event, RequestsRepeated) else [event]
        names += [f"{one.path} {one.client} {one.seconds}" for one in requests if isinstance(one, RequestFinished)]
    return names


def test_where_there_is_nothing_to_tell_nothing_is_told() -> None:
    told = Recorder()
    Gathering(told).tell()
    assert told.events == []

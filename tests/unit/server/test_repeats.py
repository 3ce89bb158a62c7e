"""What is remembered of answers: their bytes, right to the second, within a bound, while they hold."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from mirror.proxy.cache_status import Kind, Outcome
from mirror.proxy.events.requests import RequestFinished
from mirror.server.repeats import heads
from mirror.server.repeats.again import Again, mark
from mirror.server.repeats.repeats import LARGEST, Repeats
from mirror.server.requests import Requests
from tests.unit.recorder import Recorder

HEAD = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"
NOTE = RequestFinished("GET", "/v2/", "10.0.0.1", Kind.MANIFEST, "docker.io", Outcome.HIT, 200, sent=4, user_agent="me")


class Stand:
    """What an answer stands on, as a test has it."""

    def __init__(self, age: int | None = None) -> None:
        self.is_so = True
        self.years = age
        self.times = 0

    def again(self) -> Again:
        return Again(NOTE, lambda: self.is_so, lambda: self.years, self.note)

    def note(self) -> None:
        self.times += 1


def remembered(repeats: Repeats, head: bytes, stand: Stand, body: bytes = b"body", method: str = "GET") -> None:
    response = web.Response(body=body, headers={"X-Kept": "yes", "Age": "3", "Date": "then"})
    repeats.remember(head, make_mocked_request(method, "/v2/"), mark(response, stand.again()))


def test_the_answer_is_given_again_with_the_age_and_the_date_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    repeats, stand = Repeats(Gathering(Recorder()), Requests()), Stand(age=5)
    remembered(repeats, HEAD, stand)
    for moment in (1_800_000_000.2, 1_800_000_000.9, 1_800_000_001.1):
        monkeypatch.setattr(time, "time", lambda moment=moment: moment)
        repeat = repeats.find(HEAD)
        assert repeat is not None
        lines = repeat.bytes_now().split(b"\r\n")
        assert lines[0] == b"HTTP/1.1 200 OK"
        assert lines[-2:] == [b"", b"body"]
        assert b"X-Kept: yes" in lines
        assert [line for line in lines if line.startswith(b"Age")] == [b"Age: %d" % (stand.years or 0)]
        date = formatdate(int(moment), usegmt=True).encode()
        assert [line for line in lines if line.startswith(b"Date")] == [b"Date: " + date]
        stand.years = 6


def test_a_head_has_no_body_and_the_length_of_one() -> None:
    repeats = Repeats(Gathering(Recorder()), Requests())
    remembered(repeats, HEAD, Stand(), method="HEAD")
    repeat = repeats.find(HEAD)
    assert repeat is not None
    assert repeat.bytes_now().endswith(b"\r\n\r\n")


def test_what_does_not_hold_any_more_is_forgotten() -> None:
    repeats, stand = Repeats(Gathering(Recorder()), Requests()), Stand()
    remembered(repeats, HEAD, stand)
    stand.is_so = False
    assert repeats.find(HEAD) is None
    assert repeats.size == 0
    stand.is_so = True
    assert repeats.find(HEAD) is None


def test_what_is_given_again_is_told_like_everything_else() -> None:
    told = Recorder()
    repeats, stand = Repeats(Gathering(told), Requests()), Stand()
    remembered(repeats, HEAD, stand)
    repeat = repeats.find(HEAD)
    assert repeat is not None
    repeats.given(repeat, "10.0.0.2", 0.25)
    [event] = told.events
    assert isinstance(event, RequestFinished)
    assert (event.client, event.seconds, event.sent, event.user_agent) == ("10.0.0.2", 0.25, 4, "me")
    assert (event.kind, event.upstream, event.outcome) == (Kind.MANIFEST, "docker.io", Outcome.HIT)
    assert stand.times == 1


def test_the_bound_holds_and_what_was_used_last_stays() -> None:
    repeats = Repeats(Gathering(Recorder()), Requests(), most_bytes=10_000)
    names = [b"GET /%d HTTP/1.1\r\n\r\n" % number for number in range(20)]
    for name in names:
        remembered(repeats, name, Stand())
        repeats.find(names[0])
        assert repeats.size <= 10_000
    known = [name for name in names if repeats.find(name)]
    assert known[0] == names[0]
    assert known[1:] == names[-len(known) + 1 :]
    assert 2 <= len(known) < 20


def test_what_is_large_is_not_remembered() -> None:
    repeats = Repeats(Gathering(Recorder()), Requests())
    remembered(repeats, HEAD, Stand(), body=b"x" * LARGEST)
    assert repeats.find(HEAD) is None


def test_an_answer_that_is_not_marked_is_not_remembered() -> None:
    repeats = Repeats(Gathering(Recorder()), Requests())
    repeats.remember(HEAD, make_mocked_request("GET", "/v2/"), web.Response(body=b"once"))
    assert repeats.find(HEAD) is None


@given(before=st.binary(max_size=4), behind=st.binary(max_size=4))
def test_only_a_whole_head_is_one(before: bytes, behind: bytes) -> None:
    assert heads.is_whole(before + HEAD + behind) == (not before and not behind)


@pytest.mark.parametrize("chunk", [b"", b"GET /", b"POST / HTTP/1.1\r\n\r\n", HEAD * 2, HEAD[:-1], HEAD.strip()])
def test_what_is_no_whole_head(chunk: bytes) -> None:
    assert not heads.is_whole(chunk)


def test_a_head_of_more_than_some_kilobytes_is_not_kept() -> None:
    long = b"GET /%s HTTP/1.1\r\n\r\n" % (b"x" * heads.MOST_BYTES)
    assert not heads.is_whole(long)

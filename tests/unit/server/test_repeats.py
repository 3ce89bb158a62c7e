"""What is remembered of answers: their bytes, right to the second, within a bound, while they hold."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from mirror.proxy.cache_status import Kind, Outcome
from mirror.proxy.events.gathering import Gathering
from mirror.proxy.events.requests import RequestFinished, RequestsRepeated
from mirror.server.repeats import heads
from mirror.server.repeats.again import Again, mark
from mirror.server.repeats.repeats import LARGEST, MOST_TOGETHER, Repeats
from mirror.server.requests import Requests
from tests.unit.recorder import Recorder

HEAD = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"
NOTE = RequestFinished("GET", "/v2/", "10.0.0.1", Kind.MANIFEST, "docker.io", Outcome.HIT, 200, sent=4, user_agent="me")


class Stand:
    """What an answer stands on, as a test has it."""

    def __init__(self, age: int | None = None) -> None:
        self.is_so = True
        self.years = age
        self.asked = 0
        self.times: list[int] = []

    def again(self) -> Again:
        return Again(NOTE, self.holds, lambda: self.years, self.note)

    def holds(self) -> bool:
        self.asked += 1
        return self.is_so

    def note(self, times: int) -> None:
        self.times.append(times)


def remembered(repeats: Repeats, head: bytes, stand: Stand, body: bytes = b"body", method: str = "GET") -> None:
    response = web.Response(body=body, headers={"X-Kept": "yes", "Age": "3", "Date": "then"})
    repeats.remember(head, make_mocked_request(method, "/v2/"), mark(response, stand.again()))


async def turned() -> None:
    """Let the loop look what has come."""
    await asyncio.sleep(0)


async def test_the_answer_is_given_again_with_the_age_and_the_date_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    repeats, stand = Repeats(Gathering(Recorder()), Requests()), Stand(age=5)
    remembered(repeats, HEAD, stand)
    for moment in (1_800_000_000.2, 1_800_000_000.9, 1_800_000_001.1):
        monkeypatch.setattr(time, "time", lambda moment=moment: moment)
        repeat = repeats.find(HEAD)
        assert repeat is not None
        lines = repeat.bytes.split(b"\r\n")
        assert lines[0] == b"HTTP/1.1 200 OK"
        assert lines[-2:] == [b"", b"body"]
        assert b"X-Kept: yes" in lines
        assert [line for line in lines if line.startswith(b"Age")] == [b"Age: %d" % (stand.years or 0)]
        date = formatdate(int(moment), usegmt=True).encode()
        assert [line for line in lines if line.startswith(b"Date")] == [b"Date: " + date]
        stand.years = 6
        await turned()


async def test_what_was_read_before_this_turn_says_nothing_about_what_is_read_in_it() -> None:
    repeats, stand = Repeats(Gathering(Recorder()), Requests()), Stand()
    remembered(repeats, HEAD, stand)
    assert repeats.look_up(HEAD) is not None
    stand.is_so = False
    assert repeats.find(HEAD) is None


async def test_a_head_has_no_body_and_the_length_of_one() -> None:
    repeats = Repeats(Gathering(Recorder()), Requests())
    remembered(repeats, HEAD, Stand(), method="HEAD")
    repeat = repeats.find(HEAD)
    assert repeat is not None
    assert repeat.bytes.endswith(b"\r\n\r\n")


async def test_what_does_not_hold_any_more_is_forgotten() -> None:
    repeats, stand = Repeats(Gathering(Recorder()), Requests()), Stand()
    remembered(repeats, HEAD, stand)
    stand.is_so = False
    assert repeats.find(HEAD) is None
    assert repeats.size == 0
    stand.is_so = True
    assert repeats.find(HEAD) is None


async def test_whether_it_holds_is_asked_once_in_a_turn_and_in_each() -> None:
    repeats, stand = Repeats(Gathering(Recorder()), Requests()), Stand()
    remembered(repeats, HEAD, stand)
    for turn in range(1, 4):
        assert all(repeats.find(HEAD) for _ in range(5))
        assert stand.asked == turn
        await turned()
    assert repeats.find(HEAD)
    stand.is_so = False
    assert repeats.find(HEAD), "who came in this turn came before it changed"
    await turned()
    assert repeats.find(HEAD) is None


async def test_what_is_given_again_is_told_like_everything_else() -> None:
    told = Recorder()
    repeats, stand = Repeats(Gathering(told), Requests()), Stand()
    remembered(repeats, HEAD, stand)
    repeat = repeats.find(HEAD)
    assert repeat is not None
    for number in range(3):
        repeats.given(repeat, f"10.0.0.{number}", 250_000)
    assert (told.events, stand.times) == ([], [])
    await turned()
    [together] = told.of(RequestsRepeated)
    events = list(together.each())
    assert [event.client for event in events] == ["10.0.0.0", "10.0.0.1", "10.0.0.2"]
    for event in events:
        assert (event.seconds, event.sent, event.user_agent) == (0.25, 4, "me")
        assert (event.kind, event.upstream, event.outcome) == (Kind.MANIFEST, "docker.io", Outcome.HIT)
    assert stand.times == [3]
    await turned()
    assert (len(told.events), stand.times) == (1, [3])


async def test_many_in_a_turn_are_asked_and_told_of_before_it_is_over() -> None:
    told = Recorder()
    repeats, stand = Repeats(Gathering(told), Requests()), Stand()
    remembered(repeats, HEAD, stand)
    for number in range(2 * MOST_TOGETHER + 1):
        repeat = repeats.find(HEAD)
        assert repeat is not None
        repeats.given(repeat, "10.0.0.1", 1)
        assert len(told.events) == (number + 1) // MOST_TOGETHER
    assert (stand.asked, stand.times) == (3, [MOST_TOGETHER, MOST_TOGETHER])
    await turned()
    assert [len(event.given) for event in told.of(RequestsRepeated)] == [MOST_TOGETHER, MOST_TOGETHER, 1]
    assert stand.times == [MOST_TOGETHER, MOST_TOGETHER, 1]


async def test_many_in_a_turn_are_asked_anew_whatever_else_is_told_meanwhile() -> None:
    gathering, stand = Gathering(Recorder()), Stand()
    repeats = Repeats(gathering, Requests())
    remembered(repeats, HEAD, stand)
    for number in range(2 * MOST_TOGETHER):
        repeat = repeats.find(HEAD)
        assert repeat is not None
        assert stand.asked == 1 + number // MOST_TOGETHER
        repeats.given(repeat, "10.0.0.1", 1)
        gathering.notify(NOTE)


async def test_whatever_else_is_told_is_told_behind_what_was_given_before() -> None:
    told = Recorder()
    gathering = Gathering(told)
    repeats = Repeats(gathering, Requests())
    remembered(repeats, HEAD, Stand())
    repeat = repeats.find(HEAD)
    assert repeat is not None
    repeats.given(repeat, "10.0.0.1", 1)
    gathering.notify(NOTE)
    repeats.given(repeat, "10.0.0.1", 1)
    await turned()
    assert [type(event) for event in told.events] == [RequestsRepeated, RequestFinished, RequestsRepeated]


async def test_the_bound_holds_and_what_was_used_last_stays() -> None:
    repeats = Repeats(Gathering(Recorder()), Requests(), most_bytes=10_000)
    names = [b"GET /%d HTTP/1.1\r\n\r\n" % number for number in range(20)]
    for name in names:
        remembered(repeats, name, Stand())
        repeats.find(names[0])
        assert repeats.size <= 10_000
        await turned()
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

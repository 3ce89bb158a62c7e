"""The lines of requests, written quickly: they are what structlog writes, in order, whole and in time."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from mirror.proxy.cache_status import Kind, Outcome
from mirror.proxy.events.fills import DigestMismatched
from mirror.proxy.events.requests import Given, RequestFinished, RequestsRepeated
from mirror.telemetry import outlet as outlets
from mirror.telemetry import request_lines
from mirror.telemetry.logs import Logs, set_up
from mirror.telemetry.outlet import FLUSH_SECONDS, Outlet
from mirror.telemetry.request_lines import RequestLines, _timestamp
from tests.unit.telemetry.happenings import DIGEST

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?Z")

requests = st.builds(
    RequestFinished,
    method=st.sampled_from(["GET", "HEAD"]) | st.text(max_size=8),
    path=st.text(max_size=40),
    client=st.sampled_from(["10.0.0.1", "::1", ""]),
    kind=st.sampled_from(Kind),
    upstream=st.sampled_from(["docker.io", "none"]),
    outcome=st.sampled_from(Outcome),
    status=st.integers(100, 599),
    sent=st.integers(0, 2**40),
    seconds=st.floats(0, 1e6),
    detail=st.none() | st.sampled_from(["", "saving-pulls"]),
    user_agent=st.text(max_size=40),
)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def written(event: RequestFinished, form: str, worker: int | None, *, quickly: bool) -> str:
    stream = io.StringIO()
    lines = set_up("info", form, stream, worker)
    Logs(lines if quickly else None).notify(event)
    return _TIME.sub("NOW", stream.getvalue())


@pytest.mark.parametrize("form", ["text", "json"])
@given(event=requests, worker=st.none() | st.integers(0, 64))
def test_a_line_is_what_it_would_be_by_way_of_structlog(form: str, event: RequestFinished, worker: int | None) -> None:
    line = written(event, form, worker, quickly=True)
    assert line == written(event, form, worker, quickly=False)
    assert "NOW" in line
    assert line.count("\n") == 1


MOMENTS = st.integers(0, 4_000_000_000_000_000)


@pytest.mark.parametrize("form", ["text", "json"])
@given(data=st.data(), notes=st.lists(requests, min_size=1, max_size=3), worker=st.none() | st.integers(0, 64))
def test_lines_of_many_are_those_of_each_by_itself(
    form: str, data: st.DataObject, notes: list[RequestFinished], worker: int | None
) -> None:
    clients = st.sampled_from(["10.0.0.1", "::1", "", 'a "client"'])
    one = st.tuples(st.sampled_from(notes), clients, MOMENTS, st.integers(0, 10**10))
    given: list[Given] = data.draw(st.lists(one, max_size=20))
    stream = io.StringIO()
    Logs(set_up("info", form, stream, worker)).notify(RequestsRepeated(given))
    told = stream.getvalue()
    alone = [written(event, form, worker, quickly=False) for event in RequestsRepeated(given).each()]
    assert _TIME.sub("NOW", told) == "".join(alone)
    assert re.findall(rf"(?:^timestamp=|, \"timestamp\": \")({_TIME.pattern})", told, re.MULTILINE) == [
        _timestamp(at) for _, _, at, _ in given
    ]


@given(microseconds=MOMENTS)
def test_a_time_is_written_as_structlog_writes_it(microseconds: int) -> None:
    moment = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds)
    assert _timestamp(microseconds) == moment.isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_clients_make_long_is_written_and_not_remembered(form: str) -> None:
    caches = [getattr(request_lines, f"_{name}_{form}") for name in ("in", "asked_in")]
    stream = io.StringIO()
    lines = RequestLines(form, Outlet(stream, lambda _: None))
    lines.write(some_request())
    remembered = [cache.cache_info().currsize for cache in caches]
    for number in range(3):
        long = f"{number}{'x' * 1000}"
        lines.write(RequestFinished("GET", f"/v2/{long}", "10.0.0.1", user_agent=long))
        assert stream.getvalue().count(long) == 2
    assert [cache.cache_info().currsize for cache in caches] == remembered


def test_a_level_above_info_leaves_requests_out() -> None:
    assert set_up("warning", "text", io.StringIO()) is None


class Pipe:
    """A pipe whose reader takes only what it is told to."""

    def __init__(self) -> None:
        self._reader, writer = os.pipe()
        self.writer: TextIO = os.fdopen(writer, "w")

    def read(self) -> str:
        return os.read(self._reader, 4 * 1024 * 1024).decode()

    def read_all(self, outlet: Outlet, end: str) -> str:
        """Read until `end` has come, flushing in between."""
        text = ""
        while not text.endswith(end):
            outlet.flush()
            text += self.read()
        return text

    def leave(self) -> None:
        os.close(self._reader)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.writer.close()


def some_request(path: str = "/v2/") -> RequestFinished:
    return RequestFinished("GET", path, "10.0.0.1", outcome=Outcome.HIT, status=200)


async def test_lines_are_gathered_and_go_out_after_a_moment(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as stream:
        logs = Logs(set_up("info", "json", stream))
        logs.notify(some_request("/1"))
        logs.notify(some_request("/2"))
        assert log.read_text() == ""
        while not log.read_text():  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(FLUSH_SECONDS)
        assert [json.loads(line)["path"] for line in log.read_text().splitlines()] == ["/1", "/2"]


async def test_any_other_line_goes_out_at_once_and_behind_what_came_before(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as stream:
        logs = Logs(set_up("info", "json", stream))
        logs.notify(some_request())
        logs.notify(DigestMismatched("docker.io", DIGEST))
        events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert events == ["request", "digest mismatch"]


async def test_so_much_goes_out_at_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as stream:
        logs = Logs(set_up("info", "text", stream))
        for _ in range(300):
            logs.notify(some_request())
        assert log.read_text().count("\n") >= 150


@pytest.mark.parametrize("together", [1, 100, 20_000])
async def test_a_pipe_that_nobody_empties_keeps_nobody_waiting(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    monkeypatch.setattr(outlets, "MOST_WAITING", 100 * 1024)
    lost: list[int] = []
    outlet = Outlet(pipe.writer, lost.append)
    numbers = range(20_000)
    for first in numbers[::together]:
        outlet.gather("".join(f"line {number}\n" for number in numbers[first : first + together]))
        if first % 100 == 0:
            outlet.flush()
    kept = pipe.read_all(outlet, "\n")
    while (more := len(outlet._lines)) or not lost:
        outlet.flush()
        if more:
            kept += pipe.read()
    found = [int(line.removeprefix("line ")) for line in kept.splitlines()]
    assert found == list(range(len(found))), "what is there is there from the beginning, whole and in order"
    assert lost == [len(numbers) - len(found)]


async def test_a_reader_that_has_gone_is_no_trouble(pipe: Pipe) -> None:
    outlet = Outlet(pipe.writer, lambda _: None)
    pipe.leave()
    outlet.write("nobody reads this\n")
    outlet.flush()
    outlet.write("nor this\n")
    outlet.flush()


async def test_pieces_end_with_a_line_since_several_processes_may_write_into_one_pipe(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    outlet = Outlet(pipe.writer, lambda _: None)
    pieces: list[bytes] = []
    monkeypatch.setattr(outlet, "_put", pieces.append)
    for _ in range(200):
        outlet.write("x" * 99 + "\n")
    outlet.flush()
    assert len(pieces) > 1
    assert all(len(piece) <= 4096 and piece.endswith(b"\n") for piece in pieces)


async def test_a_file_takes_all_lines_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "log").open("w") as stream:
        outlet = Outlet(stream, lambda _: None)
        pieces: list[bytes] = []
        monkeypatch.setattr(outlet, "_put", pieces.append)
        for _ in range(200):
            outlet.write("x" * 99 + "\n")
        outlet.flush()
    assert [len(piece) for piece in pieces] == [200 * 100]

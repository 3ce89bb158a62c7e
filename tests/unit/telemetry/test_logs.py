from __future__ import annotations

import errno
import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from mirror.errors import StoreFailed, UpstreamFailed, UpstreamTimeout
from mirror.proxy.cache_status import Kind, Outcome
from mirror.proxy.events.access import CredentialsWithheld, TokenRequested
from mirror.proxy.events.connections import AcceptFailed, ConnectionRefused, ConnectionsCounted
from mirror.proxy.events.fills import DigestMismatched, FillFinished, FillStarted, InParts
from mirror.proxy.events.limits import LimitTold, PullSpent, SpendingChanged
from mirror.proxy.events.observer import Event
from mirror.proxy.events.requests import RequestFinished
from mirror.proxy.events.scrubbing import FileScrubbed, ScrubFinished
from mirror.proxy.events.store import CacheResized
from mirror.proxy.events.troubles import ReadinessTold, StoreTroubled, TaskCrashed
from mirror.proxy.events.upstreams import RevalidationFailed, UpstreamAnswered, UpstreamReceived
from mirror.proxy.events.warming import HotTagRefreshed
from mirror.proxy.events.workers import ReloadPartly, ReloadRefused, WorkerHangs, WorkerLost, WorkerReplaced
from mirror.proxy.rate_limit import RateLimit, Spending
from mirror.telemetry.logs import Logs, set_up
from mirror.telemetry.observers import Observers
from mirror.telemetry.seldom import AGAIN_SECONDS, MOST_A_MINUTE, Few
from tests.unit.recorder import Recorder
from tests.unit.telemetry.happenings import DIGEST, one_of_each

NASTY = 'a "quoted" word, an = sign,\na second line\r\nforged=1 \\ \t \x1b[31mred \u2028 \x85 end'
SIGNED = "https://cdn.example/blob?X-Amz-Signature=hunter2"
Lines = Callable[[], list[str]]


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Give logging back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    """What has been written since the last look, line by line."""

    def lines() -> list[str]:
        written = capsys.readouterr()
        assert written.err == ""
        assert written.out == "" or written.out.endswith("\n")
        return written.out.split("\n")[:-1]

    return lines


def request(**fields: Any) -> RequestFinished:
    given = {"method": "GET", "path": "/v2/", "client": "10.0.0.1", **fields}
    return RequestFinished(**given)


SILENT = (
    ConnectionsCounted,
    UpstreamAnswered,
    UpstreamReceived,
    PullSpent,
    LimitTold,
    FillStarted,
    InParts,
    CacheResized,
    ReadinessTold,
    ScrubFinished,
    HotTagRefreshed,
)


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("event", one_of_each(), ids=lambda event: type(event).__name__)
def test_one_line_an_event(lines: Lines, form: str, event: Event) -> None:
    set_up("debug", form)
    Logs().notify(event)
    assert len(lines()) == (0 if isinstance(event, SILENT) else 1)


def test_a_good_file_is_not_worth_a_line(lines: Lines) -> None:
    set_up("debug", "text")
    Logs().notify(FileScrubbed(DIGEST, 5, None, None))
    assert lines() == []


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "event",
    [
        request(path=NASTY, user_agent=NASTY, cause=NASTY, client=NASTY, method=NASTY),
        CredentialsWithheld("docker.io", NASTY),
        StoreTroubled(NASTY, StoreFailed(NASTY)),
        FillFinished("docker.io", DIGEST, 5, False, UpstreamFailed(NASTY)),
        TaskCrashed(NASTY, ZeroDivisionError(NASTY)),
    ],
    ids=lambda event: type(event).__name__,
)
def test_no_value_breaks_out_of_its_line(lines: Lines, form: str, event: Event) -> None:
    set_up("debug", form)
    Logs().notify(event)
    [line] = lines()
    assert not re.search(r"[\x00-\x08\x0a-\x1f]", line), "a control character"
    assert not re.search(r"(?:^| )forged=1", line.replace('"', " ")) or form == "json" or _quoted(line, "forged=1")


def _quoted(line: str, text: str) -> bool:
    """Tell whether `text` stands within quotes wherever it stands."""
    outside = re.sub(r'"(?:[^"\\]|\\.)*"', "", line)
    return text not in outside


def test_json_lines_are_json(lines: Lines) -> None:
    set_up("info", "json")
    Logs().notify(request(path='/v2/"x"\n', status=404, outcome=Outcome.NEGATIVE, kind=Kind.MANIFEST, cause="no\nno"))
    [line] = lines()
    content = json.loads(line)
    assert content["event"] == "request"
    assert content["level"] == "warning"
    assert (content["path"], content["status"], content["outcome"]) == ('/v2/"x"\n', 404, "negative")
    assert (content["kind"], content["cause"]) == ("manifest", "no\nno")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", content["timestamp"])


def test_a_request_that_went_well_has_a_word_on_why_it_is_stale(lines: Lines) -> None:
    set_up("info", "text")
    Logs().notify(request(status=200, outcome=Outcome.STALE, detail="deleted-upstream"))
    Logs().notify(request(status=200, outcome=Outcome.HIT))
    stale, hit = lines()
    assert " level=info " in stale
    assert " outcome=stale " in stale
    assert stale.endswith(" detail=deleted-upstream")
    assert "detail" not in hit


def test_text_lines_are_logfmt(lines: Lines) -> None:
    set_up("info", "text")
    Logs().notify(request(path="/v2/a b", status=200, sent=5, seconds=0.1234567891, user_agent='x "y"'))
    [line] = lines()
    assert re.match(r"timestamp=\S+Z level=info event=request ", line)
    for part in ('path="/v2/a b"', "status=200", "bytes=5", "seconds=0.123457", r'user_agent="x \"y\""'):
        assert part in line


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_request_line_has_no_traceback(lines: Lines, form: str) -> None:
    set_up("debug", form)
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        Logs().notify(request(cause="bug: ZeroDivisionError"))
    [line] = lines()
    assert "Traceback" not in line
    assert "exception" not in line


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_bug_is_logged_with_its_traceback_in_one_line(lines: Lines, form: str) -> None:
    set_up("info", form)
    try:
        raise ZeroDivisionError
    except ZeroDivisionError as error:
        Logs().notify(TaskCrashed("fill x", error))
    [line] = lines()
    assert "Traceback" in line
    assert "level=error" in line or '"level": "error"' in line


@pytest.mark.parametrize(("level", "expected"), [("debug", 3), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_decides(lines: Lines, level: str, expected: int) -> None:
    set_up(level, "text")
    logs = Logs()
    logs.notify(request())
    logs.notify(TokenRequested("docker.io", "failed"))
    logs.notify(DigestMismatched("docker.io", DIGEST))
    assert len(lines()) == expected


@pytest.mark.parametrize("form", ["text", "json"])
def test_bytes_of_a_header_that_are_no_text_do_not_lose_the_line(lines: Lines, form: str) -> None:
    # aiohttp gives what is not UTF-8 in a request as lone surrogates.
    set_up("info", form)
    Logs().notify(request(user_agent="curl \udcff", path="/v2/\udce9"))
    [line] = lines()
    assert "curl" in line


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_a_library_logs_is_one_line_as_well(lines: Lines, form: str) -> None:
    set_up("info", form)
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        logging.getLogger("some.library").exception("two\nlines %s", "and a value")
    [line] = lines()
    assert "and a value" in line


def test_lines_about_the_mirror_itself(lines: Lines) -> None:
    set_up("info", "json")
    Logs().lifecycle("listening", public="0.0.0.0:5000")
    [line] = lines()
    assert json.loads(line)["public"] == "0.0.0.0:5000"


@pytest.mark.parametrize(
    ("inner", "cause"),
    [
        (None, "it went wrong"),
        (OSError(28, SIGNED), "it went wrong (OSError, errno 28)"),
        (ConnectionResetError(SIGNED), "it went wrong (ConnectionResetError)"),
        (ValueError(SIGNED), "it went wrong (ValueError)"),
        (KeyError(SIGNED), "it went wrong (KeyError)"),
    ],
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_of_what_is_behind_an_error_the_operator_is_told_the_kind_and_no_word(
    lines: Lines, form: str, inner: Exception | None, cause: str
) -> None:
    set_up("info", form)
    error = UpstreamFailed("it went wrong")
    error.__cause__ = inner
    Logs().notify(StoreTroubled("commit of a blob", error))
    Logs().notify(FillFinished("docker.io", DIGEST, 5, False, error))
    for line in lines():
        assert (json.loads(line)["cause"] == cause) if form == "json" else (f'cause="{cause}"' in line)
        assert "hunter2" not in line


def test_a_flood_of_refusals_is_a_line_now_and_then(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    set_up("info", "json")
    logs = Logs()
    for second in range(25):
        now = float(second)
        for number in range(100):
            logs.notify(ConnectionRefused("full", f"10.0.0.{number}"))
    logs.notify(ConnectionRefused("malformed", "10.0.1.1"))
    told = [json.loads(line) for line in lines()]
    assert [(line["reason"], line["times"]) for line in told] == [
        ("full", 1),
        ("full", 1000),
        ("full", 1000),
        ("malformed", 1),
    ]
    assert told[0]["client"] == "10.0.0.0"


def test_an_outage_with_thousands_of_tags_is_some_lines_and_none_of_them_twice(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    set_up("info", "text")
    logs = Logs()
    images = [f"docker.io/library/app-{number}:latest" for number in range(3000)]
    for _ in range(3):
        for image in images:
            logs.notify(RevalidationFailed("docker.io", image, UpstreamFailed("upstream answered 503")))
        now += 20
    first = lines()
    assert len(first) == MOST_A_MINUTE
    assert first[0].endswith(f'event="not revalidated" what={images[0]} cause="upstream answered 503"')
    logs.notify(RevalidationFailed("docker.io", images[0], UpstreamFailed("upstream answered 503")))
    assert lines() == []
    logs.notify(RevalidationFailed("docker.io", images[0], UpstreamTimeout("upstream did not answer in time")))
    [line] = lines()
    assert line.endswith(
        f'what={images[0]} cause="upstream did not answer in time" others={3 * (3000 - MOST_A_MINUTE)}'
    )
    now += AGAIN_SECONDS
    logs.notify(RevalidationFailed("docker.io", images[0], UpstreamFailed("upstream answered 503")))
    assert len(lines()) == 1


def test_what_was_told_is_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    few = Few()
    for number in range(2000):
        now += 4
        assert few.others(str(number)) == 0
    assert len(few._told) == AGAIN_SECONDS / 4


def test_a_client_that_tries_tls_first_is_no_warning(lines: Lines) -> None:
    set_up("info", "json")
    logs = Logs()
    for reason in ("tls", "tls", "malformed"):
        logs.notify(ConnectionRefused(reason, "10.0.0.1"))
    tls, malformed = map(json.loads, lines())
    assert (tls["level"], tls["cause"]) == ("info", "a TLS client on a plain http port")
    assert (malformed["level"], malformed["reason"]) == ("warning", "malformed")


def test_what_was_not_kept_is_told_with_its_reason(lines: Lines) -> None:
    set_up("info", "json")
    logs = Logs()
    logs.notify(FillFinished("docker.io", DIGEST, 5, False, unkept="too_large"))
    logs.notify(FillFinished("docker.io", DIGEST, 5, True))
    assert [(line["kept"], line.get("reason")) for line in map(json.loads, lines())] == [
        (False, "too_large"),
        (True, None),
    ]


def test_want_of_file_handles_is_a_line_in_plain_words(lines: Lines) -> None:
    set_up("info", "json")
    logs = Logs()
    for _ in range(128):
        logs.notify(AcceptFailed(OSError(errno.EMFILE, SIGNED)))
    [line] = lines()
    assert json.loads(line)["cause"] == "too many open files"


def test_a_granted_token_is_no_news(lines: Lines) -> None:
    set_up("debug", "text")
    Logs().notify(TokenRequested("docker.io", "granted"))
    assert lines() == []


def test_several_observers_are_told_in_order() -> None:
    told: list[str] = []

    class Telling(Recorder):
        def __init__(self, name: str) -> None:
            super().__init__()
            self._name = name

        def notify(self, event: Event) -> None:
            told.append(self._name)
            super().notify(event)

    first, second = Telling("first"), Telling("second")
    Observers(first, second).notify(request())
    assert told == ["first", "second"]
    assert first.events == second.events


@pytest.mark.parametrize(
    ("spending", "level", "line"),
    [
        (Spending.SAVING, "warning", 'event="few pulls are left, for what is not cached"'),
        (Spending.EXHAUSTED, "warning", 'event="limit reached, nothing is pulled"'),
        (Spending.FREE, "info", 'event="enough pulls are left again"'),
    ],
)
def test_what_is_left_of_a_limit_is_said_where_something_changes(
    lines: Lines, spending: Spending, level: str, line: str
) -> None:
    set_up("debug", "text")
    Logs().notify(SpendingChanged("docker.io", spending, RateLimit(100, 10, 21600)))
    Logs().notify(SpendingChanged("ghcr.io", spending, None))
    told, untold = lines()
    assert f"level={level} {line} upstream=docker.io left=10 limit=100" in told
    assert f"{line} upstream=ghcr.io" in untold
    assert "left" not in untold.partition("upstream=")[2]
    assert ("upstreams.docker.io.credentials raise the limit" in told) is (spending is not Spending.FREE)


@pytest.mark.parametrize("form", ["text", "json"])
def test_lines_say_which_worker_wrote_them_where_there_are_several(form: str, lines: Lines) -> None:
    set_up("info", form, worker=3)
    Logs().lifecycle("x", of="it")
    logging.getLogger("library").warning("y")
    set_up("info", form)
    Logs().lifecycle("z")
    ours, foreign, alone = lines()
    wanted = "worker=3" if form == "text" else '"worker": 3'
    assert wanted in ours
    assert wanted in foreign
    assert "worker" not in alone


@pytest.mark.parametrize(
    ("event", "wanted"),
    [
        (WorkerLost(2, "killed by SIGKILL", 0.5), 'worker=2 cause="killed by SIGKILL" replaced_in_seconds=0.5'),
        (WorkerLost(2, "killed by SIGABRT", 0.5, stack="f (m.py:1)"), 'replaced_in_seconds=0.5 stack="f (m.py:1)"'),
        (WorkerHangs(2, 30.2), "worker=2 silent_seconds=30"),
        (WorkerReplaced(2), "worker=2"),
        (ReloadRefused("x: unknown key"), 'cause="x: unknown key"'),
        (ReloadRefused("x", 2), "worker=2 cause=x"),
        (ReloadPartly(("listen", "workers")), 'fields="listen, workers"'),
    ],
)
def test_an_operator_is_told_of_workers(event: Event, wanted: str, lines: Lines) -> None:
    set_up("info", "text")
    Logs().notify(event)
    [line] = lines()
    assert wanted in line

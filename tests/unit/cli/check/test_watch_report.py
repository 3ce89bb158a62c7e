from __future__ import annotations

import io
import os
from datetime import UTC, datetime, timedelta

import pytest
from yarl import URL

from mirror.cli.check.screen import Screen
from mirror.cli.check.tracks import REMEMBERED, Change, Tracks
from mirror.cli.check.watch_report import line, screen
from mirror.config import Config
from mirror.upstream.probing.diagnosis import Reason
from mirror.upstream.probing.findings import Findings, Step

BEGUN = datetime(2026, 11, 26, 12, tzinfo=UTC)
NEAR, HUB = "https://mirror.example", "https://registry-1.docker.io"
CONFIG = Config(upstreams={"docker.io": {"endpoints": [NEAR, HUB]}, "ghcr.io": {}})  # type: ignore[dict-item]


def found(endpoint: str = NEAR, seconds: float = 0.1, reason: Reason | None = None) -> Findings:
    """How an endpoint was found in a round."""
    upstream = "ghcr.io" if endpoint == "https://ghcr.io" else "docker.io"
    findings = Findings(upstream, URL(endpoint), None, seconds=seconds)
    if reason is not None:
        findings.failed(Step.CONNECT, reason, f"{endpoint} cannot be reached")
    return findings


class Rounds:
    """A check that goes on, a round every ten seconds."""

    def __init__(self) -> None:
        self.tracks = Tracks()
        self.now = BEGUN

    def take(self, *findings: Findings) -> list[Change]:
        self.now += timedelta(seconds=10)
        return self.tracks.take(findings, self.now)

    def lines(self, *findings: Findings) -> list[str]:
        return [line(CONFIG, change, self.now) for change in self.take(*findings)]

    def table(self) -> list[list[str]]:
        """The cells of the table, its headings left out."""
        _, *rows = screen(CONFIG, self.tracks, self.now, 10)
        return [[cell.strip() for cell in row.split("  ") if cell.strip()] for row in rows[: rows.index("")]]


def test_a_line_is_a_change_and_nothing_else() -> None:
    rounds = Rounds()
    assert rounds.lines(found()) == [f"2026-11-26T12:00:10Z docker.io {NEAR}: usable; took 0.10 s"]
    assert rounds.lines(found(seconds=0.9)) == []
    [failed] = rounds.lines(found(reason=Reason.REFUSED))
    assert failed.startswith(f"2026-11-26T12:00:30Z docker.io {NEAR}: connect failed, usable for 20 s before: ")
    assert failed.endswith("nothing listens there: the service is down, or its port is wrong")
    assert rounds.lines(found(reason=Reason.REFUSED)) == []
    [otherwise] = rounds.lines(found(reason=Reason.NO_ROUTE))
    assert "before" not in otherwise
    again = f"2026-11-26T12:01:00Z docker.io {NEAR}: usable again, after 30 s; took 0.10 s"
    assert rounds.lines(found()) == [again]


def test_the_table_tells_since_when_and_how_fast() -> None:
    rounds = Rounds()
    for seconds in (0.1, 0.3, 0.2):
        rounds.take(found(seconds=seconds), found(HUB, reason=Reason.REFUSED))
    rounds.take(found(seconds=0.4), found(HUB))
    local = [f"{at.astimezone():%H:%M:%S}" for at in (BEGUN + timedelta(seconds=10), BEGUN + timedelta(seconds=40))]
    assert rounds.table() == [
        ["docker.io", NEAR, "in use", "30 s", local[0], "0.40 s", "0.25 s", "4 of 4", "anonymous"],
        ["docker.io", HUB, "usable", "0 s", local[1], "0.10 s", "0.10 s", "1 of 4", "anonymous"],
    ]


def test_the_first_that_is_usable_is_in_use() -> None:
    rounds = Rounds()
    rounds.take(found(reason=Reason.TIMEOUT), found(HUB), found("https://ghcr.io", reason=Reason.TLS))
    assert [row[2] for row in rounds.table()] == ["connect failed", "in use", "connect failed"]
    *_, told, _, verdict = screen(CONFIG, rounds.tracks, rounds.now, 10)
    assert told.startswith("ghcr.io: ")
    assert verdict.endswith("  3 endpoints: 2 failed; tried every 10 s")


def test_the_usual_time_is_that_of_late() -> None:
    rounds = Rounds()
    for seconds in [5.0] * 10 + [0.1] * REMEMBERED:
        rounds.take(found(seconds=seconds))
    [track] = rounds.tracks.all
    assert track.usual == 0.1


def test_where_all_is_well_the_last_line_says_so() -> None:
    rounds = Rounds()
    rounds.take(found())
    assert screen(CONFIG, rounds.tracks, rounds.now, 2.5)[-1].endswith("  1 endpoint: all good; tried every 2.5 s")


def test_a_screen_shows_what_there_is_room_for_and_leaves_all_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((10, 3)))
    terminal = io.StringIO()
    with Screen(terminal) as page:
        page.show(["a long line of text", "2", "3"])
    shown, left = terminal.getvalue().split("\x1b[?1049l")
    assert "a long li\x1b[K\n2\x1b[K\n\x1b[J" in shown
    assert "3" not in shown.replace("\x1b[?1049h", "")
    assert left == "a long line of text\n2\n3\n"


def test_a_screen_gives_the_terminal_back_whatever_happens() -> None:
    terminal = io.StringIO()
    with pytest.raises(ZeroDivisionError), Screen(terminal):
        raise ZeroDivisionError
    assert terminal.getvalue().endswith("\x1b[?25h\x1b[?1049l")

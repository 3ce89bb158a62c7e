from __future__ import annotations

import errno
import resource
from typing import Any

import pytest

from mirror.proxy.events.connections import AcceptFailed
from mirror.server.open_files import FEWEST, MOST, accept_failures_told, connection_limit, raise_limit
from tests.unit.recorder import Recorder


@pytest.mark.parametrize(
    ("files", "connections"),
    [
        (0, FEWEST),
        (64, 16),
        (256, 64),
        (1024, 256),
        (20_000, 5_000),
        (1_048_576, MOST),
        (resource.RLIM_INFINITY, MOST),
    ],
)
def test_connections_fit_into_the_limit_on_open_files(
    monkeypatch: pytest.MonkeyPatch, files: int, connections: int
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (files, resource.RLIM_INFINITY))
    assert connection_limit() == connections


@pytest.mark.parametrize("error", [ValueError, PermissionError])
def test_a_limit_that_may_not_be_raised_stays(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    asked: list[tuple[int, int]] = []

    def refuse(_: int, limits: tuple[int, int]) -> None:
        asked.append(limits)
        raise error

    monkeypatch.setattr("resource.getrlimit", lambda _: (100, 4000))
    monkeypatch.setattr("resource.setrlimit", refuse)
    raise_limit()
    assert asked == [(4000, 4000)]


class Loop:
    """Keeps what is left to the loop's own handler."""

    def __init__(self) -> None:
        self.left: list[dict[str, Any]] = []

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.left.append(context)


def handled(context: dict[str, Any]) -> tuple[Recorder, Loop]:
    recorder, loop = Recorder(), Loop()
    accept_failures_told(recorder)(loop, context)  # type: ignore[arg-type]
    return recorder, loop


def test_a_connection_that_could_not_be_taken_is_told() -> None:
    error = OSError(errno.EMFILE, "too many")
    recorder, loop = handled({"message": "socket.accept() out of system resource", "exception": error})
    assert recorder.events == [AcceptFailed(error)]
    assert loop.left == []


@pytest.mark.parametrize(
    "context",
    [
        {"message": "Exception in callback broken()", "exception": OSError(errno.EMFILE, "too many")},
        {"message": "Exception in callback broken()", "exception": ValueError("bug")},
        {"message": "Task was destroyed but it is pending!"},
        {},
    ],
)
def test_every_other_error_is_left_to_the_loop(context: dict[str, Any]) -> None:
    recorder, loop = handled(context)
    assert recorder.events == []
    assert loop.left == [context]

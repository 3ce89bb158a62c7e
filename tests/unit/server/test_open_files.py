from __future__ import annotations

import resource

import pytest

from mirror.server.open_files import FEWEST, MOST, connection_limit, raise_limit


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

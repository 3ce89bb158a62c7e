from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from mirror.composition.place import ALONE, Place
from mirror.config import Config, load
from mirror.errors import ConfigError


def config(text: str, tmp_path: Path) -> Config:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    return load(file)


@pytest.mark.parametrize(
    ("text", "workers"), [("{}", 1), ("workers: 4", 4), ("workers: '4'", 4), ("workers: auto", "auto"), ("workers:", 1)]
)
def test_workers_are_a_number_or_one_a_core(text: str, workers: int | str, tmp_path: Path) -> None:
    assert config(text, tmp_path).workers == workers


@pytest.mark.parametrize("given", ["0", "-1", "65", "1.5", "true", "many", "[2]", "'1e1'", "'²'"])
def test_anything_else_is_refused(given: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^workers: a number of processes is expected, 1 to 64, or auto"):
        config(f"workers: {given}", tmp_path)


@pytest.mark.parametrize(("value", "workers"), [("3", 3), ("auto", "auto")])
def test_the_environment_says_so_as_well(
    value: str, workers: int | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIRROR_WORKERS", value)
    assert config("workers: 2", tmp_path).workers == workers


@pytest.mark.parametrize(
    ("text", "seconds"), [("{}", 30), ("worker_timeout: 0s", 0), ("worker_timeout: 1s", 1), ("worker_timeout: 2m", 120)]
)
def test_a_worker_that_answers_nothing_has_its_time(text: str, seconds: int, tmp_path: Path) -> None:
    assert config(text, tmp_path).worker_timeout == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("given", "problem"), [("500ms", "a second at least"), ("30", "a duration is a number"), ("-1s", "a duration is")]
)
def test_a_time_that_is_none_is_refused(given: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"^worker_timeout: .*{problem}"):
        config(f"worker_timeout: {given}", tmp_path)


def test_workers_together_keep_to_the_limits_of_an_upstream(tmp_path: Path) -> None:
    whole = config(
        "upstreams: {docker.io: {limits: {fills: 10, bandwidth: 1MiB}}, ghcr.io: {limits: {fills: 2}}}", tmp_path
    )
    part = Place(count=4).share(whole)
    assert part.upstreams["docker.io"].limits.fills == 2
    assert part.upstreams["docker.io"].limits.bandwidth == 256 * 1024
    assert part.upstreams["ghcr.io"].limits.fills == 1
    assert part.upstreams["ghcr.io"].limits.bandwidth is None
    assert ALONE.share(whole) is whole

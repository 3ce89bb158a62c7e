from __future__ import annotations

from typing import Any

from mirror.cli.warm.told import summary


def image(outcome: str, fetched: int) -> dict[str, Any]:
    return {"outcome": outcome, "fetched_bytes": fetched}


def test_all_together_are_told_by_how_they_ended() -> None:
    images = [image("warmed", 2048), image("failed", 0), image("warmed", 1024)]
    assert summary(images) == "3 images: 2 warmed, 1 failed, 3.0 KiB fetched"
    assert summary([image("spared", 0)]) == "1 image: 1 left, 0 B fetched"


def test_nothing_is_told_as_nothing() -> None:
    assert summary([]) == "0 images: 0 B fetched"

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mirror.cli.images.shown import shown


def at(seconds: float) -> str:
    """The time in so many seconds, as the API writes it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


@pytest.mark.parametrize(("since", "is_told"), [(3600.0, True), (30.0, False), (-30.0, False)])
def test_a_tag_that_was_validated_in_times_to_come_is_not_said_to_be_fresh(since: float, is_told: bool) -> None:
    document: dict[str, object] = {
        "image": "docker.io/library/alpine:3.20",
        "digest": "sha256:0",
        "media_type": "x",
        "state": "stale",
        "reason": "upstream is asked first",
        "rule": None,
        "validated_at": at(since),
        "fresh_until": at(since + 300),
        "grace_until": at(since + 600),
        "stale_until": at(since + 6000),
        "deleted_at": None,
        "deleted_until": None,
        "used_at": at(since),
        "kept_until": at(since + 6000),
        "pinned": False,
        "pins": [],
        "bytes": 1,
        "unshared_bytes": 1,
        "parts": [],
        "variants": [],
    }
    text = "\n".join(shown(document))
    assert ("the clock was ahead" in text) is is_told
    assert ("fresh for another" in text) is not is_told

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from mirror.errors import AddressUnavailable, ConfigError
from mirror.supervisor import wire
from mirror.supervisor.wire import Wire


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("cache.path", "/x: is not a folder"),
        ConfigError("", "file: cannot be read"),
        AddressUnavailable("listen", "127.0.0.1:1 is in use"),
    ],
)
def test_an_error_comes_over_the_wire_as_it_is(error: ConfigError | AddressUnavailable) -> None:
    came = wire.failed(wire.failure(error))
    assert type(came) is type(error)
    assert str(came) == str(error)


@pytest.mark.parametrize("message", [b"", b"ready", b"failed ", b"failed []", b"failed {", b"failed \xff"])
def test_what_is_no_error_is_none(message: bytes) -> None:
    assert wire.failed(message) is None


async def test_messages_keep_their_bounds_and_descriptors_come_along(tmp_path: Path) -> None:
    ours, theirs = wire.pair()
    one, other = Wire(ours), Wire(theirs)
    heard: list[tuple[bytes, int]] = []
    ended = asyncio.Event()
    other.listen(lambda message, descriptors: heard.append((message, _closed(descriptors))), ended.set)
    one.say(b"first")
    with (tmp_path / "file").open("wb") as file:
        one.say(b"second", file.fileno())
    one.say(b"third")
    one.close()
    await asyncio.wait_for(ended.wait(), 30)
    assert heard == [(b"first", 0), (b"second", 1), (b"third", 0)]
    with pytest.raises(OSError, match="pipe"):
        other.say(b"anybody there?")
    other.close()


def _closed(descriptors: list[int]) -> int:
    for descriptor in descriptors:
        os.close(descriptor)
    return len(descriptors)

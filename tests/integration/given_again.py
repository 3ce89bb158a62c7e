"""Which requests were answered because they came again in the very same bytes."""

from __future__ import annotations

import pytest

from mirror.server.connection import Connection
from mirror.server.repeats.repeat import Repeat


@pytest.fixture
def again(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The heads that were found again."""
    seen: list[bytes] = []
    give = Connection._give_again

    def noted(connection: Connection, repeat: Repeat, head: bytes) -> None:
        seen.append(head)
        give(connection, repeat, head)

    monkeypatch.setattr(Connection, "_give_again", noted)
    return seen

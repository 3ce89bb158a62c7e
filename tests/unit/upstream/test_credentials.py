from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mirror.errors import CredentialsUnavailable
from mirror.proxy.events.access import CredentialsUnreadable
from mirror.proxy.tasks import Tasks
from mirror.upstream.auth.credentials import (
    KEEP_SECONDS,
    PAUSE_SECONDS,
    Credential,
    Credentials,
    NoCredential,
    PasswordFile,
)
from tests.unit.proxy.doubles import SettableClock
from tests.unit.recorder import Recorder
from tests.unit.upstream.settable_source import SettableSource
from tests.unit.virtual_time import in_virtual_time, settle

OLD, NEW = Credential("me", "old"), Credential("me", "new")


class Safe:
    """Credentials, their source, and a clock."""

    def __init__(self, credential: Credential | None = OLD) -> None:
        self.clock = SettableClock()
        self.source = SettableSource(credential)
        self.observer = Recorder()
        self.credentials = Credentials("x", self.source, Tasks(self.observer), self.observer, self.clock)


@in_virtual_time
async def test_a_credential_is_kept_for_a_while() -> None:
    safe = Safe()
    assert await safe.credentials.current() == OLD
    safe.source.credential = NEW
    safe.clock.now += KEEP_SECONDS - 1
    assert await safe.credentials.current() == OLD
    safe.clock.now += 1
    assert await safe.credentials.current() == NEW
    assert safe.source.reads == 2


@in_virtual_time
async def test_a_refused_credential_is_looked_up_now_and_then() -> None:
    safe = Safe()
    await safe.credentials.current()
    safe.source.credential = NEW
    assert await safe.credentials.renewed(OLD) == OLD
    safe.clock.now += PAUSE_SECONDS
    assert await safe.credentials.renewed(OLD) == NEW
    # Who was refused before it changed has the new one at once.
    assert await safe.credentials.renewed(OLD) == NEW
    assert safe.source.reads == 2


@in_virtual_time
async def test_a_source_that_fails_now_leaves_what_it_gave_before() -> None:
    safe = Safe()
    await safe.credentials.current()
    safe.source.credential = None
    safe.clock.now += KEEP_SECONDS
    assert await safe.credentials.current() == OLD
    # Not for who knows that it is good for nothing.
    for _ in range(3):
        with pytest.raises(CredentialsUnavailable):
            await safe.credentials.renewed(OLD)
    assert safe.observer.of(CredentialsUnreadable) == [CredentialsUnreadable("x", "the safe is locked")]
    safe.source.credential = NEW
    safe.clock.now += PAUSE_SECONDS
    assert await safe.credentials.renewed(OLD) == NEW


@in_virtual_time
async def test_a_source_that_never_gave_any_is_not_asked_again_and_again() -> None:
    safe = Safe(None)
    for _ in range(3):
        with pytest.raises(CredentialsUnavailable) as raised:
            await safe.credentials.current()
        assert "safe" not in str(raised.value)
    assert safe.source.reads == 1
    safe.source.credential = NEW
    safe.clock.now += PAUSE_SECONDS
    assert await safe.credentials.current() == NEW


@in_virtual_time
async def test_a_hundred_waiters_look_once_and_none_is_needed_for_the_others() -> None:
    safe = Safe()
    safe.source.gate = asyncio.Event()
    first = asyncio.create_task(safe.credentials.current())
    await settle()
    waiting = [asyncio.create_task(safe.credentials.current()) for _ in range(100)]
    await settle()
    first.cancel()
    safe.source.gate.set()
    assert await asyncio.gather(*waiting) == [OLD] * 100
    assert safe.source.reads == 1


async def test_a_password_file_is_read_as_it_is_now(tmp_path: Path) -> None:
    file = tmp_path / "password"
    source = PasswordFile("me", file.read_text)
    for password in ("old", "new"):
        file.write_text(password)
        assert await source.read() == Credential("me", password)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
async def test_a_password_file_that_has_none(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(NoCredential, match=r"password_file (cannot be read: (No such|not text)|is empty)"):
        await PasswordFile("me", file.read_text).read()

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest

from mirror.upstream.auth import credential_helper
from mirror.upstream.auth.credential_helper import CredentialHelper
from mirror.upstream.auth.credentials import Credential, NoCredential
from tests.fakes.helper import FakeHelper

REGISTRY = "registry.example:5000"


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHelper:
    """A helper on PATH that has a secret for the registry."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    made = FakeHelper(tmp_path)
    made.give(REGISTRY, "AWS", "secret")
    return made


async def problem(name: str = "test", registry: str = REGISTRY) -> str:
    """Why there is no credential; which is one line, and no place for what the helper said."""
    with pytest.raises(NoCredential) as raised:
        await CredentialHelper(name, registry).read()
    text = str(raised.value)
    assert text.isprintable()
    assert "canary" not in text
    return text


async def test_a_user_name_and_a_secret(helper: FakeHelper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIRROR_UPSTREAMS", "{}")
    monkeypatch.setenv("AWS_PROFILE", "ci")
    assert await CredentialHelper("test", REGISTRY).read() == Credential("AWS", "secret")
    [call] = helper.calls
    assert (call.arguments, call.asked) == (["get"], REGISTRY)
    assert "AWS_PROFILE" in call.environment
    assert not [name for name in call.environment if name.startswith("MIRROR_")]


async def test_an_identity_token(helper: FakeHelper) -> None:
    helper.give(REGISTRY, "<token>", "identity")
    assert await CredentialHelper("test", REGISTRY).read() == Credential("", "identity", is_identity_token=True)


async def test_a_registry_it_knows_nothing_of(helper: FakeHelper) -> None:
    assert (
        await problem(registry="x.example") == "docker-credential-test has no credentials for x.example (exit code 1)"
    )
    assert helper.calls[0].asked == "x.example"


async def test_no_shell_is_between(helper: FakeHelper) -> None:
    await problem(registry="$(touch x); `id` & <y")
    assert helper.calls[0].asked == "$(touch x); `id` & <y"


async def test_a_helper_that_does_not_listen(helper: FakeHelper) -> None:
    helper.behave(answer={"Username": "me", "Secret": "s"}, deaf=True)
    assert await CredentialHelper("test", "r" * 1_000_000).read() == Credential("me", "s")


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "canary",
        "[]",
        "null",
        {},
        {"Username": "me"},
        {"Secret": "canary"},
        {"Username": "", "Secret": "canary"},
        {"Username": "me", "Secret": ""},
        {"Username": "me", "Secret": ["canary"]},
        {"Username": 5, "Secret": "canary"},
        "[" * 60_000,
    ],
)
async def test_an_answer_that_is_none(helper: FakeHelper, answer: object) -> None:
    helper.behave(answer=answer)
    assert await problem(registry="other") == "docker-credential-test did not answer with a user name and a secret"


@pytest.mark.parametrize("user", ["me", "<token>"])
async def test_an_answer_that_is_not_text(helper: FakeHelper, user: str) -> None:
    helper.behave(answer={"Username": user, "Secret": "canary\ud800"})
    assert await problem(registry="other") == "the user name or the password is not text"


async def test_an_answer_that_does_not_end(helper: FakeHelper) -> None:
    helper.behave(answer="x" * 1_000_000)
    assert await problem(registry="other") == "docker-credential-test answered with more than 65536 bytes"


async def test_a_helper_that_is_not_there() -> None:
    assert await problem("nowhere") == "docker-credential-nowhere is not on the mirror's PATH"


async def test_a_helper_that_may_not_be_run(helper: FakeHelper) -> None:
    (helper.folder / "docker-credential-test").write_bytes(b"\x7fELF nonsense")
    assert re.fullmatch("docker-credential-test cannot be run: .+", await problem())


async def nothing_left(helper: FakeHelper) -> None:
    """Wait for the end of what was killed."""
    async with asyncio.timeout(10):
        while helper.left():  # noqa: ASYNC110  # processes to look at, not an event
            await asyncio.sleep(0.01)


async def test_a_helper_that_hangs_is_ended_with_all_it_started(
    helper: FakeHelper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credential_helper, "HELPER_SECONDS", 0.5)
    helper.behave(hangs=True)
    assert await problem() == "docker-credential-test did not answer within 0.5 s"
    await nothing_left(helper)


async def test_a_helper_that_hangs_is_not_waited_for_where_something_else_holds_its_pipes(
    helper: FakeHelper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credential_helper, "HELPER_SECONDS", 0.5)
    helper.behave(hangs=True, forks=True)
    before = os.listdir("/proc/self/fd")
    assert await problem() == "docker-credential-test did not answer within 0.5 s"
    await nothing_left(helper)
    helper.end_what_is_away()
    assert len(os.listdir("/proc/self/fd")) == len(before)


async def test_whoever_stops_waiting_leaves_no_helper_behind(helper: FakeHelper) -> None:
    helper.behave(hangs=True)
    waiting = asyncio.create_task(CredentialHelper("test", REGISTRY).read())
    async with asyncio.timeout(10):
        while len(helper.left()) < 2:  # noqa: ASYNC110  # processes to look at, not an event
            await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await nothing_left(helper)

"""Docker credential helpers: programs that are told a registry and answer with a user name and a secret.

`docker-credential-<name> get` reads the registry from its standard input and writes JSON. It is started without a
shell, in a session of its own, has a bounded time for a bounded answer, and what it writes never reaches a log.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import suppress

from mirror.upstream.auth.credentials import Credential, NoCredential, NoEntry

HELPER_SECONDS = 10.0
_LARGEST_ANSWER = 64 * 1024
_NOT_FOUND = b"credentials not found in native keychain"
# What docker's own helpers, and docker itself, say and look for.
_IDENTITY_TOKEN = "<token>"  # noqa: S105  # what stands for the user name where the secret is an identity token


class _Answer(asyncio.SubprocessProtocol):
    """What a helper writes: `heard` when that is all, or too much, `ended` when the helper and its pipes are gone."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.heard = asyncio.Event()
        self.ended = asyncio.Event()

    def pipe_data_received(self, _fd: int, data: bytes) -> None:
        """Keep what was written."""
        self.data += data
        if len(self.data) > _LARGEST_ANSWER:
            self.heard.set()

    def connection_lost(self, _error: Exception | None) -> None:
        """Note that the helper has ended, and that nobody else could write any more."""
        self.heard.set()
        self.ended.set()


class CredentialHelper:
    """The helper `name`, asked for the credential of `registry`."""

    def __init__(self, name: str, registry: str) -> None:
        self.program = f"docker-credential-{name}"
        self._registry = registry

    async def read(self) -> Credential:
        """Return what the helper answers; raises NoCredential if it fails, hangs, or answers something else."""
        transport, answer = await self._start()
        try:
            async with asyncio.timeout(HELPER_SECONDS):
                await answer.heard.wait()
        except TimeoutError:
            raise NoCredential(f"{self.program} did not answer within {HELPER_SECONDS:g} s") from None
        finally:
            await _ended(transport, answer)
            transport.close()
        if len(answer.data) > _LARGEST_ANSWER:
            raise NoCredential(f"{self.program} answered with more than {_LARGEST_ANSWER} bytes")
        if code := transport.get_returncode():
            refusal = NoEntry if bytes(answer.data).strip() == _NOT_FOUND else NoCredential
            raise refusal(f"{self.program} has no credentials for {self._registry} (exit code {code})")
        return self._parsed(bytes(answer.data))

    async def _start(self) -> tuple[asyncio.SubprocessTransport, _Answer]:
        try:
            transport, answer = await asyncio.get_running_loop().subprocess_exec(
                _Answer,
                self.program,
                "get",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=_environment(),
                start_new_session=True,
            )
        except FileNotFoundError:
            raise NoCredential(f"{self.program} is not on the mirror's PATH") from None
        except OSError as error:
            raise NoCredential(f"{self.program} cannot be run: {error.strerror}") from None
        question = transport.get_pipe_transport(0)
        assert isinstance(question, asyncio.WriteTransport)  # noqa: S101  # it is a pipe
        question.write(self._registry.encode())
        question.close()
        return transport, answer

    def _parsed(self, answer: bytes) -> Credential:
        try:
            document = json.loads(answer)
            username, secret = document["Username"], document["Secret"]
        except (ValueError, KeyError, TypeError, RecursionError):
            username = secret = None
        if not isinstance(username, str) or not isinstance(secret, str) or not username or not secret:
            raise NoCredential(f"{self.program} did not answer with a user name and a secret")
        if username == _IDENTITY_TOKEN:
            return Credential("", secret, is_identity_token=True)
        return Credential(username, secret)


def _environment() -> dict[str, str]:
    """Return what a helper may know: everything but what is meant for the mirror.

    Helpers find cloud accounts, homes and proxies there, each under names of its own.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("MIRROR_")}


async def _ended(transport: asyncio.SubprocessTransport, answer: _Answer) -> None:
    """See the helper off; one that has not ended by itself is ended, with what it started.

    What it put into a session of its own is not ended, nor waited for, though it may hold the pipes.
    """
    if not answer.ended.is_set():
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(transport.get_pid(), signal.SIGKILL)
        for pipe in filter(None, map(transport.get_pipe_transport, (0, 1))):
            pipe.close()
    while not answer.ended.is_set():
        with suppress(asyncio.CancelledError):
            await answer.ended.wait()

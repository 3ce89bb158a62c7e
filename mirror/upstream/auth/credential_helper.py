"""Docker credential helpers: programs that are told a registry and answer with a user name and a secret.

`docker-credential-<name> get` reads the registry from its standard input and writes JSON. It is started without a
shell, in a session of its own, has a bounded time for a bounded answer, and what it writes never reaches a log.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from contextlib import suppress

from mirror.upstream.auth.credentials import Credential, NoCredential, NoEntry

HELPER_SECONDS = 10.0
_LARGEST_ANSWER = 64 * 1024
_NOT_FOUND = b"credentials not found in native keychain"
# What docker's own helpers, and docker itself, say and look for.
_IDENTITY_TOKEN = "<token>"  # noqa: S105  # what stands for the user name where the secret is an identity token


class _Conversation:
    """What a helper is told and what it answers: `heard` once that is all, or too much.

    The loop's own way to start programs hands a file that is none to a shell, so this does not go by it.
    """

    def __init__(self, process: subprocess.Popen[bytes], question: bytes) -> None:
        assert process.stdin is not None  # noqa: S101  # they are pipes
        assert process.stdout is not None  # noqa: S101
        self.answer = bytearray()
        self.heard = asyncio.Event()
        self._question = memoryview(question)
        self._listens, self._speaks = process.stdin, process.stdout
        self._loop = asyncio.get_running_loop()
        for pipe in (self._listens, self._speaks):
            os.set_blocking(pipe.fileno(), False)
        self._loop.add_writer(self._listens, self._say)
        self._loop.add_reader(self._speaks, self._hear)

    def _say(self) -> None:
        try:
            self._question = self._question[os.write(self._listens.fileno(), self._question) :]
        except BlockingIOError:
            return
        except OSError:
            # It does not want to know, and may answer all the same.
            self._question = memoryview(b"")
        if not self._question:
            self._loop.remove_writer(self._listens)
            self._listens.close()

    def _hear(self) -> None:
        try:
            data = os.read(self._speaks.fileno(), _LARGEST_ANSWER)
        except BlockingIOError:
            return
        self.answer += data
        if not data or len(self.answer) > _LARGEST_ANSWER:
            self._loop.remove_reader(self._speaks)
            self.heard.set()

    def close(self) -> None:
        """Neither say nor hear anything any more."""
        if not self._listens.closed:
            self._loop.remove_writer(self._listens)
        self._loop.remove_reader(self._speaks)
        self._listens.close()
        self._speaks.close()


class CredentialHelper:
    """The helper `name`, asked for the credential of `registry`."""

    def __init__(self, name: str, registry: str) -> None:
        self.program = f"docker-credential-{name}"
        self._registry = registry

    async def read(self) -> Credential:
        """Return what the helper answers; raises NoCredential if it fails, hangs, or answers something else."""
        process = self._started()
        ended = asyncio.create_task(asyncio.to_thread(process.wait))
        told = _Conversation(process, self._registry.encode())
        try:
            async with asyncio.timeout(HELPER_SECONDS):
                await told.heard.wait()
                if len(told.answer) <= _LARGEST_ANSWER:
                    await asyncio.shield(ended)
        except TimeoutError:
            raise NoCredential(f"{self.program} did not answer within {HELPER_SECONDS:g} s") from None
        finally:
            told.close()
            await _end(process, ended)
        if len(told.answer) > _LARGEST_ANSWER:
            raise NoCredential(f"{self.program} answered with more than {_LARGEST_ANSWER} bytes")
        if code := ended.result():
            refusal = NoEntry if bytes(told.answer).strip() == _NOT_FOUND else NoCredential
            raise refusal(f"{self.program} has no credentials for {self._registry} (exit code {code})")
        return self._parsed(bytes(told.answer))

    def _started(self) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(  # noqa: S603  # no shell, and the name comes from the configuration
                [self.program, "get"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env=_environment(),
                start_new_session=True,
            )
        except FileNotFoundError:
            raise NoCredential(f"{self.program} is not on the mirror's PATH") from None
        except OSError as error:
            raise NoCredential(f"{self.program} cannot be run: {error.strerror}") from None

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


async def _end(process: subprocess.Popen[bytes], ended: asyncio.Task[int]) -> None:
    """See the helper off; one that has not ended by itself is ended, with what it started.

    What it put into a session of its own is not ended, nor waited for.
    """
    if not ended.done():
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    while not ended.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(ended)

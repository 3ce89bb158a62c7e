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

from mirror.upstream.credentials import Credential, NoCredential

HELPER_SECONDS = 10.0
_LARGEST_ANSWER = 64 * 1024
_IDENTITY_TOKEN = "<token>"  # noqa: S105  # what stands for the user name where the secret is an identity token


class CredentialHelper:
    """The helper `name`, asked for the credential of `registry`."""

    def __init__(self, name: str, registry: str) -> None:
        self.program = f"docker-credential-{name}"
        self._registry = registry

    async def read(self) -> Credential:
        """Return what the helper answers; raises NoCredential if it fails, hangs, or answers something else."""
        try:
            process = await asyncio.create_subprocess_exec(
                self.program,
                "get",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=_environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise NoCredential(f"{self.program} cannot be run: {error.strerror}") from None
        try:
            async with asyncio.timeout(HELPER_SECONDS):
                answer = await self._ask(process)
                code = await process.wait()
        except TimeoutError:
            await _kill(process)
            raise NoCredential(f"{self.program} did not answer within {HELPER_SECONDS:g} s") from None
        except BaseException:
            await _kill(process)
            raise
        if code != 0:
            raise NoCredential(f"{self.program} has no credentials for {self._registry} (exit code {code})")
        return self._parsed(answer)

    async def _ask(self, process: asyncio.subprocess.Process) -> bytes:
        assert process.stdin is not None and process.stdout is not None  # noqa: PT018, S101  # both are pipes
        with suppress(ConnectionError):  # some helpers do not read to the end
            process.stdin.write(self._registry.encode())
            await process.stdin.drain()
        process.stdin.close()
        answer = bytearray()
        while chunk := await process.stdout.read(_LARGEST_ANSWER):
            answer += chunk
            if len(answer) > _LARGEST_ANSWER:
                raise NoCredential(f"{self.program} answered with more than {_LARGEST_ANSWER} bytes")
        return bytes(answer)

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


async def _kill(process: asyncio.subprocess.Process) -> None:
    """End the helper and what it started, and see it off."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    while process.returncode is None:
        with suppress(asyncio.CancelledError):
            await process.wait()

"""The `mirror` command as a process of its own, as an operator runs it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.conftest import docker_io

_PATIENCE = 45.0


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended, and what it wrote."""

    code: int
    stdout: str
    stderr: str


@dataclass
class Serving:
    """A `mirror serve` that listens; `log` grows as it writes."""

    process: asyncio.subprocess.Process
    session: aiohttp.ClientSession
    log: list[str] = field(default_factory=list)
    stderr: list[str] = field(default_factory=list)
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    def address(self, name: str) -> str:
        """An address of the line that tells where it listens, which is there in either format."""
        line = next(line for line in self.log if "listening" in line)
        match = re.search(rf'\b{name}"?(?:=|: ")([^\s"]+)', line)
        assert match is not None, line
        return match[1]

    async def get(self, path: str, method: str = "GET", **options: Any) -> tuple[aiohttp.ClientResponse, bytes]:
        """Return the answer of the public listener, and its whole body."""
        return await self._get(f"http://{self.address('public')}{path}", method, **options)

    async def admin(self, path: str) -> tuple[aiohttp.ClientResponse, bytes]:
        """Return the answer of the admin listener, and its whole body."""
        return await self._get(f"http://{self.address('admin')}{path}", "GET")

    def records(self) -> list[dict[str, Any]]:
        """The log so far, if it is in JSON."""
        return [json.loads(line) for line in self.log]

    async def logged(self, condition: Callable[[str], bool], count: int = 1) -> list[str]:
        """Wait until that many lines meet the condition; return them."""
        async with asyncio.timeout(_PATIENCE):
            while len(found := [line for line in self.log if condition(line)]) < count:
                self._more.clear()
                await self._more.wait()
        return found

    def terminate(self, wanted: signal.Signals = signal.SIGTERM) -> None:
        """Tell it to stop."""
        self.process.send_signal(wanted)

    async def exit_code(self) -> int:
        """Wait for its end, and for all it wrote."""
        async with asyncio.timeout(_PATIENCE):
            return await self.process.wait()

    async def read(self, stream: asyncio.StreamReader, into: list[str]) -> None:
        """Take in what it writes."""
        async for line in stream:
            into.append(line.decode(errors="surrogateescape").rstrip("\n"))
            self._more.set()

    async def _get(self, url: str, method: str, **options: Any) -> tuple[aiohttp.ClientResponse, bytes]:
        async with self.session.request(method, url, **options) as response:
            return response, await response.read()


async def run(*arguments: str, folder: Path, environment: Mapping[str, str] | None = None) -> Finished:
    """Run `mirror` with these arguments to its end, in this folder."""
    process = await _start(arguments, folder, environment)
    try:
        async with asyncio.timeout(_PATIENCE):
            stdout, stderr = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()
        raise
    assert process.returncode is not None
    return Finished(process.returncode, stdout.decode(), stderr.decode())


@asynccontextmanager
async def serving(
    config: Mapping[str, Any], folder: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Serving]:
    """Run `mirror serve` with this configuration within this context; left running, it is killed at its end."""
    process = await _start(("serve", "--config", write(config, folder)), folder, environment)
    assert process.stdout is not None
    assert process.stderr is not None
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        running = Serving(process, session)
        readers = [
            asyncio.create_task(running.read(process.stdout, running.log)),
            asyncio.create_task(running.read(process.stderr, running.stderr)),
        ]
        try:
            await running.logged(lambda line: "listening" in line)
            yield running
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await asyncio.gather(*readers)


def write(config: Mapping[str, Any] | str, folder: Path, name: str = "mirror.yaml") -> str:
    """Write a configuration file, which is YAML if it is text; return its path."""
    file = folder / name
    file.write_text(config if isinstance(config, str) else json.dumps(config), encoding="utf-8")
    return str(file)


def configuration(registry: FakeRegistry, tokens: FakeTokenService, folder: Path, **overrides: Any) -> dict[str, Any]:
    """A configuration with the fake registry as Docker Hub and a cache in this folder, on free ports."""
    return {
        "listen": "127.0.0.1:0",
        "admin": {"listen": "127.0.0.1:0"},
        "cache": {"path": str(folder / "cache")},
        "upstreams": {"docker.io": docker_io(registry, tokens)},
        **overrides,
    }


async def _start(
    arguments: tuple[str, ...], folder: Path, environment: Mapping[str, str] | None
) -> asyncio.subprocess.Process:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MIRROR_")}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "mirror",
        *arguments,
        cwd=folder,
        env={**inherited, **(environment or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=1024 * 1024,
    )

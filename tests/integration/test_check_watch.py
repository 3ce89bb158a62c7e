"""`mirror check --watch`, as a process of its own: on a terminal, into a pipe, and as JSON."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from mirror.cli import commands
from tests.fakes import content
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.integration.command import write
from tests.integration.waiting import until


class Watching:
    """A `mirror check alpine --watch`, and all that it has written to its standard output."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.written = ""

    @property
    def lines(self) -> list[str]:
        return self.written.splitlines()

    async def shows(self, text: str) -> None:
        """Wait until it has written this."""
        await until(lambda: text in self.written, f"it shows {text!r}", explain=lambda: self.written)

    async def ends(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(number)
        async with asyncio.timeout(45):
            return await self.process.wait()


@asynccontextmanager
async def watching(folder: Path, *options: str, terminal: bool = False) -> AsyncIterator[Watching]:
    """Watch the configuration in `folder` with a round a second."""
    ours, theirs = os.openpty() if terminal else os.pipe()
    if terminal:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 160, 0, 0))
    command = (sys.executable, "-m", "mirror", "check", "alpine", "--watch", "--every", "1s", *options)
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, stdout=theirs, stderr=asyncio.subprocess.PIPE)
    os.close(theirs)
    watch, loop = Watching(process), asyncio.get_running_loop()

    def read() -> None:
        try:
            data = os.read(ours, 65536)
        except OSError:  # a terminal whose other end is closed
            data = b""
        watch.written += data.decode()
        if not data:
            loop.remove_reader(ours)

    loop.add_reader(ours, read)
    try:
        yield watch
    finally:
        loop.remove_reader(ours)
        os.close(ours)
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
def folder(registry: FakeRegistry, other_registry: FakeRegistry, tmp_path: Path) -> Path:
    """A folder with the configuration of Docker Hub, which is "other", and an accelerator."""
    for one in (registry, other_registry):
        one.add_image("library/alpine", "latest", content.image(layers=1))
    upstream = {"endpoints": [registry.url, other_registry.url], "private_network": True}
    written = Path(write({"upstreams": {"docker.io": upstream}}, tmp_path))
    written.rename(tmp_path / "config.yaml")
    return tmp_path


async def test_into_a_pipe_it_writes_a_line_for_each_change(folder: Path, registry: FakeRegistry) -> None:
    async with watching(folder) as watch:
        await until(lambda: len(watch.lines) == 2, "there is a line for each endpoint")
        assert all(": usable; took 0." in line for line in watch.lines)
        await registry.stop()
        await watch.shows(f"docker.io {registry.url}: connect failed, usable for ")
        await registry.start()
        await watch.shows(f"docker.io {registry.url}: usable again, after ")
        assert await watch.ends() == 0
        assert len(watch.lines) == 4


async def test_the_exit_code_is_that_of_the_last_round(folder: Path, registry: FakeRegistry) -> None:
    async with watching(folder) as watch:
        await watch.shows("usable; took")
        await registry.stop()
        await watch.shows("connect failed")
        assert await watch.ends(signal.SIGTERM) == 1


async def test_on_a_terminal_it_draws_a_table_anew(folder: Path, registry: FakeRegistry) -> None:
    async with watching(folder, terminal=True) as watch:
        await watch.shows("2 endpoints: all good; tried every 1 s")
        assert "in use" in watch.written
        await registry.stop()
        await watch.shows("2 endpoints: 1 failed; tried every 1 s")
        assert await watch.ends() == 1
        await until(lambda: "\x1b[?1049l" in watch.written, "the terminal is given back")
        await until(lambda: watch.lines[-1].endswith("1 failed; tried every 1 s"), "the last table is left behind")
        left = watch.written.partition("\x1b[?1049l")[2]
        assert f"docker.io  {registry.url}  connect failed" in left
        assert "\x1b" not in left


async def test_as_json_each_round_is_a_line(folder: Path) -> None:
    async with watching(folder, "--json") as watch:
        await until(lambda: watch.written.count("\n") >= 2, "there are two rounds")
        assert await watch.ends() == 0
        documents = [json.loads(line) for line in watch.lines]
    assert all(document["ok"] and document["at"] for document in documents)
    assert {len(document["endpoints"]) for document in documents} == {2}


async def test_who_interrupts_the_first_round_has_no_result(
    folder: Path, registry: FakeRegistry, journal: Journal
) -> None:
    registry.hang()
    async with watching(folder) as watch:
        await journal.wait_for(path="/v2/", host="registry")
        assert await watch.ends() == 130
        assert watch.process.stderr is not None
        assert await watch.process.stderr.read() == b"mirror: interrupted\n"
        assert watch.written == ""
    registry.resume()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--every", "5s"), "--every is for --watch"),
        (("--watch", "--every", "0.5s"), "Invalid value for --every: at least 1s"),
        (("--watch", "--every", "0s"), "Invalid value for --every: at least 1s"),
        (("--watch", "--every", "5"), "Invalid value for --every: a duration is a number with a unit"),
        (("--watch", "--timeout", "0s"), "Invalid value for --timeout: some time is needed"),
    ],
)
def test_wrong_usage(options: tuple[str, ...], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(commands, ["check", *options])
    assert result.exit_code == 2, result.output
    assert complaint in result.stderr

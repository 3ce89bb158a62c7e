"""`mirror warm` as an operator meets it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mirror.cli import commands
from tests.fakes import content, faults
from tests.fakes.gate import Gate
from tests.fakes.registry import FakeRegistry
from tests.integration.command import Finished, run, write
from tests.integration.conftest import StartMirror
from tests.integration.waiting import until_metric

IMAGE = content.image(layers=1, size=2048, seed="image")
NAME = "docker.io/library/alpine:3.20"
COMPOSE = """
services:
  web: {image: "alpine:${TAG:-3.20}"}
  app: {build: .}
"""


@pytest.fixture(autouse=True)
def images(registry: FakeRegistry) -> None:
    """An image of one platform, and none of another name."""
    registry.add_image("library/alpine", "3.20", content.index(IMAGE))
    registry.absent("/v2/library/nothing/*")


async def test_images_are_warmed_and_told_line_by_line(start_mirror: StartMirror, tmp_path: Path) -> None:
    async with start_mirror() as mirror:
        arguments = ("--server", mirror.admin_url, "--platform", "linux/amd64", "alpine:3.20")
        first = await run("warm", *arguments, folder=tmp_path)
        line, summary = first.stdout.splitlines()
        assert (first.code, first.stderr) == (0, "")
        assert line == f"warmed         {NAME}: 3.2 KiB of 3.2 KiB fetched"
        assert summary == "1 image: 1 warmed, 3.2 KiB fetched"
        second = await run("warm", *arguments, folder=tmp_path)
        assert second == Finished(0, f"already there  {NAME}: 3.2 KiB\n1 image: 1 already there, 0 B fetched\n", "")


async def test_what_fails_is_told_with_its_reason_and_is_the_exit_code(
    start_mirror: StartMirror, tmp_path: Path
) -> None:
    listed = write("nothing:1\nUPPER\n# more\nalpine:3.20 # ours\n", tmp_path, "images.txt")
    async with start_mirror() as mirror:
        arguments = ("--server", mirror.admin_url, "--platform", "all", "--from", listed)
        ended = await run("warm", *arguments, folder=tmp_path)
        assert (ended.code, ended.stderr) == (1, "")
        *lines, summary = ended.stdout.splitlines()
        assert lines[0].startswith(f"failed         UPPER: in {listed}: a repository name is")
        assert "failed         docker.io/library/nothing:1: upstream does not have it" in lines
        assert summary == "3 images: 1 warmed, 2 failed, 3.2 KiB fetched"
        document = json.loads((await run("warm", "--json", *arguments, folder=tmp_path)).stdout)
        outcomes = {image["image"]: image["outcome"] for image in document["images"]}
        assert outcomes == {"UPPER": "failed", "docker.io/library/nothing:1": "failed", NAME: "present"}


def run_here(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> Finished:
    """Run a command that asks nobody, in this process and this folder."""
    with contextlib.chdir(folder):
        result = CliRunner().invoke(commands, ["warm", *arguments], env=environment)
    return Finished(result.exit_code, result.stdout, result.stderr)


def test_a_dry_run_lists_what_files_name_and_needs_no_mirror(tmp_path: Path) -> None:
    compose = write(COMPOSE, tmp_path, "compose.yaml")
    docker = write("FROM golang:1.22 AS b\nFROM alpine:3.20\nCOPY --from=b / /\n", tmp_path, "Dockerfile")
    assert run_here(tmp_path, "--dry-run", "redis", "--from", compose, "--from", docker) == Finished(
        0,
        "redis\nalpine:3.20\ngolang:1.22\n",
        f"mirror: {compose}: service app is built, not pulled: give its Dockerfile, --from ./Dockerfile\n",
    )
    ended = run_here(tmp_path, "--dry-run", "--json", "--from", compose, environment={"TAG": "latest"})
    assert json.loads(ended.stdout)["images"] == ["alpine:latest"]
    listed = write("UPPER\n", tmp_path, "images.txt")
    ended = run_here(tmp_path, "--dry-run", "--from", listed)
    assert (ended.code, ended.stdout) == (1, "")
    assert "UPPER" in ended.stderr
    nothing = write("# none yet\n", tmp_path, "none.txt")
    ended = run_here(tmp_path, "--dry-run", "--from", nothing)
    assert ended == Finished(0, "", f"mirror: {nothing}: no image is named in it\n")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "name images"),
        (("UPPER",), "a repository name is"),
        (("a", "--as", "list"), "--as is for --from"),
        (("a", "--platform", "linux"), "a platform is os/architecture"),
        (("--from", "nowhere"), "nowhere: it cannot be read: no such file or directory"),
        (("--from", "images", "--as", "compose"), "images: it has no services"),
        (("a", "--server", "ftp://x"), "a mirror is at http"),
    ],
)
def test_wrong_usage_is_told_before_anybody_is_asked(tmp_path: Path, arguments: tuple[str, ...], reason: str) -> None:
    write("alpine\n", tmp_path, "images")
    ended = run_here(tmp_path, *arguments)
    assert (ended.code, ended.stdout) == (2, "")
    assert reason in ended.stderr


async def test_without_a_mirror_it_is_one_sentence(tmp_path: Path, unused_tcp_port: int) -> None:
    ended = await run("warm", "alpine", "--server", f"http://127.0.0.1:{unused_tcp_port}", folder=tmp_path)
    assert (ended.code, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"mirror: no mirror answers at 127.0.0.1:{unused_tcp_port} (connection refused)")


async def test_an_interruption_is_told_and_what_is_on_its_way_comes(
    start_mirror: StartMirror, registry: FakeRegistry, tmp_path: Path
) -> None:
    gate = Gate()
    registry.fault(f"/v2/library/alpine/blobs/{IMAGE.layers[0].digest}", faults.hold(gate))
    async with start_mirror() as mirror:
        arguments = ("warm", "alpine:3.20", "--platform", "linux/amd64", "--server", mirror.admin_url)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "mirror",
            *arguments,
            cwd=tmp_path,
            env=dict(os.environ),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        await gate.reached()
        process.send_signal(signal.SIGINT)
        stdout, stderr = await asyncio.wait_for(process.communicate(), 45)
        gate.open()
        assert (process.returncode, stdout) == (130, b"")
        assert stderr == b"mirror: interrupted; 1 image not done, what is on its way is fetched all the same\n"
        await until_metric(mirror, "mirror_fills_in_flight", 0)


async def test_a_mirror_that_goes_away_meanwhile_is_told(tmp_path: Path) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        line = b'{"event": "progress", "images": []}\n'
        writer.write(head + f"{len(line):x}\r\n".encode() + line + b"\r\n5\r\n{")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        ended = await run("warm", "alpine", "--server", f"http://127.0.0.1:{port}", folder=tmp_path)
    assert ended == Finished(1, "", f"mirror: the mirror at 127.0.0.1:{port} went away before all was done\n")

"""`mirror ls`, `show`, `pin`, `unpin` and `purge` as an operator meets them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import content
from tests.fakes.registry import FakeRegistry
from tests.integration.command import Finished, configuration, run, write
from tests.integration.conftest import StartMirror
from tests.integration.steering import pull

IMAGE = content.image(layers=2, seed="image")
NAME = "docker.io/library/alpine:3.20"


async def told(folder: Path, *arguments: str) -> Finished:
    """Run a command, with the configuration there is by default."""
    return await run(*arguments, folder=folder)


async def test_an_image_from_its_listing_to_its_end(
    registry: FakeRegistry, start_mirror: StartMirror, tmp_path: Path
) -> None:
    registry.add_image("library/alpine", "3.20", content.index(IMAGE))
    async with start_mirror() as mirror:
        await pull(mirror, "3.20", IMAGE)
        server = ("--server", mirror.admin_url)
        listed = await told(tmp_path, "ls", *server)
        head, row, empty, last = listed.stdout.splitlines()
        assert head.split() == ["IMAGE", "DIGEST", "SIZE", "UNSHARED", "USED", "PULL", "PIN"]
        assert row.startswith(f"{NAME}  {content.index(IMAGE).digest[7:19]}  ")
        assert (empty, last) == ("", "1 image")
        shown = await told(tmp_path, "show", "alpine:3.20", *server)
        assert "  pull    hit: upstream has vouched for the tag lately: it is not asked" in shown.stdout.splitlines()
        assert "  linux/amd64 " in shown.stdout
        pinned = await told(tmp_path, "pin", "alpine:3.20", *server)
        assert pinned == Finished(0, f"pinned {NAME}\n", "")
        refused = await told(tmp_path, "purge", "alpine:3.20", *server)
        assert refused == Finished(1, "", f"mirror: {NAME} is pinned: unpin it first\n")
        assert (await told(tmp_path, "unpin", "alpine:3.20", *server)).code == 0
        purged = await told(tmp_path, "purge", "alpine", "--all-tags", "--json", *server)
        assert json.loads(purged.stdout)["images"] == [NAME]
        assert (await told(tmp_path, "show", "alpine:3.20", *server)).code == 1


async def test_a_pin_of_what_is_not_cached_is_seen(start_mirror: StartMirror, tmp_path: Path) -> None:
    async with start_mirror() as mirror:
        server = ("--server", mirror.admin_url)
        await told(tmp_path, "pin", "alpine:3.20", *server)
        assert (await told(tmp_path, "ls", *server)).stdout == f"pinned, not cached yet: {NAME}\n\n0 images\n"
        assert json.loads((await told(tmp_path, "ls", "--json", *server)).stdout)["pins_not_cached"] == [NAME]
        assert (await told(tmp_path, "ls", "nginx", *server)).stdout == "0 images\n"
        await told(tmp_path, "unpin", "alpine:3.20", *server)
        assert (await told(tmp_path, "ls", *server)).stdout == "0 images\n"


@pytest.mark.parametrize("command", ["ls", "show"])
async def test_without_a_mirror_it_is_one_sentence(
    registry: FakeRegistry, token_service: Any, tmp_path: Path, unused_tcp_port: int, command: str
) -> None:
    admin = {"listen": f"0.0.0.0:{unused_tcp_port}"}
    config = write(configuration(registry, token_service, tmp_path, admin=admin), tmp_path)
    ended = await told(tmp_path, command, "--config", config, *(["alpine"] if command == "show" else []))
    assert (ended.code, ended.stdout) == (1, "")
    assert ended.stderr == (
        f"mirror: no mirror answers at 127.0.0.1:{unused_tcp_port} (connection refused): this needs the one that runs"
        " (`admin.listen`, or --server URL)\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "UPPER"),
        ("ls", "a" * 10_000),
        ("purge", "alpine:3.20", "--all-tags"),
        ("ls", "--server", "ftp://x"),
        ("pin",),
    ],
)
async def test_wrong_usage_is_told_before_anybody_is_asked(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ended = await told(tmp_path, *arguments)
    assert (ended.code, ended.stdout) == (2, "")


async def test_a_token_that_cannot_be_read_is_a_wrong_configuration(tmp_path: Path) -> None:
    config = write("admin: {token_file: nowhere}", tmp_path)
    ended = await told(tmp_path, "ls", "--config", config)
    assert (ended.code, ended.stdout) == (78, "")
    assert ended.stderr == "mirror: admin.token_file: cannot be read: No such file or directory\n"

"""`mirror setup` as an operator meets it: what it prints and where, what it writes, and how it says no."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from mirror.cli import commands
from tests.integration.command import run

CLIENTS = ("docker", "containerd", "podman", "buildkit", "k3s")


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration but what a test makes."""
    for name in list(os.environ):
        if name.startswith("MIRROR_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Another system's root."""
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def setup(*arguments: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(commands, ["setup", *arguments])


def files(root: Path) -> dict[str, str]:
    """Return all files below a root."""
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("client", CLIENTS)
def test_what_is_printed_is_what_is_written(client: str, root: Path) -> None:
    printed = setup(client)
    assert printed.exit_code == 0
    assert setup(client, "--write", "--root", str(root)).exit_code == 0
    assert set(files(root).values()) == {printed.stdout}
    for path in files(root):
        assert f"/{path}" in printed.stderr


@pytest.mark.parametrize("client", CLIENTS)
def test_writing_twice_changes_nothing(client: str, root: Path) -> None:
    setup(client, "--write", "--root", str(root))
    before = files(root)
    again = setup(client, "--write", "--root", str(root))
    assert again.exit_code == 0
    assert [line.partition(" ")[0] for line in again.stdout.splitlines()] == ["unchanged"] * len(before)
    assert files(root) == before


@pytest.mark.parametrize("client", CLIENTS)
def test_where_the_mirror_is(client: str) -> None:
    assert "http://127.0.0.1:5000" in setup(client).stdout.replace('"127.0.0.1', '"http://127.0.0.1')
    assert "--url" in setup(client).stderr
    given = setup(client, "--url", "http://cache.lan:5001")
    assert "cache.lan:5001" in given.stdout
    assert "127.0.0.1" not in given.stdout
    Path("config.yaml").write_text("listen: 10.9.8.7:5002")
    assert "10.9.8.7:5002" in setup(client).stdout


def test_the_configuration_says_which_registries_there_are() -> None:
    Path("config.yaml").write_text("upstreams: {docker.io: , registry.gitlab.com: }")
    tables = tomllib.loads(setup("podman").stdout)["registry"]
    assert [table["location"] for table in tables] == ["docker.io", "registry.gitlab.com"]
    assert yaml.safe_load(setup("k3s").stdout)["mirrors"].keys() == {"docker.io", "registry.gitlab.com"}


def test_a_root_that_is_not_there_is_made(tmp_path: Path) -> None:
    root = tmp_path / "image/root"
    assert setup("docker", "--write", "--root", str(root)).exit_code == 0
    assert set(files(root)) == {"etc/docker/daemon.json"}


def test_an_existing_file_is_merged_and_kept(root: Path) -> None:
    daemon = root / "etc/docker/daemon.json"
    daemon.parent.mkdir(parents=True)
    daemon.write_text('{"log-driver": "local"}')
    result = setup("docker", "--write", "--root", str(root))
    assert result.stdout == f"wrote {daemon} (before: daemon.json.bak1)\n"
    assert json.loads(daemon.read_text()) == {"log-driver": "local", "registry-mirrors": ["http://127.0.0.1:5000"]}
    assert daemon.with_name("daemon.json.bak1").read_text() == '{"log-driver": "local"}'


def test_what_cannot_be_read_is_left_alone(root: Path) -> None:
    daemon = root / "etc/docker/daemon.json"
    daemon.parent.mkdir(parents=True)
    daemon.write_text("{broken")
    result = setup("docker", "--write", "--root", str(root))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"mirror: {daemon} is not JSON (")
    assert files(root) == {"etc/docker/daemon.json": "{broken"}


def test_podmans_other_files_have_their_say(root: Path) -> None:
    conf = root / "etc/containers/registries.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text('[[registry]]\nlocation = "quay.io"\n')
    result = setup("podman", "--write", "--root", str(root))
    assert result.exit_code == 1
    assert f"{conf} has its own [[registry]] for quay.io" in result.stderr
    assert len(files(root)) == 1


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_that_is_not_there(client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("mirror.cli.setup.command._PLACES", "/nowhere")
    result = setup(client, "--write")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"mirror: {client} is not installed here (there is no ")
    assert len(result.stderr.splitlines()) == 1
    assert setup(client).exit_code == 0


def test_docker_needs_docker_hub_to_be_the_default() -> None:
    Path("config.yaml").write_text("default_upstream: ghcr.io\nupstreams: {docker.io: , ghcr.io: }")
    result = setup("docker")
    assert result.exit_code == 1
    assert "default_upstream is ghcr.io" in result.stderr
    assert setup("docker", "--all-registries").exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("helm",),
        ("Docker",),
        ("docker", "podman"),
        ("docker", "--url", "cache.lan"),
        ("docker", "--url", "http://user:hunter2@cache.lan"),
        ("docker", "--root", "."),
        ("docker", "--write", "--root", "config.yaml"),
        ("podman", "--all-registries"),
        ("docker", "--json"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    Path("config.yaml").write_text("")
    result = setup(*arguments)
    assert result.exit_code == 2
    assert "hunter2" not in result.output
    assert "Traceback" not in result.output


def test_an_open_port_needs_a_url() -> None:
    Path("config.yaml").write_text("listen: 127.0.0.1:0")
    assert setup("docker").exit_code == 2
    assert setup("docker", "--url", "http://cache.lan:5000").exit_code == 0


async def test_a_bad_configuration_is_78(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("listen: x")
    done = await run("setup", "docker", folder=tmp_path)
    assert (done.code, done.stdout) == (78, "")
    assert done.stderr.startswith("mirror: listen: ")

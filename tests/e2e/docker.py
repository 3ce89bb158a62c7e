"""A Docker daemon of the tests' own that knows one registry mirror, and can reach nothing else."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

from .own_mounts import own_mounts
from .own_mounts import why_not as no_mounts
from .process import Service
from .setup import set_up

PULL_DEADLINE = 120  # seconds until a pull counts as hanging


class DockerError(Exception):
    """A docker command failed; the message is what it printed."""


class DockerDaemon(Service):
    """dockerd with an empty image store; `mirror` is the only registry it asks before Docker Hub."""

    def __init__(self, directory: Path, mirror: str) -> None:
        directory.mkdir()
        # Sockets have short paths: the kernel takes 107 characters.
        self._runtime = Path(tempfile.mkdtemp(prefix="dockerd-"))
        self._data = directory / "data"
        settings = directory / "root" / "etc" / "docker"
        settings.mkdir(parents=True)
        (settings / "daemon.json").write_text(json.dumps(self._configuration()))
        set_up("docker", directory / "root", "--url", mirror)
        super().__init__(
            [*own_mounts(directory, {Path("/etc/docker"): settings}), "dockerd"],
            directory / "log",
            lambda: self._docker("version").returncode == 0,
        )

    def pull(self, image: str) -> None:
        """Pulls an image by its Docker Hub name; raises DockerError with the daemon's words."""
        self._run("pull", image)

    def remove(self, image: str) -> None:
        """Removes an image with its layers: the next pull has to fetch them again."""
        self._run("rmi", "--force", image)
        assert not self._run("image", "ls", "--quiet", "--all").strip(), "another image keeps layers"

    def image_id(self, image: str) -> str:
        """The id of a pulled image: the digest of its config."""
        return str(self._inspect(image)["Id"])

    def layers(self, image: str) -> tuple[str, ...]:
        """The digests of the unpacked layers of a pulled image."""
        root = cast(dict[str, list[str]], self._inspect(image)["RootFS"])
        return tuple(root["Layers"])

    def repository_digests(self, image: str) -> list[str]:
        """`repository@digest` of the manifest or index that a pulled image came from."""
        return cast(list[str], self._inspect(image)["RepoDigests"])

    def architecture(self) -> str:
        """What the daemon picks from an index."""
        return self._run("version", "--format", "{{.Server.Arch}}").strip()

    def fell_back(self) -> bool:
        """Whether the daemon has ever turned from the mirror to Docker Hub."""
        return "Attempting next endpoint" in self.log_text()

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        shutil.rmtree(self._runtime, ignore_errors=True)
        shutil.rmtree(self._data, ignore_errors=True)

    def _configuration(self) -> dict[str, object]:
        return {
            "storage-driver": "vfs",
            "bridge": "none",
            "iptables": False,
            "ip6tables": False,
            "debug": True,
            "data-root": str(self._data),
            "exec-root": str(self._runtime / "exec"),
            "pidfile": str(self._runtime / "pid"),
            "hosts": [self._socket],
        }

    @property
    def _socket(self) -> str:
        return f"unix://{self._runtime}/socket"

    def _inspect(self, image: str) -> dict[str, object]:
        return cast(list[dict[str, object]], json.loads(self._run("image", "inspect", image)))[0]

    def _run(self, *arguments: str) -> str:
        done = self._docker(*arguments)
        if done.returncode:
            raise DockerError(f"docker {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def _docker(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [_client(), "--host", self._socket, *arguments],
            capture_output=True,
            text=True,
            timeout=PULL_DEADLINE,
            check=False,
            env={**os.environ, "DOCKER_CONFIG": str(self._runtime)},
        )


StartDocker = Callable[[str], DockerDaemon]


def why_not() -> str | None:
    """Why this machine cannot run a Docker daemon, or None."""
    for program in ("dockerd", "containerd", "runc", "docker"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    return no_mounts()


def _client() -> str:
    """The client that came with the daemon, if there are several."""
    return shutil.which("docker", path="/usr/bin") or "docker"

"""A Docker daemon of the tests' own that knows one registry mirror, and can reach nothing else."""

import functools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

from .process import Service

HUB = "docker.io index.docker.io registry-1.docker.io auth.docker.io production.cloudflare.docker.com"
NOWHERE = "127.0.0.3"  # nothing listens there
PULL_DEADLINE = 120  # seconds until a pull counts as hanging

# dockerd must not find Docker Hub: it sees its own /etc/hosts and /etc/resolv.conf.
IN_OWN_MOUNTS = 'mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/resolv.conf && shift 2 && exec "$@"'


class DockerError(Exception):
    """A docker command failed; the message is what it printed."""


class DockerDaemon(Service):
    """dockerd with an empty image store; `mirror` is the only registry it asks before Docker Hub."""

    def __init__(self, directory: Path, mirror: str) -> None:
        directory.mkdir()
        # Sockets have short paths: the kernel takes 107 characters.
        self._runtime = Path(tempfile.mkdtemp(prefix="dockerd-"))
        self._data = directory / "data"
        (directory / "daemon.json").write_text(json.dumps(self._configuration(mirror)))
        super().__init__(
            [*_own_mounts(directory), "dockerd", "--config-file", directory / "daemon.json"],
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

    def _configuration(self, mirror: str) -> dict[str, object]:
        return {
            "registry-mirrors": [mirror],
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


@functools.cache
def why_not() -> str | None:
    """Why this machine cannot run a Docker daemon, or None."""
    if os.geteuid() != 0:
        return "dockerd needs root"
    for program in ("dockerd", "containerd", "runc", "docker", "unshare"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        return "this machine allows no mount namespace"
    return None


def _client() -> str:
    """The client that came with the daemon, if there are several."""
    return shutil.which("docker", path="/usr/bin") or "docker"


def _own_mounts(directory: Path) -> list[str | Path]:
    """What starts a command so that Docker Hub's names lead nowhere."""
    hosts, resolver = directory / "hosts", directory / "resolv.conf"
    hosts.write_text(f"127.0.0.1 localhost\n{NOWHERE} {HUB}\n")
    resolver.write_text(f"nameserver {NOWHERE}\n")
    return ["unshare", "-m", "sh", "-c", IN_OWN_MOUNTS, "sh", hosts, resolver]

"""Podman with a store of its own, to which one mirror is all there is of Docker Hub."""

import functools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Self, cast
from urllib.parse import urlsplit

from .skopeo import ACCEPT_ANYTHING

DEADLINE = 120  # seconds until a pull counts as hanging
REGISTRIES = """
unqualified-search-registries = []
[[registry]]
prefix = "docker.io"
location = "{mirror}"
insecure = true
"""
# Locks and networks would otherwise be the machine's own.
CONFIGURATION = """
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
[network]
network_config_dir = "{directory}/networks"
"""


class PodmanError(Exception):
    """A podman command failed; the message is what it printed."""


class Podman:
    """Pulls images into an empty store; needs no service and starts none."""

    def __init__(self, directory: Path, mirror: str) -> None:
        directory.mkdir()
        policy, registries = directory / "policy.json", directory / "registries.conf"
        policy.write_text(json.dumps(ACCEPT_ANYTHING))
        registries.write_text(REGISTRIES.format(mirror=urlsplit(mirror).netloc))
        configuration = directory / "containers.conf"
        configuration.write_text(CONFIGURATION.format(directory=directory))
        self._policy = policy
        # Podman takes no run folder with a path of more than 50 characters.
        self._runtime = Path(tempfile.mkdtemp(prefix="podman-"))
        self._store = directory / "store"
        self._environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(directory),
            "XDG_RUNTIME_DIR": str(directory),
            "TMPDIR": str(directory),
            "CONTAINERS_CONF": str(configuration),
            "CONTAINERS_REGISTRIES_CONF": str(registries),
        }
        self._command = [
            "podman",
            f"--root={self._store}",
            f"--runroot={self._runtime}",
            f"--tmpdir={self._runtime / 'libpod'}",
            "--storage-driver=vfs",
        ]

    def pull(self, image: str) -> None:
        """Pulls an image by its Docker Hub name; raises PodmanError with podman's words."""
        self._run("pull", f"--signature-policy={self._policy}", f"docker.io/{image}")

    def image_id(self, image: str) -> str:
        """The id of a pulled image: the digest of its config."""
        return f"sha256:{self._inspect(image)['Id']}"

    def layers(self, image: str) -> tuple[str, ...]:
        """The digests of the unpacked layers of a pulled image."""
        root = cast(dict[str, list[str]], self._inspect(image)["RootFS"])
        return tuple(root["Layers"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        shutil.rmtree(self._runtime, ignore_errors=True)
        shutil.rmtree(self._store, ignore_errors=True)

    def _inspect(self, image: str) -> dict[str, object]:
        found = self._run("image", "inspect", f"docker.io/{image}")
        return cast(list[dict[str, object]], json.loads(found))[0]

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._command, *arguments],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
            env=self._environment,
        )
        if done.returncode:
            raise PodmanError(f"podman {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout


StartPodman = Callable[[str], Podman]


@functools.cache
def why_not() -> str | None:
    """Why this machine cannot run podman, or None."""
    if os.geteuid() != 0:
        return "podman needs root, or subordinate ids that nobody has set up"
    return None if shutil.which("podman") else "podman is not installed"

"""Podman with a store of its own, to which one mirror is all there is of the registries."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Self, cast

from . import containers_conf

DEADLINE = 120  # seconds until a pull counts as hanging


class PodmanError(Exception):
    """A podman command failed; the message is what it printed."""


class Podman:
    """Pulls images into an empty store; needs no service and starts none."""

    def __init__(self, directory: Path, mirror: str) -> None:
        directory.mkdir()
        # Podman takes no run folder with a path of more than 50 characters.
        self._runtime = Path(tempfile.mkdtemp(prefix="podman-"))
        self._store = directory / "store"
        self._environment = containers_conf.environment(directory)
        self._command = [
            *containers_conf.behind(mirror, directory),
            "podman",
            f"--root={self._store}",
            f"--runroot={self._runtime}",
            f"--tmpdir={self._runtime / 'libpod'}",
            "--storage-driver=vfs",
        ]

    def pull(self, image: str) -> None:
        """Pulls an image by its name with a registry, or by its Docker Hub name; raises PodmanError."""
        self._run("pull", full_name(image))

    def remove(self, image: str) -> None:
        """Removes an image with its layers: the next pull has to fetch them again."""
        self._run("rmi", "--force", full_name(image))
        assert not self._run("images", "--quiet", "--all").strip(), "another image keeps layers"

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
        found = self._run("image", "inspect", full_name(image))
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


def why_not() -> str | None:
    """Why this machine cannot run podman, or None."""
    return containers_conf.why_not("podman")


def full_name(image: str) -> str:
    """The name with its registry, which is Docker Hub if the name has none."""
    return image if "." in image.partition("/")[0] else f"docker.io/{image}"

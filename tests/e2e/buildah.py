"""Buildah with a store of its own, to which one mirror is all there is of the registries."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Self, cast

from . import containers_conf
from .podman import full_name

DEADLINE = 120  # seconds until a pull counts as hanging


class BuildahError(Exception):
    """A buildah command failed; the message is what it printed."""


class Buildah:
    """Pulls base images into an empty store."""

    def __init__(self, directory: Path, mirror: str) -> None:
        directory.mkdir()
        self._store = directory / "store"
        self._environment = containers_conf.environment(directory)
        self._command = [
            *containers_conf.behind(mirror, directory),
            "buildah",
            f"--root={self._store}",
            f"--runroot={directory / 'run'}",
            "--storage-driver=vfs",
        ]

    def pull(self, image: str) -> None:
        """Pulls an image by its name with a registry, or by its Docker Hub name; raises BuildahError."""
        self._run("pull", full_name(image))

    def remove(self, image: str) -> None:
        """Removes an image with its layers: the next pull has to fetch them again."""
        self._run("rmi", "--force", full_name(image))
        assert not self._run("images", "--quiet", "--all").strip(), "another image keeps layers"

    def image_id(self, image: str) -> str:
        """The id of a pulled image: the digest of its config."""
        return f"sha256:{self._inspect(image)['FromImageID']}"

    def layers(self, image: str) -> tuple[str, ...]:
        """The digests of the unpacked layers of a pulled image."""
        config = json.loads(str(self._inspect(image)["Config"]))
        return tuple(cast(list[str], config["rootfs"]["diff_ids"]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        shutil.rmtree(self._store, ignore_errors=True)

    def _inspect(self, image: str) -> dict[str, object]:
        return cast(dict[str, object], json.loads(self._run("inspect", "--type", "image", full_name(image))))

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
            raise BuildahError(f"buildah {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout


def why_not() -> str | None:
    """Why this machine cannot run buildah, or None."""
    return containers_conf.why_not("buildah")

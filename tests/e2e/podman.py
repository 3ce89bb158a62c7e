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
# Parts of layers are fetched only where the driver can put them together, which overlay can.
STORAGE = """
[storage]
driver = "{driver}"
graphroot = "{store}"
runroot = "{runtime}"
[storage.options]
pull_options = {{enable_partial_images = "true"}}
"""


class PodmanError(Exception):
    """A podman command failed; the message is what it printed."""


class Podman:
    """Pulls images into an empty store; needs no service and starts none."""

    def __init__(self, directory: Path, mirror: str, driver: str = "vfs") -> None:
        directory.mkdir()
        # Podman takes no run folder with a path of more than 50 characters.
        self._runtime = Path(tempfile.mkdtemp(prefix="podman-"))
        self._store = directory / "store"
        self._environment = containers_conf.environment(directory)
        start = containers_conf.behind(mirror, directory)
        storage = STORAGE.format(driver=driver, store=self._store, runtime=self._runtime)
        (directory / "root" / "etc" / "containers" / "storage.conf").write_text(storage)
        self._command = [*start, "podman", f"--tmpdir={self._runtime / 'libpod'}"]

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

    def file(self, name: str) -> bytes:
        """A file that only one of all layers in the store has; overlay keeps each as it is unpacked."""
        (found,) = self._store.glob(f"overlay/*/diff/{name}")
        return found.read_bytes()

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


def why_no_parts(directory: Path) -> str | None:
    """Why podman could not keep a store below this folder that is put together of parts of layers, or None."""
    if (obstacle := why_not()) is not None:
        return obstacle
    folders = [directory / name for name in ("lower", "upper", "work", "merged")]
    for folder in folders:
        folder.mkdir(parents=True)
    lower, upper, work, merged = folders
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    mount = ["unshare", "-m", "mount", "-t", "overlay", "overlay", "-o", options, str(merged)]
    done = subprocess.run(mount, capture_output=True, check=False)
    return "this machine mounts no overlays here" if done.returncode else None


def full_name(image: str) -> str:
    """The name with its registry, which is Docker Hub if the name has none."""
    return image if "." in image.partition("/")[0] else f"docker.io/{image}"

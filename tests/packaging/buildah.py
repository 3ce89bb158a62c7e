"""buildah with a store of its own: builds the image as its users do, where no registry can be asked."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from . import base_image

ROOT = Path(__file__).parent.parent.parent
DEADLINE = 170  # seconds until a build counts as hanging
BASE_FILE = 'FROM scratch\nADD base.tar /\nENV PATH=/usr/local/bin:/usr/bin:/bin\nCMD ["python3"]\n'
# pip looks for wheels in one folder, and asks nobody.
PIP_CONF = "[global]\nno-index = true\nfind-links = /wheels\n"


class BuildError(Exception):
    """A build failed; the message is what it printed."""


class Buildah:
    """Builds images without a daemon: steps run in a chroot."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        # Sockets and locks have short paths.
        self._store = Path(tempfile.mkdtemp(prefix="buildah-"))

    def build(self, archive: Path, arguments: Mapping[str, str]) -> None:
        """Builds the repository's Dockerfile on a base of this machine's own and writes a `docker load` archive."""
        wheels, pip_conf = self._directory / "wheels", self._directory / "pip.conf"
        _download(wheels)
        pip_conf.write_text(PIP_CONF)
        self._build_base()
        given = [f"--build-arg={name}={value}" for name, value in {"BASE": "localhost/base", **arguments}.items()]
        secret = f"--secret=id=pip.conf,src={pip_conf}"
        self._bud("mirror", ROOT / "Dockerfile", ROOT, *given, secret, f"--volume={wheels}:/wheels:ro")
        self._run("push", "--quiet", "localhost/mirror", f"docker-archive:{archive}:mirror:test")

    def _build_base(self) -> None:
        folder = self._directory / "base"
        folder.mkdir()
        base_image.write_base(folder / "base.tar")
        (folder / "Dockerfile").write_text(BASE_FILE)
        self._bud("base", folder / "Dockerfile", folder)

    def _bud(self, tag: str, dockerfile: Path, context: Path, *arguments: str) -> None:
        # A health check is nothing that the OCI format knows.
        options = ("--isolation=chroot", "--pull-never", "--format=docker", f"--tag={tag}", f"--file={dockerfile}")
        self._run("bud", *options, *arguments, str(context))

    def _run(self, *arguments: str) -> None:
        _checked(["buildah", f"--root={self._store}/root", f"--runroot={self._store}/run", *arguments])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        shutil.rmtree(self._store, ignore_errors=True)


def why_not() -> str | None:
    """Why this machine cannot build images, or None."""
    if os.geteuid() != 0:
        return "buildah needs root, or subordinate ids that nobody has set up"
    return base_image.why_not() if shutil.which("buildah") else "buildah is not installed"


def _download(wheels: Path) -> None:
    """Fetches what the lock files name, as this machine's pip is set up to."""
    locks = [f"--requirement={ROOT / 'requirements' / name}" for name in ("run.txt", "build.txt")]
    options = ("--quiet", "--no-deps", "--require-hashes", f"--dest={wheels}")
    _checked([sys.executable, "-m", "pip", "download", *options, *locks])


def _checked(command: list[str]) -> None:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=DEADLINE, check=False
    )
    if done.returncode:
        raise BuildError(f"{' '.join(command)}:\n{done.stdout[-4000:]}")

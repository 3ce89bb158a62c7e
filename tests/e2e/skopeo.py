"""Skopeo with a configuration of its own: no signatures, and no TLS, or else one mirror of all registries."""

import json
import subprocess
from pathlib import Path
from typing import cast

from . import containers_conf

DEADLINE = 120  # seconds until a copy counts as hanging


class SkopeoError(Exception):
    """A skopeo command failed; the message is what it printed."""


class Skopeo:
    """Copies and inspects images as containers/image, and so Podman and Buildah, do."""

    def __init__(self, directory: Path, mirror: str | None = None) -> None:
        directory.mkdir()
        self._environment = containers_conf.environment(directory)
        start = containers_conf.behind(mirror, directory) if mirror else containers_conf.alone(directory)
        self._command: list[str | Path] = [*start, "skopeo"]
        # Behind a mirror what is said of TLS is what the mirror's setup has said.
        self._tls = [] if mirror else ["tls-verify=false"]

    def copy(self, source: str, target: str, *options: str) -> None:
        """Copies one image; raises SkopeoError with skopeo's words."""
        self._run("copy", *(f"--src-{option}" for option in self._tls), "--preserve-digests", *options, source, target)

    def inspect(self, source: str, *options: str) -> dict[str, object]:
        """What `skopeo inspect` tells of an image."""
        found = self._run("inspect", *(f"--{option}" for option in self._tls), *options, source)
        return cast(dict[str, object], json.loads(found))

    def list_tags(self, repository: str) -> list[str]:
        """The tags that `skopeo list-tags` lists."""
        found = json.loads(self._run("list-tags", *(f"--{option}" for option in self._tls), repository))
        return cast(list[str], found["Tags"])

    def raw(self, source: str) -> bytes:
        """The bytes of a manifest or index, as `skopeo inspect --raw` prints them."""
        return self._run("inspect", "--tls-verify=false", "--raw", source).encode()

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
            raise SkopeoError(f"skopeo {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout


def why_not() -> str | None:
    """Why this machine cannot run skopeo, or None."""
    return containers_conf.why_not("skopeo")

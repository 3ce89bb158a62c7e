"""Skopeo with a configuration of its own: no system registries, no signatures, no TLS."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import cast

DEADLINE = 120  # seconds until a copy counts as hanging
ACCEPT_ANYTHING = {"default": [{"type": "insecureAcceptAnything"}]}


class SkopeoError(Exception):
    """A skopeo command failed; the message is what it printed."""


class Skopeo:
    """Copies and inspects images as containers/image, and so Podman and Buildah, do."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        policy, registries = directory / "policy.json", directory / "registries.conf"
        policy.write_text(json.dumps(ACCEPT_ANYTHING))
        registries.write_text("unqualified-search-registries = []\n")
        self._environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(directory),
            "XDG_RUNTIME_DIR": str(directory),
            "TMPDIR": str(directory),
            "CONTAINERS_REGISTRIES_CONF": str(registries),
        }
        self._command = ["skopeo", "--policy", str(policy)]

    def copy(self, source: str, target: str, *options: str) -> None:
        """Copies one image; raises SkopeoError with skopeo's words."""
        self._run("copy", "--src-tls-verify=false", "--preserve-digests", *options, source, target)

    def inspect(self, source: str, *options: str) -> dict[str, object]:
        """What `skopeo inspect` tells of an image."""
        found = self._run("inspect", "--tls-verify=false", *options, source)
        return cast(dict[str, object], json.loads(found))

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
    return None if shutil.which("skopeo") else "skopeo is not installed"

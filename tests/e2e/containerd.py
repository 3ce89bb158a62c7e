"""A containerd of the tests' own, asked by `ctr`; one mirror is all there is of Docker Hub."""

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from .process import Service

PULL_DEADLINE = 120  # seconds until a pull counts as hanging
CONFIGURATION = """
version = 2
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{socket}"
"""
HOSTS = """
server = "{mirror}"
[host."{mirror}"]
capabilities = ["pull", "resolve"]
"""


class CtrError(Exception):
    """A ctr command failed; the message is what it printed."""


class Containerd(Service):
    """containerd with an empty content store; layers are unpacked by plain copies."""

    def __init__(self, directory: Path, mirror: str) -> None:
        (directory / "hosts" / "docker.io").mkdir(parents=True)
        # Sockets have short paths: the kernel takes 107 characters.
        self._runtime = Path(tempfile.mkdtemp(prefix="containerd-"))
        self._root = directory / "root"
        self._hosts = directory / "hosts"
        (self._hosts / "docker.io" / "hosts.toml").write_text(HOSTS.format(mirror=mirror))
        configuration = directory / "config.toml"
        places = {"root": self._root, "state": self._runtime / "state", "socket": self._socket}
        configuration.write_text(CONFIGURATION.format(**places))
        super().__init__(
            ["containerd", "--config", configuration],
            directory / "log",
            lambda: self._ctr("version").returncode == 0,
        )

    def pull(self, image: str) -> None:
        """Pulls and unpacks an image by its Docker Hub name; raises CtrError with ctr's words."""
        self._run("images", "pull", "--hosts-dir", str(self._hosts), "--snapshotter", "native", _name(image))

    def digest(self, image: str) -> str:
        """The digest of the manifest or index that a pulled image came from."""
        lines = self._run("images", "list", f"name=={_name(image)}").decode().splitlines()
        return lines[1].split()[2]

    def content(self, digest: str) -> bytes:
        """The bytes of a manifest, a config or a layer."""
        return self._run("content", "get", digest)

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        shutil.rmtree(self._runtime, ignore_errors=True)
        shutil.rmtree(self._root, ignore_errors=True)

    @property
    def _socket(self) -> Path:
        return self._runtime / "socket"

    def _run(self, *arguments: str) -> bytes:
        done = self._ctr(*arguments)
        if done.returncode:
            raise CtrError(f"ctr {' '.join(arguments)}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def _ctr(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["ctr", "--address", self._socket, *arguments],
            capture_output=True,
            timeout=PULL_DEADLINE,
            check=False,
        )


StartContainerd = Callable[[str], Containerd]


@functools.cache
def why_not() -> str | None:
    """Why this machine cannot run containerd, or None."""
    if os.geteuid() != 0:
        return "containerd needs root"
    missing = [program for program in ("containerd", "ctr") if shutil.which(program) is None]
    return f"{missing[0]} is not installed" if missing else None


def _name(image: str) -> str:
    """The full name: ctr adds nothing to what it is given."""
    return f"docker.io/{image}:latest"

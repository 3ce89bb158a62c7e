"""A containerd of the tests' own, asked by `ctr`; one mirror is all there is of Docker Hub."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from .own_mounts import own_mounts
from .own_mounts import why_not as no_mounts
from .podman import full_name
from .process import Service
from .setup import set_up

PULL_DEADLINE = 120  # seconds until a pull counts as hanging
CONFIGURATION = """
version = 2
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{socket}"
"""


class CtrError(Exception):
    """A ctr command failed; the message is what it printed."""


class Containerd(Service):
    """containerd with an empty content store; layers are unpacked by plain copies."""

    def __init__(self, directory: Path, mirror: str) -> None:
        directory.mkdir()
        # Sockets have short paths: the kernel takes 107 characters.
        self._runtime = Path(tempfile.mkdtemp(prefix="containerd-"))
        self._root = directory / "root"
        self._hosts = directory / "root" / "etc" / "containerd" / "certs.d"
        set_up("containerd", directory / "root", "--url", mirror)
        self._mounts = own_mounts(directory)
        configuration = directory / "config.toml"
        places = {"root": self._root, "state": self._runtime / "state", "socket": self._socket}
        configuration.write_text(CONFIGURATION.format(**places))
        super().__init__(
            ["containerd", "--config", configuration],
            directory / "log",
            lambda: self._ctr("version").returncode == 0,
        )

    def pull(self, image: str, hosts: Path | None = None) -> None:
        """Pulls and unpacks an image; raises CtrError with ctr's words. `hosts` is another folder of hosts.toml."""
        self._run("images", "pull", "--hosts-dir", str(hosts or self._hosts), "--snapshotter", "native", _name(image))

    def remove(self, image: str) -> None:
        """Removes an image with its content: the next pull has to fetch it again."""
        self._run("images", "remove", "--sync", _name(image))
        assert not self._run("content", "list", "--quiet").strip(), "another image keeps content"

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
            [*self._mounts, "ctr", "--address", self._socket, *arguments],
            capture_output=True,
            timeout=PULL_DEADLINE,
            check=False,
        )


StartContainerd = Callable[[str], Containerd]


def why_not() -> str | None:
    """Why this machine cannot run containerd, or None."""
    missing = [program for program in ("containerd", "ctr") if shutil.which(program) is None]
    return f"{missing[0]} is not installed" if missing else no_mounts()


def _name(image: str) -> str:
    """The full name: ctr adds nothing to what it is given."""
    return f"{full_name(image)}:latest"

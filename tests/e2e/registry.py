"""Debian's docker-registry as an upstream: open, behind a password file, or behind a token service."""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import bcrypt

from .images import Image, Index
from .journal import Request
from .process import Service, answers, free_port
from .push import push
from .token_service import SERVICE, TokenService

PROGRAM = "docker-registry"
ACCESS_LINE = re.compile(
    r'"(?P<method>[A-Z]+) (?P<path>/v2/[^\s?]*)(?:\?\S*)? HTTP/1\.1" (?P<status>\d{3}) (?P<size>\d+) '
)


@dataclass(frozen=True)
class Open:
    """Everybody may read and write."""

    def section(self, directory: Path) -> dict[str, object]:
        """The `auth` section of the registry's configuration."""
        return {}


@dataclass(frozen=True)
class Htpasswd:
    """One user, known by a password file."""

    username: str
    password: str

    def section(self, directory: Path) -> dict[str, object]:
        """The `auth` section of the registry's configuration; writes the password file."""
        hashed = bcrypt.hashpw(self.password.encode(), bcrypt.gensalt(4)).decode()
        (directory / "htpasswd").write_text(f"{self.username}:{hashed}\n")
        return {"htpasswd": {"realm": "tests", "path": str(directory / "htpasswd")}}


@dataclass(frozen=True)
class Tokens:
    """Who brings a token of the given service."""

    service: TokenService

    def section(self, directory: Path) -> dict[str, object]:
        """The `auth` section of the registry's configuration; writes the trusted certificate."""
        (directory / "trusted.pem").write_bytes(self.service.key.certificate)
        return {
            "token": {
                "realm": self.service.realm,
                "service": SERVICE,
                "issuer": SERVICE,
                "rootcertbundle": str(directory / "trusted.pem"),
            }
        }


READER = Htpasswd("reader", "correct horse 9f2c")


class RealRegistry(Service):
    """A registry on one port, with its own data folder; it can be stopped, started again and frozen."""

    def __init__(self, directory: Path, auth: Open | Htpasswd | Tokens) -> None:
        directory.mkdir(exist_ok=True)
        self.port = free_port()
        self._directory = directory
        file = directory / f"{self.port}.yml"
        file.write_text(json.dumps(self._configuration(auth.section(directory))))
        super().__init__(
            [PROGRAM, "serve", file],
            file.with_suffix(".log"),
            lambda: answers(f"{self.url}/"),
        )

    @property
    def url(self) -> str:
        """The registry's origin, as an endpoint names it."""
        return f"http://127.0.0.1:{self.port}"

    def fill(self, repository: str, tag: str, image: Image | Index) -> str:
        """Stores an image past the access rules and the journal; returns the digest of the tag."""
        with RealRegistry(self._directory, Open()) as writer:
            return push(writer.url, repository, tag, image)

    def journal(self) -> list[Request]:
        """Every request of the distribution API answered so far, in order."""
        found = ACCESS_LINE.finditer(self.settled_log())
        return [Request(line["method"], line["path"], int(line["status"])) for line in found]

    def sent(self, path: str) -> int:
        """How many bytes of content it has sent for a path so far, in answers whole or partial."""
        found = ACCESS_LINE.finditer(self.settled_log())
        return sum(
            int(line["size"])
            for line in found
            if (line["method"], line["path"]) == ("GET", path) and line["status"] in ("200", "206")
        )

    def _configuration(self, auth: dict[str, object]) -> dict[str, object]:
        return {
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": False}},
            "storage": {"filesystem": {"rootdirectory": str(self._directory / "data")}},
            "http": {"addr": f"127.0.0.1:{self.port}"},
            "auth": auth,
        }


def why_not() -> str | None:
    """Why this machine cannot run a registry, or None."""
    return None if shutil.which(PROGRAM) else f"{PROGRAM} is not installed"

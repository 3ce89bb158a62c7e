"""A token service of the tests' own: its tokens are those that Debian's docker-registry accepts."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from . import token_server
from .process import Service, answers, free_port
from .token_key import TokenKey

SERVICE = "registry.test"  # the name of the registry the tokens are for


class TokenRequest(NamedTuple):
    """One request for a token: the scopes, who asked ("" for nobody), how it was answered."""

    scopes: tuple[str, ...]
    user: str
    status: int


class TokenService(Service):
    """Grants `repository:<name>:pull` to the given users, or to everybody when there are none."""

    def __init__(self, directory: Path, users: Mapping[str, str] | None = None) -> None:
        directory.mkdir()
        self.port = free_port()
        self.key = TokenKey.generate()
        self.key.save(directory)
        settings = token_server.Settings(str(directory), self.port, SERVICE, users or {})
        super().__init__(
            [sys.executable, "-m", token_server.__name__, json.dumps(asdict(settings))],
            directory / "log",
            lambda: answers(self.url),
            {"PYTHONPATH": str(_import_root())},
        )

    @property
    def url(self) -> str:
        """The service's origin."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def realm(self) -> str:
        """Where tokens are to be had, as a challenge names it."""
        return f"{self.url}/token"

    def journal(self) -> list[TokenRequest]:
        """Every request for a token so far, in order."""
        lines = [json.loads(line) for line in self.log_text().splitlines() if line.startswith("{")]
        return [TokenRequest(tuple(line["scopes"]), line["user"], line["status"]) for line in lines]


def _import_root() -> Path:
    """The folder from which a child process imports this package by the name it has here."""
    return Path(__file__).resolve().parents[token_server.__name__.count(".")]

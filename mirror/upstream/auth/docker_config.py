"""Docker's `config.json`: credentials by registry, in the file itself or with a credential helper."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mirror.upstream.auth.credential_helper import CredentialHelper
from mirror.upstream.auth.credentials import Credential, NoCredential, NoEntry

_LARGEST_FILE = 1024 * 1024
_HUB_HOSTS = ("registry-1.docker.io", "index.docker.io", "docker.io")
_HUB_KEY = "https://index.docker.io/v1/"
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class DockerConfig:
    """The credential that a docker configuration has for the registry at `host`, which is `host[:port]`."""

    def __init__(self, path: Path, host: str) -> None:
        self._path = path
        self._host = host

    async def read(self) -> Credential:
        """Return the credential; raises NoCredential if the file has none for this very host, or cannot be read."""
        try:
            data = await asyncio.to_thread(self._path.read_bytes)
        except OSError as error:
            raise NoCredential(f"docker_config cannot be read: {error.strerror}") from None
        found = credential_for(self._host, data)
        return found if isinstance(found, Credential) else await found.read()


def server_name(host: str) -> str:
    """Return what docker calls the registry at `host`, in its configuration and to its helpers."""
    return _HUB_KEY if host in _HUB_HOSTS else host


def credential_for(host: str, data: bytes) -> Credential | CredentialHelper:
    """Return the credential for `host`, or the helper that has it; raises NoCredential.

    As docker does it: a helper for the registry goes before one for all, and that one before the file's own entries.
    """
    document = _parsed(data)
    helper = _entry(document.get("credHelpers"), host) or document.get("credsStore")
    if helper:
        if not isinstance(helper, str) or not _HELPER.fullmatch(helper):
            raise NoCredential("docker_config names a credential helper that is not the name of one")
        return CredentialHelper(helper, server_name(host))
    entry = _entry(document.get("auths"), host)
    if not isinstance(entry, Mapping):
        raise NoEntry(f"docker_config has no credentials for {host}")
    if token := _text(entry, "identitytoken"):
        return Credential("", token, is_identity_token=True)
    username, password = _pair(_text(entry, "auth")) or (_text(entry, "username"), _text(entry, "password"))
    if not username or not password:
        raise NoCredential(f"docker_config has no user name and password for {host}")
    return Credential(username, password)


def _parsed(data: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(data) if len(data) <= _LARGEST_FILE else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, Mapping):
        raise NoCredential("docker_config is not a docker configuration")
    return document


def _entry(section: object, host: str) -> Any:
    """Return what a section says of `host`, None if nothing; a key of a part of a registry is not one of the whole."""
    if not isinstance(section, Mapping):
        return None
    hosts = _HUB_HOSTS if host in _HUB_HOSTS else (host,)
    return next((value for key, value in section.items() if _host_of(key) in hosts), None)


def _host_of(key: str) -> str:
    bare = key.lower().removeprefix("https://").removeprefix("http://")
    host, _, path = bare.partition("/")
    return host if path.strip("/") in ("", "v1", "v2") else ""


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    return value if isinstance(value, str) else ""


def _pair(encoded: str) -> tuple[str, str] | None:
    try:
        username, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    # Docker pads with them.
    return (username, password.strip("\0")) if username else None

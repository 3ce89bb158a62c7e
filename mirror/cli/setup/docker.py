"""Docker: daemon.json for Docker Hub's images, or hosts.toml for all registries where Docker reads it. Pure."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any, NoReturn

from mirror.cli.setup.hosts_toml import DEFAULT, hosts_file
from mirror.cli.setup.needs import CannotSetUp, ClientFile, Needs
from mirror.cli.setup.site import Site
from mirror.proxy.routing import DOCKER_HUB

_PROGRAMS = ("dockerd", "docker")
_DAEMON = PurePosixPath("/etc/docker/daemon.json")
_CERTIFICATES = PurePosixPath("/etc/docker/certs.d")


def docker_hub(site: Site) -> Needs:
    """Return what Docker needs to ask the mirror for Docker Hub's images; raises CannotSetUp.

    It does so without naming Docker Hub, which therefore has to be the mirror's default.
    """
    if site.default != DOCKER_HUB:
        raise CannotSetUp(
            f"Docker does not say that it means Docker Hub, and default_upstream is {site.default}:"
            " say default_upstream: docker.io, or use --all-registries"
        )
    settings = {"registry-mirrors": [str(site.url)]}
    if site.is_plain and not site.is_local:
        settings["insecure-registries"] = [site.authority]
    file = ClientFile(_DAEMON, _text(settings), lambda text: _merged(text, settings))
    note = "Docker asks registry-mirrors for Docker Hub's images only; since Docker 29, see also --all-registries"
    return Needs(_PROGRAMS, (file,), ("restart Docker afterwards: systemctl restart docker", note))


def all_registries(site: Site) -> Needs:
    """Return what Docker with the containerd image store needs to ask the mirror for every registry."""
    notes = (
        "Docker 29 and newer read it, with the containerd image store (docker info: io.containerd.snapshotter.v1);"
        " nothing is to be restarted",
        "it takes the place of registry-mirrors and insecure-registries in daemon.json",
    )
    return Needs(_PROGRAMS, (hosts_file(_CERTIFICATES, DEFAULT, site),), notes)


def _merged(text: str, settings: dict[str, list[str]]) -> str:
    """Return the settings in front of those of the same kind, and everything else as it was."""
    content = _parsed(text) if text.strip() else {}
    changed = False
    for key, values in settings.items():
        known = content.get(key) or []
        if not isinstance(known, list) or not all(isinstance(value, str) for value in known):
            raise CannotSetUp(f"has something else than a list of names as {key}: mend it first")
        missing = [value for value in values if value not in {name.rstrip("/") for name in known}]
        if missing:
            content[key], changed = [*missing, *known], True
    return _text(content) if changed else text


def _parsed(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise CannotSetUp(f"is not JSON ({error}): mend it first") from None
    if not isinstance(content, dict):
        raise CannotSetUp("is JSON, but not an object of settings: mend it first")
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key is there twice")
    return content


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _text(settings: Any) -> str:
    return json.dumps(settings, indent=2, ensure_ascii=False) + "\n"

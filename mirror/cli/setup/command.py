"""`mirror setup`: prints what a client needs, or writes it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from yarl import URL

from mirror.cli.setup.buildkit import buildkit
from mirror.cli.setup.containerd import containerd
from mirror.cli.setup.docker import all_registries, docker_hub
from mirror.cli.setup.k3s import k3s
from mirror.cli.setup.needs import CannotSetUp, Needs
from mirror.cli.setup.podman import podman
from mirror.cli.setup.site import Site, site_of
from mirror.cli.setup.writing import changes, write
from mirror.config import Config

CLIENTS: dict[str, Callable[[Site], Needs]] = {
    "docker": docker_hub,
    "containerd": containerd,
    "podman": podman,
    "buildkit": buildkit,
    "k3s": k3s,
}

_PLACES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for beside PATH, which has no sbin for everybody."""


@dataclass(frozen=True, slots=True)
class Target:
    """Which client is told, where its files go, and whether they are written or printed."""

    client: str
    all_registries: bool = False
    writes: bool = False
    root: Path | None = None


def run(config: Config, url: URL, target: Target) -> int:
    """Print or write what the client needs, and return the exit code."""
    site = site_of(config, url)
    try:
        needs = all_registries(site) if target.all_registries else CLIENTS[target.client](site)
        told = _written(needs, target) if target.writes else _printed(needs)
    except CannotSetUp as error:
        print(f"mirror: {error}", file=sys.stderr)
        return 1
    for note in (*told, *needs.notes, *_about(site)):
        print(f"mirror: {note}", file=sys.stderr)
    return 0


def _printed(needs: Needs) -> list[str]:
    """Print the content, which is the same for all of a client's files, and return where it goes."""
    print(needs.files[0].content, end="")
    return [f"this goes to {', '.join(str(file.path) for file in needs.files)}; --write puts it there"]


def _written(needs: Needs, target: Target) -> list[str]:
    """Write what is not as it should be, and tell so; raises CannotSetUp."""
    if target.root is None and not _is_installed(needs):
        raise CannotSetUp(
            f"{target.client} is not installed here (there is no {needs.programs[0]}): without --write what it needs is"
            " printed, with --root DIR it is written for another system"
        )
    for change in changes(needs, target.root or Path("/")):
        if change.new == change.old:
            print(f"unchanged {change.path}")
        else:
            backup = write(change)
            print(f"wrote {change.path}" + (f" (before: {backup.name})" if backup else ""))
    return []


def _is_installed(needs: Needs) -> bool:
    path = f"{os.environ.get('PATH', '')}:{_PLACES}"
    return any(shutil.which(program, path=path) for program in needs.programs)


def _about(site: Site) -> list[str]:
    if site.is_local:
        return [f"{site.authority} is the mirror on this machine; clients elsewhere need --url http://NAME:PORT"]
    return []

"""Podman, Buildah, Skopeo and CRI-O: a drop-in for registries.conf. Pure."""

from __future__ import annotations

import tomllib
from pathlib import PurePosixPath

from mirror.cli.setup.needs import CannotSetUp, ClientFile, Needs, Neighbours
from mirror.cli.setup.site import Site
from mirror.cli.setup.toml_block import block, with_block, without_block

_FOLDER = PurePosixPath("/etc/containers")
_FILE = _FOLDER / "registries.conf.d" / "50-mirror.conf"

# They do not say which registry they mean, so it is the first part of the name that they ask for.
_REGISTRY = """\
[[registry]]
location = "{registry}"

[[registry.mirror]]
location = "{mirror}/{registry}"
"""


def podman(site: Site) -> Needs:
    """Return what the family of containers/image needs; raises CannotSetUp for an address it cannot be given."""
    if site.authority.startswith("["):
        raise CannotSetUp("Podman's mirrors cannot be at an IPv6 address: give the mirror a name, with --url")
    registries = [registry for registry in site.registries if ":" not in registry]
    insecure = "insecure = true\n" if site.is_plain else ""
    tables = "\n".join(_REGISTRY.format(registry=registry, mirror=site.authority) + insecure for registry in registries)

    def merged(text: str) -> str:
        _agree(without_block(text), registries)
        return with_block(text, tables)

    file = ClientFile(_FILE, block(tables), merged)
    notes = ["Podman, Buildah and Skopeo read it at their next start; CRI-O wants a restart"]
    if left_out := [registry for registry in site.registries if ":" in registry]:
        notes.append(f"left out, since no name can have a port inside: {', '.join(left_out)}")
    patterns = (str(_FOLDER / "registries.conf"), str(_FILE.parent / "*.conf"))
    neighbours = Neighbours(patterns, lambda text: _agree(text, registries))
    return Needs(("podman", "buildah", "skopeo", "crio"), (file,), tuple(notes), neighbours)


def _agree(text: str, registries: list[str]) -> None:
    """Return if a file says nothing of these registries: what a drop-in says of one takes the place of all else."""
    try:
        tables = tomllib.loads(text).get("registry", [])
    except tomllib.TOMLDecodeError as error:
        raise CannotSetUp(f"is not TOML ({error}): mend it first") from None
    for table in tables if isinstance(tables, list) else []:
        name = (table.get("prefix") or table.get("location")) if isinstance(table, dict) else None
        if name in registries:
            raise CannotSetUp(
                f"has its own [[registry]] for {name}, which would count no more:"
                f" add the [[registry.mirror]] that is printed without --write there, or take it out"
            )

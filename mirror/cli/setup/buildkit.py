"""BuildKit as a daemon of its own: tables in buildkitd.toml. Pure."""

from __future__ import annotations

from pathlib import PurePosixPath

from mirror.cli.setup.needs import ClientFile, Needs
from mirror.cli.setup.site import Site
from mirror.cli.setup.toml_block import block, with_block

_FILE = PurePosixPath("/etc/buildkit/buildkitd.toml")
_REGISTRY = '[registry."{registry}"]\n  mirrors = ["{mirror}"]\n'
_PLAIN = '[registry."{mirror}"]\n  http = true\n'


def buildkit(site: Site) -> Needs:
    """Return what buildkitd needs; requests then name the registry (`?ns=`)."""
    mirror = site.authority
    tables = [_REGISTRY.format(registry=registry, mirror=mirror) for registry in site.registries]
    text = "\n".join([*tables, _PLAIN.format(mirror=mirror)] if site.is_plain else tables)
    file = ClientFile(_FILE, block(text), lambda existing: with_block(existing, text))
    notes = [
        "restart buildkitd afterwards; for docker buildx, give the file to a new builder: docker buildx create"
        " --buildkitd-config FILE (the BuildKit inside of Docker goes by `mirror setup docker`)"
    ]
    if site.is_local:
        notes.append("a buildkitd in a container does not find the mirror at that address: give it --url")
    return Needs(("buildkitd",), (file,), tuple(notes))

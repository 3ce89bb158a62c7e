"""hosts.toml, which containerd and Docker 29 read: the mirror first, then the registry itself. Pure."""

from __future__ import annotations

from pathlib import PurePosixPath

from mirror.cli.setup.needs import ClientFile
from mirror.cli.setup.site import Site
from mirror.cli.setup.toml_block import block, with_block

DEFAULT = "_default"
"""The folder for registries that have none of their own."""

# A mirror that does not answer would otherwise cost 30 s a request; what is older than the key passes over it.
_HOST = """\
[host."{url}"]
  capabilities = ["pull", "resolve"]
  dial_timeout = "5s"
"""


def hosts_file(folder: PurePosixPath, registry: str, site: Site) -> ClientFile:
    """Return the file for a registry; requests then name it (`?ns=`), so one content is good for all."""
    host = _HOST.format(url=site.url)
    return ClientFile(folder / registry / "hosts.toml", block(host), lambda text: with_block(text, host, first=True))

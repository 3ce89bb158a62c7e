"""containerd, and what is built on it (Kubernetes, nerdctl): a hosts.toml for each registry. Pure."""

from __future__ import annotations

from pathlib import PurePosixPath

from mirror.cli.setup.hosts_toml import DEFAULT, hosts_file
from mirror.cli.setup.needs import Needs
from mirror.cli.setup.site import Site

_FOLDER = PurePosixPath("/etc/containerd/certs.d")


def containerd(site: Site) -> Needs:
    """Return what containerd needs; a registry the mirror does not know costs a 404, and is then asked itself."""
    files = tuple(hosts_file(_FOLDER, registry, site) for registry in (*site.registries, DEFAULT))
    notes = (
        "containerd reads them at the next pull: nothing is to be restarted",
        f'Kubernetes (CRI) needs config_path = "{_FOLDER}" in /etc/containerd/config.toml, and containerd a restart'
        ' after that: under [plugins."io.containerd.cri.v1.images".registry] in containerd 2, under'
        ' [plugins."io.containerd.grpc.v1.cri".registry] in containerd 1',
        f"nerdctl looks there by itself, ctr with --hosts-dir {_FOLDER}",
    )
    return Needs(("containerd", "ctr", "nerdctl"), files, notes)

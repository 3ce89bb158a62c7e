"""Starts programs that see a test's files in place of the machine's, and for which public registries lead nowhere."""

import functools
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

NOWHERE = "127.0.0.3"  # nothing listens there
REGISTRIES = (
    "docker.io index.docker.io registry-1.docker.io auth.docker.io production.cloudflare.docker.com"
    " ghcr.io quay.io gcr.io registry.k8s.io public.ecr.aws mcr.microsoft.com"
)
SCRIPT = 'while [ "$1" != -- ]; do mount --bind "$1" "$2" || exit 1; shift 2; done; shift; exec "$@"'


def own_mounts(directory: Path, places: Mapping[Path, Path] | None = None) -> list[str | Path]:
    """What starts a command so that `places` (where: what) and its own names of hosts are what it sees."""
    hosts, resolver = directory / "hosts", directory / "resolv.conf"
    hosts.write_text(f"127.0.0.1 localhost\n{NOWHERE} {REGISTRIES}\n")
    resolver.write_text(f"nameserver {NOWHERE}\n")
    binds = {Path("/etc/hosts"): hosts, Path("/etc/resolv.conf"): resolver, **(places or {})}
    pairs = [path for place, shown in binds.items() for path in (shown, place)]
    return ["unshare", "-m", "sh", "-c", SCRIPT, "sh", *pairs, "--"]


@functools.cache
def why_not() -> str | None:
    """Why this machine cannot start programs like that, or None."""
    if os.geteuid() != 0:
        return "mounts need root"
    if shutil.which("unshare") is None:
        return "unshare is not installed"
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        return "this machine allows no mount namespace"
    return None

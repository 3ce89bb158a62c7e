"""What Podman, Buildah and Skopeo read below /etc/containers: whatever is signed by nobody, and one mirror."""

import json
import shutil
from pathlib import Path

from .own_mounts import own_mounts
from .own_mounts import why_not as no_mounts
from .setup import set_up

FOLDER = Path("/etc/containers")
ACCEPT_ANYTHING = {"default": [{"type": "insecureAcceptAnything"}]}
# Locks and networks would otherwise be the machine's own.
CONFIGURATION = """
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
[network]
network_config_dir = "{directory}/networks"
"""


def behind(mirror: str, directory: Path) -> list[str | Path]:
    """What starts a client to which `mirror setup podman` has told this mirror, and nobody anything else."""
    set_up("podman", directory / "root", "--url", mirror)
    return alone(directory)


def alone(directory: Path) -> list[str | Path]:
    """What starts a client that knows what is below `root` of this folder, and nothing of the machine's own."""
    folder = directory / "root" / "etc" / "containers"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy.json").write_text(json.dumps(ACCEPT_ANYTHING))
    (folder / "registries.conf").write_text("unqualified-search-registries = []\n")
    (folder / "containers.conf").write_text(CONFIGURATION.format(directory=directory))
    return own_mounts(directory, {FOLDER: folder})


def environment(directory: Path) -> dict[str, str]:
    """The environment of a client that keeps its state in this folder."""
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(directory),
        "XDG_RUNTIME_DIR": str(directory),
        "TMPDIR": str(directory),
    }


def why_not(program: str) -> str | None:
    """Why this machine cannot run this client like that, or None."""
    if (obstacle := no_mounts()) is not None:
        return obstacle
    if not FOLDER.is_dir():
        return f"there is no {FOLDER}"
    return None if shutil.which(program) else f"{program} is not installed"

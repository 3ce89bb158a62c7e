"""What must hold of a cache folder whatever happened to it, said without the mirror's own code."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from mirror.oci.digest import Digest
from tests.crash.content import DAMAGED

_OURS = re.compile(r"sha256-[0-9a-f]{64}(\.[0-9a-f]+)?|\..*\.new")
_IN_RUN = re.compile(rf"{_OURS.pattern}|room|entered|purges|saving|scrub|scrubbing|watch|identity|process-[0-9a-f]+")

_LASTING = {"room", "entered", "purges", "saving", "scrub", "scrubbing", "watch", "identity"}


def stored(folder: Path) -> dict[str, bytes]:
    """Return the committed files by their names."""
    return {path.name: path.read_bytes() for path in folder.glob("blobs/sha256/*")}


def wrong(folder: Path) -> set[str]:
    """Return the names of committed files that do not have their digest."""
    return {name for name, data in stored(folder).items() if hashlib.sha256(data).hexdigest() != name}


def check_cut(folder: Path, committed: set[str]) -> None:
    """Fail if a power cut took what was committed, or left wrong content beside what was stored damaged."""
    damaged = {Digest.of(DAMAGED).encoded}
    assert wrong(folder) <= damaged - committed
    assert committed <= stored(folder).keys()


def strange(folder: Path) -> list[str]:
    """Return the names in `partial/` and `run/` that are not the mirror's."""
    found = [(path.name, _OURS) for path in folder.glob("partial/*")] + [
        (path.name, _IN_RUN) for path in folder.glob("run/*")
    ]
    return [name for name, pattern in found if not pattern.fullmatch(name)]


def unfinished(folder: Path) -> dict[str, int]:
    """Return the sizes of the partial files of blobs, by the digest in their name."""
    return {path.name.removeprefix("sha256-"): path.stat().st_size for path in folder.glob("partial/sha256-*")}


def litter(folder: Path) -> list[str]:
    """Return what a mirror that stopped in peace has no reason to leave."""
    left = [*folder.glob("partial/*"), *folder.glob("run/*")]
    return [path.name for path in left if path.name not in _LASTING]

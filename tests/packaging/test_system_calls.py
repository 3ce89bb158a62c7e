"""The unit's filter of system calls lets through all that the mirror calls."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tests.e2e.conftest import require
from tests.e2e.images import Image
from tests.e2e.mirror_process import MirrorProcess
from tests.e2e.process import wait_until
from tests.e2e.registry import RealRegistry

from .conftest import SHIPPED

UNIT = Path(__file__).parent.parent.parent / "deploy" / "mirror.service"
# Only as root: SQLite gives the files it makes to the owner of the database.
ONLY_AS_ROOT = {"fchown"}


def groups() -> dict[str, set[str]]:
    """systemd's groups of system calls, each with the calls and the groups in it."""
    printed = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True).stdout
    found: dict[str, set[str]] = {}
    for line in printed.splitlines():
        if line.startswith("@"):
            members = found.setdefault(line, set())
        elif line.startswith("#"):
            members = set()
        elif line.strip() and not line.strip().startswith("#"):
            members.add(line.strip())
    return found


def expanded(group: str, known: dict[str, set[str]]) -> set[str]:
    """Every call of a group."""
    return {call for one in known[group] for call in (expanded(one, known) if one.startswith("@") else {one})}


def allowed() -> set[str]:
    """The calls that the unit's filter lets through."""
    known, calls = groups(), set[str]()
    for line in re.findall(r"^SystemCallFilter=(.*)$", UNIT.read_text(), re.MULTILINE):
        named = {call for group in line.lstrip("~").split() for call in expanded(group, known)}
        calls = calls - named if line.startswith("~") else calls | named
    return calls


def traced(trace: Path) -> set[str]:
    """The calls of a trace that strace has written."""
    return set(re.findall(r"^\d+ +([a-z]\w*)\(", trace.read_text(errors="replace"), re.MULTILINE))


def test_the_mirror_calls_nothing_that_the_unit_forbids(tmp_path: Path, upstream: RealRegistry, shipped: Image) -> None:
    for tool in ("strace", "systemd-analyze"):
        require(None if shutil.which(tool) else f"{tool} is not installed")
    docker_io = {"endpoints": [upstream.url], "private_network": True}
    mirror = MirrorProcess({"upstreams": {"docker.io": docker_io}}, tmp_path / "mirror")
    trace = tmp_path / "trace"
    # In a group of its own strace is not stopped with the mirror.
    mirror.command = ["strace", "-DD", "-f", "-q", "-o", trace, *mirror.command]
    with mirror:
        for _ in ("cold", "warm"):
            for path in ("manifests/latest", *(f"blobs/{blob.digest}" for blob in shipped.blobs)):
                assert mirror.ask("GET", f"/v2/{SHIPPED}/{path}").status == 200
            wait_until(lambda: mirror.metric("mirror_fills_in_flight") == 0)
    ended = re.compile(rf"^{mirror.pid} +\+\+\+ exited", re.MULTILINE)
    wait_until(lambda: ended.search(trace.read_text(errors="replace")) is not None)
    made = traced(trace)
    assert {"sendfile", "fsync", "renameat", "flock"} <= made
    assert made - allowed() - ONLY_AS_ROOT == set()

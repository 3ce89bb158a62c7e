"""Nothing the mirror does to its files passes by where the other tests count: strace sees the same steps."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.crash.loop import Zygotes

_ROOT = Path(__file__).parents[2]
_CALLS = {
    "open": "openat",
    "write": "write",
    "pwrite": "pwrite64",
    "ftruncate": "ftruncate",
    "fsync": "fsync",
    "fchmod": "fchmod",
    "utime": "utimensat",
    "rename": "renameat",
    "unlink": "unlinkat",
    "mkdir": "mkdir",
}
_OTHERS = (
    "open,creat,openat2,writev,pwritev,pwritev2,truncate,fallocate,copy_file_range,sendfile,fdatasync,msync,"
    "sync_file_range,syncfs,chmod,fchmodat,rename,renameat2,unlink,rmdir,link,linkat,symlink,symlinkat,mkdirat,mknod,"
    "mknodat,futimesat,fchown,fchownat,fsetxattr,setxattr"
)
_LIFE = """
import json, sys, uvloop
from tests.crash.tasks import live
print(json.dumps(uvloop.run(live(sys.argv[1], "kill", 0))))
"""


pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace")


def test_strace_sees_the_steps_that_are_counted_and_no_others(prepared: Path, place: Path) -> None:
    seen = place / "seen"
    command = ["strace", "-f", "-qq", "-y", "-e", f"trace={','.join(_CALLS.values())},{_OTHERS}", "-o", str(seen)]
    life = [sys.executable, "-c", _LIFE, str(prepared)]
    done = subprocess.run([*command, *life], cwd=_ROOT, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    counted = Counter(_CALLS[step] for step in result["steps"] if step != "open")
    counted["openat"] = result["opens"]
    assert counted.total() > 80
    assert _changes(seen.read_text(), prepared) == counted


@pytest.mark.parametrize("table", ["index", "records"])
def test_a_mirror_that_is_killed_while_a_table_is_written_leaves_one_that_can_be_used(
    zygotes: Zygotes, prepared: Path, place: Path, table: str
) -> None:
    def die(at: int) -> int:
        folder = place / f"{table} {at}"
        shutil.copytree(prepared, folder)
        # strace counts the calls of each thread by itself; a table has a thread of its own.
        command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=pwrite64,fdatasync,ftruncate"]
        command += ["-e", f"inject=pwrite64,fdatasync,ftruncate:signal=SIGKILL:when={at}"]
        for name in ("cache.db", "cache.db-wal"):
            command += ["-P", str(folder / table / name)]
        command += [sys.executable, "-c", _LIFE, str(folder)]
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, check=False)
        with zygotes.one() as zygote:
            zygote.run("follow_up", folder=str(folder))
        shutil.rmtree(folder)
        return done.returncode

    ends = zygotes.each(die, (1, 2, 3, 5, 8, 13))
    assert set(ends) <= {0, -signal.SIGKILL}
    assert ends.count(-signal.SIGKILL) > 3


def _changes(trace: str, folder: Path) -> Counter[str]:
    """Count the calls that change something in the folder; what is SQLite's is SQLite's."""
    found = Counter[str]()
    tables = re.compile(rf"{re.escape(str(folder))}/(index|records)[/>]")
    # A call that another thread's interrupts is told where it begins, and once more where it ends.
    for name, arguments in re.findall(r"^\d+ +(\w+)\((.*)", trace, re.M):
        is_ours = str(folder) in arguments and not tables.search(arguments)
        found[name] += is_ours and (name != "openat" or "O_CREAT" in arguments)
    return +found

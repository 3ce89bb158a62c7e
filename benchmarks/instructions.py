"""`python -m benchmarks.instructions`: how many instructions a warm request costs, which no busy machine changes.

One process asks for each kind in turn, between two marks at which valgrind notes what it has counted. The client's
share is included, and the same for all; the kernel's is not.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.hot_path import KINDS, run
from benchmarks.places import ROOT

TIMES = 300
_MARK = "getloadavg"
# A function of the C library that nobody else calls.


def instructions(kinds: Sequence[str] = KINDS, times: int = TIMES) -> dict[str, int]:
    """Return how many instructions a request of each kind costs; raises RuntimeError if they cannot be counted."""
    with tempfile.TemporaryDirectory(prefix="mirror-instructions-") as folder:
        valgrind = ["valgrind", "--tool=callgrind", f"--dump-before={_MARK}", f"--callgrind-out-file={folder}/out"]
        command = [*valgrind, sys.executable, "-m", "benchmarks.instructions", "--ask", str(times), *kinds]
        # Hashes that differ from run to run put things into other places of tables.
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        done = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"nothing was counted:\n{done.stderr}")
        # Every other note is of what lies between two kinds.
        return {kind: _total(Path(f"{folder}/out.{2 * number}")) // times for number, kind in enumerate(kinds, 1)}


def _total(note: Path) -> int:
    found = re.search(r"^totals: (\d+)$", note.read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"valgrind wrote a note without a total: {note.name}")
    return int(found[1])


@contextmanager
def _marked() -> Iterator[None]:
    os.getloadavg()
    yield
    os.getloadavg()


def main() -> None:
    """Print a line for each kind of request."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)} (default: all)")
    parser.add_argument("--ask", type=int, metavar="N", help="only ask, N times: this is what is counted")
    options = parser.parse_args()
    kinds = options.kinds or KINDS
    if options.ask is not None:
        for kind in kinds:
            asyncio.run(run(kind, options.ask, _marked()))
        return
    for kind, count in instructions(kinds).items():
        print(f"{kind:<8}{count:>12,} instructions a request", flush=True)


if __name__ == "__main__":
    main()

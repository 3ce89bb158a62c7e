"""`python -m benchmarks.instructions`: how many instructions a warm request costs, which no busy machine changes.

One process asks for each kind in turn, between two marks at which valgrind notes what it has counted. The client's
share is included, and the same for all; the kernel's is not.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL

import uvloop

from benchmarks.hot_path import KINDS, requests_of, run
from benchmarks.places import ROOT
from mirror.store import folder

TIMES = 60
_ROUNDS = 3
# The cheapest counts: what the mirror does by the clock falls into some of them.

BUDGET = {"tag": 202_000, "digest": 181_000, "blob": 327_000, "tag-64": 44_000, "digest-64": 44_000}
"""What a request may cost: 15 % more than it did on CPython 3.11 when this was set, room for other versions of it and
of the C library."""

_MARK = "getloadavg"
# A function of the C library that nobody else calls.


def instructions(kinds: Sequence[str] = KINDS, times: int = TIMES) -> dict[str, int]:
    """Return how many instructions a request of each kind costs; raises RuntimeError if they cannot be counted."""
    asked = [kind for kind in kinds for _ in range(_ROUNDS)]
    with tempfile.TemporaryDirectory(prefix="mirror-instructions-") as folder:
        valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--dump-before={_MARK}"]
        valgrind.append(f"--callgrind-out-file={folder}/out")
        command = [*valgrind, sys.executable, "-m", "benchmarks.instructions", "--ask", str(times), *asked]
        # Hashes that differ from run to run put things into other places of tables.
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        done = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"nothing was counted:\n{done.stderr}")
        # Every other note is of what lies between two rounds.
        counts = [(kind, _total(Path(f"{folder}/out.{2 * number}"))) for number, kind in enumerate(asked, 1)]
    least = {kind: min(count for one, count in counts if one == kind) for kind in kinds}
    return {kind: count // requests_of(kind, times) for kind, count in least.items()}


def _total(note: Path) -> int:
    found = re.search(r"^totals: (\d+)$", note.read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"valgrind wrote a note without a total: {note.name}")
    return int(found[1])


def beyond_budget(counted: Mapping[str, int]) -> list[str]:
    """Return a line for each kind of request that costs more than it may."""
    return [
        f"a warm {kind} costs {count:,} instructions, its budget is {BUDGET[kind]:,}: `python -m benchmarks.hot_spots"
        f" {kind}` tells where they go. Make it cheaper, or raise BUDGET in benchmarks/instructions.py and say why"
        for kind, count in counted.items()
        if count > BUDGET[kind]
    ]


@contextmanager
def _marked() -> Iterator[None]:
    _count(is_on=True)
    os.getloadavg()
    yield
    os.getloadavg()
    _count(is_on=False)


def _count(*, is_on: bool) -> None:
    # What is not counted runs ten times as fast.
    control = subprocess.Popen(
        ["callgrind_control", "-i", "on" if is_on else "off", str(os.getpid())], stdout=DEVNULL, stderr=DEVNULL
    )
    while control.poll() is None:
        # Awake: valgrind hears it only where something runs, unless it may trace processes.
        pass
    if control.returncode:
        raise RuntimeError("valgrind was not told to count")


def main() -> None:
    """Print a line for each kind of request."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)} (default: all)")
    parser.add_argument("--ask", type=int, metavar="N", help="only ask, N times: this is what is counted")
    options = parser.parse_args()
    kinds = options.kinds or KINDS
    if options.ask is not None:
        # Debian 12's valgrind knows no `openat2`, and what opens in a thread is another way than the one that counts.
        vars(folder)["open_at_once"] = os.open
        uvloop.run(run(kinds, options.ask, _marked))
        return
    for kind, count in instructions(kinds).items():
        print(f"{kind:<8}{count:>12,} instructions a request", flush=True)


if __name__ == "__main__":
    main()

"""`python -m benchmarks.instructions`: how many instructions a warm request costs, which no busy machine changes.

Two runs that differ only in how often they ask are counted by valgrind; what they differ in is what asking costs, the
client's share of it included, which is the same for all. The kernel's instructions are not counted.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile

from benchmarks.hot_path import KINDS
from benchmarks.places import ROOT

FEW, MANY = 200, 700


def instructions(kind: str) -> int:
    """Return how many instructions a request of this kind costs; ends the program if they cannot be counted."""
    return (_counted(kind, MANY) - _counted(kind, FEW)) // (MANY - FEW)


def _counted(kind: str, times: int) -> int:
    with tempfile.TemporaryDirectory(prefix="mirror-instructions-") as folder:
        # Counts the same as callgrind, which also notes who called whom, in half the time.
        valgrind = ["valgrind", "--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={folder}/out"]
        command = [*valgrind, sys.executable, "-m", "benchmarks.hot_path", kind, str(times)]
        # Hashes that differ from run to run put things into other places of tables.
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        done = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)
    found = re.search(r"I +refs: +([\d,]+)", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"nothing was counted:\n{done.stderr}")
    return int(found[1].replace(",", ""))


def main() -> None:
    """Print a line for each kind of request."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)} (default: all)")
    kinds = parser.parse_args().kinds or KINDS
    for kind in kinds:
        print(f"{kind:<8}{instructions(kind):>12,} instructions a request", flush=True)


if __name__ == "__main__":
    main()

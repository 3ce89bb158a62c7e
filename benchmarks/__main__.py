"""`python -m benchmarks`: measures the mirror against its peers on loopback, and says which goals it reaches.

Ends with 1 if something could not be measured; a goal that is missed is told in the table.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks import places, report, run
from benchmarks.content import content
from benchmarks.peers import NAMES
from benchmarks.result import Result
from benchmarks.rows import ROWS
from benchmarks.scale import FULL, QUICK, Scale
from benchmarks.site import Site


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="which rows, by name or its beginning (default: all)")
    parser.add_argument("--list", action="store_true", help="name the rows, and end")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: tries the harness, tells nothing of speed")
    parser.add_argument("--peers", default=",".join(NAMES), help="which of them, with commas between (default: all)")
    parser.add_argument("--rounds", type=int, help="how often everything is measured")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    parser.add_argument("--home", type=Path, default=places.HOME, help="folder of the content and of what caches store")
    options = parser.parse_args(arguments)
    options.peers = options.peers.split(",")
    wanted = options.rows or [""]
    options.rows = [row for name, row in ROWS.items() if name.startswith(tuple(wanted))]
    for unknown in [one for one in wanted if not any(name.startswith(one) for name in ROWS)]:
        parser.error(f"there is no row {unknown}; there are {', '.join(ROWS)}")
    for unknown in [one for one in options.peers if one not in NAMES]:
        parser.error(f"there is no peer {unknown}; there are {', '.join(NAMES)}")
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds is 1 at least")
    return options


def main(arguments: list[str]) -> int:
    """Run and return the exit code."""
    options = _options(arguments)
    if options.list:
        print("\n".join(f"{row.name:<22}{row.about}" for row in options.rows))
        return 0
    # Told to end, leave every context: nothing that was started stays.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        results = _measured(options, QUICK if options.quick else FULL)
    except KeyboardInterrupt:
        print("benchmarks: interrupted", file=sys.stderr)
        return 130
    return 1 if any(result.failures for result in results) else 0


def _measured(options: argparse.Namespace, scale: Scale) -> list[Result]:
    peers, missing = run.installed(options.peers)
    for name in missing:
        print(f"benchmarks: {name} is not installed; see scripts/install-benchmark-tools", file=sys.stderr)
    options.home.mkdir(parents=True, exist_ok=True)
    held = content(options.home / "content", scale)
    results = []
    print(report.head(), flush=True)
    for row in options.rows:
        with tempfile.TemporaryDirectory(prefix="run-", dir=options.home) as folder:
            result = run.measure(row, Site(held, scale, Path(folder)), peers, options.rounds or scale.rounds)
        print("\n".join(report.lines(result)), flush=True)
        results.append(result)
    if options.json:
        options.json.write_text(report.document(results, scale.name) + "\n")
    return results


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

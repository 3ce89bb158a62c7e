"""`python -m tests.soak --minutes 10 --seed 7`: a soak on demand; `--judge FILE` judges an earlier one again."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tests.soak.plan import Plan, add_options
from tests.soak.run import judge, soak
from tests.soak.summary import summary

_SHOWN = 20


def main() -> int:
    """Return 0 if every promise was kept, else 1; what remains of a bad run is kept for a look."""
    options = _options()
    if options.judge is not None:
        return _verdict(options.judge)
    plan = Plan.from_options(options)
    scratch = Path(tempfile.mkdtemp(prefix="soak-"))
    print(f"{plan.command}  # in {scratch}", flush=True)
    code = _verdict(asyncio.run(soak(plan, scratch)))
    if code == 0:
        shutil.rmtree(scratch)
    return code


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    add_options(parser, seed=random.randrange(10**6))
    parser.add_argument("--judge", type=Path, metavar="FILE", help="a history.jsonl")
    return parser.parse_args()


def _verdict(path: Path) -> int:
    history, violations = judge(path)
    print(summary(history))
    for violation in violations[:_SHOWN]:
        print("VIOLATION ", violation)
    print(f"{len(violations)} violations" + (f"; see {path}" if violations else ""))
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())

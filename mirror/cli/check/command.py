"""`mirror check`: tries the upstreams, and prints how that went as a table or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from mirror.cli.check.report import document, lines
from mirror.cli.interruption import Interrupted, interruptible
from mirror.cli.loop import on_loop
from mirror.composition.checking import Target, check
from mirror.config import Config


def run(config: Config, targets: Sequence[Target], seconds: float, *, as_json: bool) -> int:
    """Try the targets, each for so many seconds, print the report, and return the exit code."""
    try:
        return on_loop(interruptible(_reported(config, targets, seconds, as_json=as_json)))
    except Interrupted as interrupted:
        print("mirror: interrupted", file=sys.stderr)
        return interrupted.exit_code


async def _reported(config: Config, targets: Sequence[Target], seconds: float, *, as_json: bool) -> int:
    findings = await check(config, targets, seconds)
    text = json.dumps(document(config, findings), indent=2) if as_json else None
    # Shown before the loop ends, which waits for a resolver that hangs.
    print(text or "\n".join(lines(config, findings, datetime.now(UTC))), flush=True)
    return 1 if any(found.fault is not None for found in findings) else 0

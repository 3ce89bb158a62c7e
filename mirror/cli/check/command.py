"""`mirror check`: tries the upstreams, and prints how that went as a table or as JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime

from mirror.checking import Target, check
from mirror.cli.check.report import document, lines
from mirror.config import Config


def run(config: Config, targets: Sequence[Target], seconds: float, *, as_json: bool) -> int:
    """Try the targets, each for so many seconds, print the report, and return the exit code."""
    findings = asyncio.run(check(config, targets, seconds))
    shown = json.dumps(document(config, findings), indent=2) if as_json else None
    print(shown or "\n".join(lines(config, findings, datetime.now(UTC))))
    return 1 if any(found.fault is not None for found in findings) else 0

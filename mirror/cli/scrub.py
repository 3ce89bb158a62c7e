"""`mirror scrub`: what was seen as a table or as JSON, and as an exit code of bits."""

from __future__ import annotations

import json
import sys

from mirror.app import scrub
from mirror.cli.interruption import Interrupted, interruptible
from mirror.cli.loop import on_loop
from mirror.cli.report import document, lines
from mirror.cli.scrub_progress import Progress
from mirror.config import Config
from mirror.errors import ConfigError, StoreFailed
from mirror.proxy.scrubbing.scrub import Action, Report, Thoroughness

FOUND = 1
"""Exit code bit: bad files were found."""

REMAINING = 4
"""Exit code bit: some of them are still there."""


def run(config: Config, thoroughness: Thoroughness, *, as_json: bool) -> int:
    """Scrub, print the report, and return the exit code. Raises ConfigError if there is no cache."""
    if not config.cache.path.exists():
        raise ConfigError("cache.path", f"{config.cache.path} does not exist")
    progress = Progress(sys.stderr)
    try:
        report = on_loop(interruptible(scrub(config, thoroughness, progress.passed)))
    except StoreFailed as error:
        progress.clear()
        print(f"mirror: the cache cannot be read: {error}", file=sys.stderr)
        return FOUND | REMAINING
    except Interrupted as interrupted:
        progress.clear()
        print(f"mirror: interrupted after {progress}; what was bad so far is named above", file=sys.stderr)
        return interrupted.exit_code
    progress.clear()
    is_fast = thoroughness.fast
    print(json.dumps(document(report), indent=2) if as_json else "\n".join(lines(report, is_fast=is_fast)))
    return exit_code(report)


def exit_code(report: Report) -> int:
    """Return 0 for a clean cache, else bits."""
    remaining = any(finding.action is Action.LEFT for finding in report.findings)
    return (FOUND if report.findings else 0) | (REMAINING if remaining else 0)

"""`mirror scrub`: what was seen as a table or as JSON, and as an exit code of bits."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

from mirror.app import scrub
from mirror.cli.report import document, lines
from mirror.cli.scrub_progress import Progress
from mirror.config import Config
from mirror.errors import ConfigError, StoreFailed
from mirror.proxy.scrub import Action, Report, Thoroughness

T = TypeVar("T")

FOUND = 1
"""Exit code bit: bad files were found."""

REMAINING = 4
"""Exit code bit: some of them are still there."""


class Interrupted(Exception):
    """The command was told to stop, by the signal of this number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run(config: Config, thoroughness: Thoroughness, *, as_json: bool) -> int:
    """Scrub, print the report, and return the exit code. Raises ConfigError if there is no cache."""
    if not config.cache.path.exists():
        raise ConfigError("cache.path", f"{config.cache.path} does not exist")
    progress = Progress(sys.stderr)
    try:
        report = asyncio.run(_interruptible(scrub(config, thoroughness, progress.passed)))
    except StoreFailed as error:
        progress.clear()
        print(f"mirror: the cache cannot be read: {error}", file=sys.stderr)
        return FOUND | REMAINING
    except Interrupted as interrupted:
        progress.clear()
        print(f"mirror: interrupted after {progress}; what was bad so far is named above", file=sys.stderr)
        return 128 + interrupted.number
    progress.clear()
    is_fast = thoroughness.fast
    print(json.dumps(document(report), indent=2) if as_json else "\n".join(lines(report, is_fast=is_fast)))
    return exit_code(report)


def exit_code(report: Report) -> int:
    """Return 0 for a clean cache, else bits."""
    remaining = any(finding.action is Action.LEFT for finding in report.findings)
    return (FOUND if report.findings else 0) | (REMAINING if remaining else 0)


async def _interruptible(work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns; SIGINT and SIGTERM cancel it, and raise Interrupted once it has ended."""
    task = asyncio.create_task(work)
    told: list[int] = []

    def stop(number: int) -> None:
        told.append(number)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not told:
            raise
        raise Interrupted(told[0]) from None

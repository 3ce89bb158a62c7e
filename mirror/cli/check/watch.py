"""`mirror check --watch`: tries the upstreams again and again, and shows how they are by now."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from mirror.cli.check.report import document
from mirror.cli.check.screen import Screen
from mirror.cli.check.tracks import Tracks
from mirror.cli.check.watch_report import line, screen
from mirror.cli.interruption import Interrupted, interruptible
from mirror.cli.loop import on_loop
from mirror.composition.checking import Target, check
from mirror.config import Config
from mirror.upstream.probing.findings import Findings

Show = Callable[[Sequence[Findings], datetime], None]
"""Shows what a round has found."""


def watch(config: Config, targets: Sequence[Target], seconds: float, every: float, *, as_json: bool) -> int:
    """Try the targets every so many seconds until a signal comes, and return the exit code of the last round."""
    last: int | None = None

    async def rounds(show: Show) -> None:
        nonlocal last
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + every
            findings = await check(config, targets, seconds)
            show(findings, datetime.now(UTC))
            last = 1 if any(found.fault is not None for found in findings) else 0
            await asyncio.sleep(due - loop.time())

    try:
        with _shown(config, every, as_json=as_json) as show:
            on_loop(interruptible(rounds(show)))
    except Interrupted as interrupted:
        if last is not None:
            return last
        print("mirror: interrupted", file=sys.stderr)
        return interrupted.exit_code
    raise AssertionError("only a signal ends it")


@contextmanager
def _shown(config: Config, every: float, *, as_json: bool) -> Iterator[Show]:
    """Yield what shows a round: JSON on a line, a table drawn anew on a terminal, or a line for each change."""
    tracks = Tracks()

    def as_document(findings: Sequence[Findings], now: datetime) -> None:
        print(json.dumps({"at": now.isoformat(timespec="seconds")} | document(config, findings)), flush=True)

    def as_lines(findings: Sequence[Findings], now: datetime) -> None:
        for change in tracks.take(findings, now):
            print(line(config, change, now), flush=True)

    if as_json or not sys.stdout.isatty():
        yield as_document if as_json else as_lines
        return
    with Screen(sys.stdout) as page:

        def as_table(findings: Sequence[Findings], now: datetime) -> None:
            tracks.take(findings, now)
            page.show(screen(config, tracks, now, every))

        page.show(["trying…"])
        yield as_table

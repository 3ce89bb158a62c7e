"""`mirror scrub`: what was seen as a table or as JSON, and as an exit code of bits."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import click

from mirror.app import scrub
from mirror.config import Config
from mirror.errors import StoreFailed
from mirror.proxy.scrub import Action, Finding, Report, StoredFile, Thoroughness

FOUND = 1
"""Exit code bit: bad files were found."""

REMAINING = 4
"""Exit code bit: some of them are still there."""


def run(config: Config, thoroughness: Thoroughness, *, as_json: bool) -> int:
    """Scrub, print the report, and return the exit code."""
    try:
        report = asyncio.run(scrub(config, thoroughness, _progress(quiet=as_json)))
    except StoreFailed as error:
        print(f"mirror: the cache cannot be read: {error}", file=sys.stderr)
        return FOUND | REMAINING
    print(json.dumps(_document(report), indent=2) if as_json else "\n".join(_lines(report)))
    return exit_code(report)


def exit_code(report: Report) -> int:
    """Return 0 for a clean cache, else bits."""
    remaining = any(finding.action is Action.LEFT for finding in report.findings)
    return (FOUND if report.findings else 0) | (REMAINING if remaining else 0)


def _progress(*, quiet: bool) -> Callable[[StoredFile], Awaitable[None]]:
    """Return what counts files on a terminal while they pass."""
    is_shown = not quiet and sys.stderr.isatty()
    count = size = 0

    async def passed(file: StoredFile) -> None:
        nonlocal count, size
        count, size = count + 1, size + file.size
        if is_shown:
            click.echo(f"\r{count} files, {_size(size)} ", nl=False, err=True)

    return passed


def _document(report: Report) -> dict[str, Any]:
    return {
        "files": report.files,
        "bytes": report.size,
        "seconds": round(report.seconds, 3),
        "findings": [
            {
                "digest": str(finding.file.digest),
                "kind": str(finding.file.kind),
                "bytes": finding.file.size,
                "problem": str(finding.problem),
                "action": str(finding.action),
                "detail": finding.detail,
            }
            for finding in report.findings
        ],
        "strangers": report.strangers,
        "unfinished": [
            {"name": leftover.name, "bytes": leftover.size, "written": leftover.is_written}
            for leftover in report.unfinished
        ],
    }


def _lines(report: Report) -> list[str]:
    lines = []
    if report.findings:
        lines += [_row("PROBLEM", "ACTION", "KIND", "DIGEST"), *map(_finding, report.findings), ""]
    lines += [f"not the mirror's, left alone: {path}" for path in report.strangers]
    for leftover in report.unfinished:
        state = "being written" if leftover.is_written else "to be gone on with"
        lines.append(f"unfinished, {state}: {leftover.name}, {_size(leftover.size)}")
    bad = len(report.findings)
    summary = f"{report.files} files, {_size(report.size)}, {report.seconds:.1f} s: "
    return [*lines, summary + ("all good" if not bad else f"{bad} bad")]


def _finding(finding: Finding) -> str:
    row = _row(finding.problem, finding.action, finding.file.kind, str(finding.file.digest))
    return f"{row}  {finding.detail}".rstrip()


def _row(problem: str, action: str, kind: str, digest: str) -> str:
    return f"{problem:<11} {action:<10} {kind:<9} {digest}"


def _size(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"

"""The report of a scrub, for people and for machines."""

from __future__ import annotations

from collections import Counter
from typing import Any

from mirror.proxy.scrubbing.scrub import Finding, Leftover, Report


def document(report: Report) -> dict[str, Any]:
    """Return the report as JSON has it; sizes in bytes."""
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


def lines(report: Report, *, is_fast: bool = False) -> list[str]:
    """Return the report as a terminal shows it: what is bad, what else is there, and one line for all."""
    told: list[str] = []
    if report.findings:
        told += [_row("PROBLEM", "ACTION", "KIND", "SIZE", "DIGEST"), *map(_finding, report.findings), ""]
    told += [f"not the mirror's, left alone: {harmless(path)}" for path in report.strangers]
    told += map(_unfinished, report.unfinished)
    return [*told, f"{_seen(report)}: {_verdict(report, is_fast=is_fast)}"]


def counted(count: int, what: str) -> str:
    """Return how many there are of what."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def sized(size: float) -> str:
    """Return a number of bytes in the unit that suits it."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def harmless(name: str) -> str:
    """Return a name that others may have chosen, harmless to a terminal."""
    return name if name.isascii() and name.isprintable() else ascii(name)


def _finding(finding: Finding) -> str:
    file = finding.file
    row = _row(finding.problem, finding.action, file.kind, sized(file.size), str(file.digest))
    return f"{row}  {finding.detail}".rstrip()


def _row(problem: str, action: str, kind: str, size: str, digest: str) -> str:
    return f"{problem:<10}  {action:<9}  {kind:<8}  {size:>10}  {digest}"


def _unfinished(leftover: Leftover) -> str:
    state = "being written" if leftover.is_written else "the next request goes on with it"
    return f"unfinished, {state}: partial/{harmless(leftover.name)}, {sized(leftover.size)}"


def _seen(report: Report) -> str:
    return f"{counted(report.files, 'file')}, {sized(report.size)}, {report.seconds:.1f} s"


def _verdict(report: Report, *, is_fast: bool) -> str:
    if not report.findings:
        return "all as long as they should be, none was read" if is_fast else "all good"
    actions = Counter(str(finding.action) for finding in report.findings)
    return f"{len(report.findings)} bad, {', '.join(f'{count} {action}' for action, count in actions.items())}"

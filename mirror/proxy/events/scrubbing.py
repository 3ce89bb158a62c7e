"""Committed files that were examined."""

from __future__ import annotations

from dataclasses import dataclass

from mirror.oci.digest import Digest


@dataclass(frozen=True, slots=True)
class FileScrubbed:
    """A committed file was examined: what is wrong with it, and what was done about that; None for nothing."""

    digest: Digest
    size: int
    problem: str | None
    action: str | None


@dataclass(frozen=True, slots=True)
class ScrubFinished:
    """All files have been examined once more, at this time (epoch seconds)."""

    at: float

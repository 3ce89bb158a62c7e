"""Which code was measured."""

from __future__ import annotations

import subprocess

from benchmarks.places import ROOT


def commit() -> str:
    """Return the commit of the checkout, with a plus where the mirror's code differs from it."""
    changed = _git("status", "--porcelain", "--", "mirror")
    return _git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", ROOT, *arguments], check=False, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else "unknown"

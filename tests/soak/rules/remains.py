"""What is left: every committed file has its digest, nothing else lies there, and the limits were kept."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from tests.soak.history import History, Remains
from tests.soak.rules.truth import Truth

_KNOWN = re.compile(r"oci-layout|index\.json|run/[^/]+|partial/sha256-[0-9a-f]{64}|blobs/sha256/[0-9a-f]{64}")


def bad_remains(history: History, truth: Truth) -> Iterator[str]:
    """Yield the files that should not be in the cache folder, or not like this; flipped bits end with the scrub."""
    for file in history.remains:
        if not _KNOWN.fullmatch(file.path):
            yield f"a stranger in the cache folder: {file}"
        elif _is_blob(file) and not _is_right(file, truth, flipped_by=None if file.scrubbed else math.inf):
            yield f"a committed file with wrong bytes: {file}"
    for scrubbed in (False, True):
        size = sum(file.size for file in history.remains if _is_blob(file) and file.scrubbed is scrubbed)
        if size > history.terms.max_size:
            yield f"the cache has {size} bytes of {history.terms.max_size}"


def wrong_scrubs(history: History, truth: Truth) -> Iterator[str]:
    """Yield what the mirror's own scrub says and is not so."""
    before = [file for file in history.remains if _is_blob(file) and not file.scrubbed]
    damaged = sorted(_digest(file) for file in before if not _is_right(file, truth, flipped_by=None))
    for scrub in history.scrubs:
        if sorted(scrub.damaged) != damaged or scrub.code != (1 if damaged else 0):
            yield f"a scrub that should have found {damaged}: {scrub}"
        if scrub.strangers:
            yield f"a scrub that knows not its own: {scrub}"


def bad_exits(history: History) -> Iterator[str]:
    """Yield the mirrors that ended by themselves, or not in order."""
    for one in history.exits:
        if not one.is_wanted or one.code != 0:
            yield f"a mirror ended badly: {one}"


def objections(history: History) -> Iterator[str]:
    """Yield what the registry was asked for without reason."""
    for one in history.objections:
        yield f"an unexpected request: {one.text}"


def _is_blob(file: Remains) -> bool:
    return file.path.startswith("blobs/")


def _digest(file: Remains) -> str:
    return f"sha256:{file.path.rpartition('/')[2]}"


def _is_right(file: Remains, truth: Truth, flipped_by: float | None) -> bool:
    digest = _digest(file)
    is_whole = truth.knows(digest) and file.size == truth.size(digest)
    return is_whole and truth.has(digest, ((0, file.size),), file.sha256, flipped_by)

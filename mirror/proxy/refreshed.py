"""What came of asking upstream about a tag that nobody waits for."""

from __future__ import annotations

from enum import StrEnum


class Refreshed(StrEnum):
    """What a tag was found to be when upstream was asked about it."""

    UNCHANGED = "unchanged"
    """It points to what it was known to point to."""
    MOVED = "moved"
    """It points to something else, or was not known; that is here now."""
    GONE = "gone"
    """Upstream refuses it."""
    UNREACHABLE = "unreachable"
    """Upstream could not be asked, or did not give what it names."""

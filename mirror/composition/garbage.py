"""Python's search for garbage, for a process that serves: seldom, and never through what was there from the start.

A request leaves little behind that only the search would find; it makes hundreds of objects all the same, and every
seven hundred of them would start another search.
"""

from __future__ import annotations

import gc

NEW_OBJECTS = 20_000
"""Objects made, and not freed, since the last search before there is another: some megabytes."""

_YOUNG, _OLDER = 20, 50
# Searches of one generation before there is one of the next.


def search_seldom() -> None:
    """Set everything that there is now aside, and search rarely from now on."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, _YOUNG, _OLDER)

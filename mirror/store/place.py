"""Where a partial file is, and where it is going."""

from __future__ import annotations

from dataclasses import dataclass

from mirror.store.files import Folder


@dataclass(frozen=True, slots=True)
class Place:
    """Its name in `partial`, the same as its page's in `run`, and the folder that it is committed to."""

    name: str
    partial: Folder
    run: Folder
    target: Folder

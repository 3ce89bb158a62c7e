"""What an operator did to what is cached."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Purged:
    """An operator had images of a repository removed, and with them `files` of `size` bytes."""

    repository: str
    images: int
    files: int
    size: int


@dataclass(frozen=True, slots=True)
class PinChanged:
    """An operator pinned an image that was not, or unpinned it."""

    image: str
    is_pinned: bool

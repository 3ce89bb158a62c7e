"""What the cache holds, and what it gave up to make room."""

from __future__ import annotations

from dataclasses import dataclass

from mirror.oci.digest import Digest


@dataclass(frozen=True, slots=True)
class Evicted:
    """A file was removed from the cache, `unused` seconds after it had been used last.

    Reason is `size` or `disk` (to make room), or `age`.
    """

    digest: Digest
    size: int
    reason: str = "size"
    unused: float = 0.0


@dataclass(frozen=True, slots=True)
class PinsCrowding:
    """What is pinned takes `size` bytes, so that little of `max_size` is left for what is new."""

    size: int
    max_size: int


@dataclass(frozen=True, slots=True)
class CacheResized:
    """What the cache holds now; `size` in bytes."""

    size: int
    manifests: int
    blobs: int

"""Hashing files, a step at a time: whoever is cancelled waits for one step, and others have their turn between two."""

from __future__ import annotations

from mirror.oci.digest import Digest, Hasher
from mirror.store import files
from mirror.store.threads import Threads

STEP = 16 * 1024 * 1024
"""Bytes that are hashed before anybody else has a turn."""


async def take_in(fd: int, hasher: Hasher, stop: int, threads: Threads) -> int:
    """Have `hasher` take the bytes of the file before `stop`; returns how many there were. Raises StoreFailed."""

    def take(start: int) -> int:
        size = 0
        for piece in files.pieces(fd, start, min(stop, start + STEP)):
            hasher.update(piece)
            size += len(piece)
        return size

    taken = 0
    while taken < stop and (more := await threads.run(take, taken)):
        taken += more
    return taken


async def has_digest(fd: int, size: int, digest: Digest, threads: Threads) -> bool:
    """Tell whether the file, which has `size` bytes, has the digest; raises StoreFailed."""
    hasher = digest.hasher()
    await take_in(fd, hasher, size, threads)
    return hasher.hexdigest() == digest.encoded

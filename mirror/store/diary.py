"""What is remembered of scrubs, in `run/` (see patrol.Diary)."""

from __future__ import annotations

import json
import math

from mirror.errors import RequestError
from mirror.oci.digest import Digest
from mirror.store import drafts, files
from mirror.store.folders import Folders
from mirror.store.threads import Threads

_NOTE = "scrub"
_LOCK = "scrubbing"


class StoredDiary:
    """A small file, and the lock of whoever scrubs."""

    def __init__(self, folders: Folders, threads: Threads) -> None:
        self._folders = folders
        self._threads = threads
        self._fd: int | None = None

    async def take(self) -> bool:
        """Be the one that scrubs, until `give_back`; False if another process is."""
        self._fd = await self._threads.obtain(lambda: self._folders.run.claim(_LOCK), _close)
        return self._fd is not None

    async def give_back(self) -> None:
        """Be it no more."""
        fd, self._fd = self._fd, None
        _close(fd)

    async def read(self) -> tuple[float, Digest | None]:
        """Return when the last scrub ended (epoch seconds), and behind which file one was interrupted."""
        return _parse(await self._threads.run(lambda: self._folders.run.read(_NOTE) or b""))

    async def write(self, finished_at: float, after: Digest | None) -> None:
        """Note both."""
        note = {"finished_at": finished_at, "after": None if after is None else str(after)}
        await self._threads.run(drafts.replace, self._folders.run, _NOTE, json.dumps(note).encode())


def _parse(data: bytes) -> tuple[float, Digest | None]:
    try:
        note = json.loads(data)
        finished_at = float(note["finished_at"])
        after = None if note["after"] is None else Digest.parse(note["after"])
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, RequestError):
        return 0.0, None
    return (finished_at if math.isfinite(finished_at) else 0.0), after


def _close(fd: int | None) -> None:
    if fd is not None:
        files.close(fd)

"""What processes tell each other of a fill: one small record a partial file, in `run/`, under the same name.

A record is written in place and read at any moment, so it carries a checksum: what was read half old and half new is
read again. After a crash it is only a claim.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from mirror.proxy.interfaces.fills import FillState

_FORM = struct.Struct("<4sQqqqB?")
_CHECK = struct.Struct("<I")
_MAGIC = b"fil1"
_STATES = tuple(FillState)
SIZE = _FORM.size + _CHECK.size
"""Bytes of a record."""

MARK = b"w"
"""Behind the record of a fill that upstream has not agreed to yet: somebody in another process waits for it."""


@dataclass(frozen=True, slots=True)
class Page:
    """How far the fill of the partial file with this inode has come (see Sighting)."""

    inode: int
    prefix: int = 0
    total: int | None = None
    reserved: int = 0
    """What it will take of the disk, as far as that is known; in bytes."""
    state: FillState = FillState.WRITING
    is_agreed: bool = False

    def pack(self) -> bytes:
        """Return the record."""
        total = -1 if self.total is None else self.total
        state = _STATES.index(self.state)
        data = _FORM.pack(_MAGIC, self.inode, self.prefix, total, self.reserved, state, self.is_agreed)
        return data + _CHECK.pack(zlib.crc32(data))


def unpack(data: bytes) -> Page | None:
    """Return the page that a record holds, whatever is behind it; None if it is torn, damaged or another's."""
    data = data[:SIZE]
    if len(data) != SIZE or _CHECK.unpack_from(data, _FORM.size)[0] != zlib.crc32(data[: _FORM.size]):
        return None
    magic, inode, prefix, total, reserved, state, is_agreed = _FORM.unpack_from(data)
    if magic != _MAGIC or state >= len(_STATES):
        return None
    return Page(inode, prefix, None if total < 0 else total, reserved, _STATES[state], is_agreed)

"""What the tests here pull: blobs that look random, and a manifest."""

from __future__ import annotations

import json
import random

from mirror.oci.descriptor import Manifest
from mirror.oci.digest import Digest
from mirror.oci.media_types import OCI_MANIFEST

PIECE = 64 * 1024
"""Bytes that upstream sends at once, and that are written at once."""


def blob(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


OLD = [blob(seed, 2 * PIECE) for seed in (1, 2)]
"""What is stored before anything happens; the first of them goes to make room."""
DAMAGED = blob(3, PIECE)
"""The same, but the disk has turned a bit of it."""
FIRST = blob(4, 4 * PIECE + 1000)
SECOND = blob(5, 3 * PIECE)
"""What is pulled, one after the other."""

_TEXT = json.dumps({"schemaVersion": 2, "layers": [{"digest": str(Digest.of(FIRST))}]}).encode()
MANIFEST = Manifest(Digest.of(_TEXT), OCI_MANIFEST, _TEXT)

BLOBS = {Digest.of(data): data for data in (*OLD, DAMAGED, FIRST, SECOND)}
MAX_SIZE = sum(len(data) for data in BLOBS.values()) - PIECE
"""The bytes of the cache; less than all blobs have."""

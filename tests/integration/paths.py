"""Where things are asked for, here and upstream."""

from __future__ import annotations

from tests.fakes.content import FakeBlob


def path_of(blob: FakeBlob, repository: str = "library/alpine") -> str:
    """The path of a blob."""
    return f"/v2/{repository}/blobs/{blob.digest}"

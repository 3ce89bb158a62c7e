"""Descriptors: media type, digest and size of some content, and a manifest together with its bytes."""

from __future__ import annotations

from dataclasses import dataclass

from mirror.oci.digest import Digest


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What identifies content (image-spec, descriptor.md); `size` in bytes."""

    media_type: str
    digest: Digest
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The exact bytes of a manifest or index, verified against `digest`, and their media type."""

    digest: Digest
    media_type: str
    data: bytes

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor of these bytes."""
        return Descriptor(self.media_type, self.digest, len(self.data))

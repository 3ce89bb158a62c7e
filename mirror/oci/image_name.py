"""Images as people name them on a command line: `alpine`, `ghcr.io/owner/app:1.0`, `owner/app@sha256:…`."""

from __future__ import annotations

from dataclasses import dataclass

from mirror.oci.digest import Digest
from mirror.oci.paths import Name
from mirror.oci.reference import Tag

_USUAL_TAG = "latest"


@dataclass(frozen=True, slots=True)
class ImageName:
    """A name, and the tag or digest in it; of both, the digest counts."""

    name: Name
    reference: Tag | Digest

    @classmethod
    def parse(cls, text: str) -> ImageName:
        """Return what `text` names; raises InvalidName, InvalidTag or InvalidDigest."""
        named, at, digest = text.partition("@")
        name, colon, tag = named.rpartition(":")
        if not colon or "/" in tag:
            # The colon is that of a registry's port.
            name, tag = named, _USUAL_TAG
        return cls(Name.parse(name), Digest.parse(digest) if at else Tag(tag))

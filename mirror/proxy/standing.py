"""What a hit stands on: whoever asks the same again may be answered the same while that is so. Nothing here waits.

The manifest is always asked for last: that is where it is heard of purges, and after one no manifest is at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mirror.oci.descriptor import Manifest
from mirror.proxy.freshness import TagRecord
from mirror.proxy.interfaces.store import ManifestStore
from mirror.proxy.tag_terms import TagTerms


class Standing(Protocol):
    """What an answer stands on."""

    def holds(self) -> bool:
        """Tell whether it would be the same now, its age apart; if so, what it is made of has been used."""

    def age(self) -> int | None:
        """Return the seconds since upstream vouched for it; None for what does not age."""


@dataclass(frozen=True, slots=True)
class Granted:
    """That a manifest is in memory, and that its repository may still serve it, as `granted` tells."""

    manifest: Manifest
    manifests: ManifestStore
    granted: Callable[[], bool]

    def holds(self) -> bool:
        """Tell whether both is so."""
        return self.granted() and self.manifests.at_hand(self.manifest.digest) is self.manifest

    def age(self) -> None:
        """Return that a digest means the same for ever."""


@dataclass(frozen=True, slots=True)
class Vouched:
    """That a manifest is in memory, and that its tag's record, as `known` tells, is what it was, and as `fresh`."""

    manifest: Manifest
    manifests: ManifestStore
    record: TagRecord
    known: Callable[[], TagRecord | None]
    fresh: Callable[[], bool]
    terms: TagTerms

    def holds(self) -> bool:
        """Tell whether all of it is so."""
        return (
            ((known := self.known()) is self.record or known == self.record)
            and self.fresh()
            and self.manifests.at_hand(self.manifest.digest) is self.manifest
        )

    def age(self) -> int:
        """Return the seconds since upstream vouched for the tag."""
        return self.terms.age(self.record)

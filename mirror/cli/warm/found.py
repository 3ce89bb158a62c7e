"""What a file names: images, and what of it could not be told."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Found:
    """Names of images, as they stand in a file and each once; and a sentence on each thing that is left out."""

    images: dict[str, None] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def add(self, image: str) -> None:
        """Note an image."""
        self.images[image] = None

    def skip(self, sentence: str) -> None:
        """Note what is left out."""
        self.skipped.append(sentence)


class Unreadable(Exception):
    """A file is not what it is taken for; the text says so in a sentence."""

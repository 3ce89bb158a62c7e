"""Digests: `algorithm:encoded`, the identity of all content (image-spec, descriptor.md#digests)."""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass
from typing import Protocol

from mirror.errors import InvalidDigest

_ENCODED = {"sha256": re.compile(r"[0-9a-f]{64}"), "sha512": re.compile(r"[0-9a-f]{128}")}

_REMEMBERED = 4096
# Digests that are asked for again and again are parsed once, and compared by who they are.


class Hasher(Protocol):
    """The part of a hashlib object that a digest needs."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take more bytes in."""

    def hexdigest(self) -> str:
        """Return the hash of the bytes so far, in lower-case hex."""


@dataclass(frozen=True, slots=True)
class Digest:
    """A digest of a registered algorithm (sha256 or sha512); cannot be malformed.

    Raises InvalidDigest when constructed from anything else.
    """

    algorithm: str
    encoded: str

    def __post_init__(self) -> None:
        grammar = _ENCODED.get(self.algorithm)
        if grammar is None or not grammar.fullmatch(self.encoded):
            raise InvalidDigest("a digest is sha256 and 64, or sha512 and 128, lower-case hex digits")

    def __hash__(self) -> int:
        # A string remembers its own: every look-up of every request needs it.
        return hash(self.encoded)

    @classmethod
    @functools.lru_cache(_REMEMBERED)
    def parse(cls, text: str) -> Digest:
        """Return the digest that `text` spells; raises InvalidDigest."""
        algorithm, _, encoded = text.partition(":")
        return cls(algorithm, encoded)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Digest:
        """Return the digest of `data`."""
        return cls(algorithm, hashlib.new(algorithm, data).hexdigest())

    def hasher(self) -> Hasher:
        """Return a fresh hash object of this digest's algorithm."""
        return hashlib.new(self.algorithm)

    def verifies(self, data: bytes) -> bool:
        """Tell whether `data` has this digest."""
        return Digest.of(data, self.algorithm) == self

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.encoded}"

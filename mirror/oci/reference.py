"""Names: registry, repository, and the tag or digest in it (distribution-spec, "Pulling manifests")."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mirror.errors import InvalidName, InvalidTag
from mirror.oci.digest import Digest

MAX_NAME = 255
"""Longest repository name, in characters: what clients allow for host and name together."""

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_REGISTRY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Repository:
    """The path that names a set of manifests and blobs within a registry.

    Raises InvalidName when constructed from anything outside the grammar.
    """

    name: str

    def __post_init__(self) -> None:
        if len(self.name) > MAX_NAME:
            raise InvalidName(f"a repository name has at most {MAX_NAME} characters")
        if not _REPOSITORY.fullmatch(self.name):
            raise InvalidName("a repository name is lower-case letters, digits and . _ - between slashes")

    @property
    def pull_scope(self) -> str:
        """The scope a token needs to pull from here (distribution, spec/auth/scope.md)."""
        return f"repository:{self.name}:pull"

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Tag:
    """A mutable name within a repository; raises InvalidTag when outside the grammar."""

    name: str

    def __post_init__(self) -> None:
        if not is_tag(self.name):
            raise InvalidTag("a tag is up to 128 letters, digits and . _ -, and begins with none of . -")

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Variant:
    """What a tag is to clients that take only these media types: perhaps another manifest than it is to the others."""

    tag: Tag
    types: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.tag} as {','.join(self.types)}"


Reference = Tag | Variant | Digest
"""What a manifest is asked for by."""


def parse_reference(text: str) -> Tag | Digest:
    """Return the digest or tag that `text` spells; a colon makes it a digest.

    Raises InvalidDigest or InvalidTag.
    """
    return Digest.parse(text) if ":" in text else Tag(text)


def is_tag(text: str) -> bool:
    """Tell whether `text` is within the grammar of tags."""
    return bool(_TAG.fullmatch(text))


def is_registry(text: str) -> bool:
    """Tell whether `text` is a registry's name: a host, perhaps with a port."""
    return bool(_REGISTRY.fullmatch(text))


def split_registry(name: str) -> tuple[str | None, str]:
    """Split `[registry/]repository`, by the rule all clients share.

    The first of several components is a registry if it has a dot, a port or a capital, or is `localhost`.
    Returns the registry in lower case, or None, and the rest, which is not yet validated.
    """
    first, slash, rest = name.partition("/")
    is_named = any(char in first for char in ".:") or first == "localhost" or first != first.lower()
    if slash and is_named and is_registry(first):
        return first.lower(), rest
    return None, name

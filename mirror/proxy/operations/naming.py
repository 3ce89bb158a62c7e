"""Images by their full names: an upstream, a repository in it, and a tag or a digest."""

from __future__ import annotations

from dataclasses import dataclass

from mirror.errors import InvalidName, InvalidTag
from mirror.oci.digest import Digest
from mirror.oci.image_name import ImageName
from mirror.oci.paths import Name
from mirror.oci.reference import Repository, Tag, is_registry
from mirror.proxy.routing import Route, Routing

ALGORITHMS = ("sha256", "sha512")
"""What a digest begins with, and no repository is called."""


@dataclass(frozen=True, slots=True)
class FullName:
    """A tag or a digest in a repository of an upstream; written `docker.io/library/alpine:3.20`."""

    route: Route
    reference: Tag | Digest

    @classmethod
    def parse(cls, text: str) -> FullName:
        """Return the name whose `str` is `text`; raises RequestError for anything else."""
        upstream, _, rest = text.partition("/")
        if not is_registry(upstream):
            raise InvalidName("a full name begins with a registry")
        name, at, digest = rest.partition("@")
        if at:
            return cls(Route(upstream, Repository(name)), Digest.parse(digest))
        name, colon, tag = rest.rpartition(":")
        if not colon:
            raise InvalidTag("a full name has a tag or a digest")
        return cls(Route(upstream, Repository(name)), Tag(tag))

    def __str__(self) -> str:
        return f"{self.route}{'@' if isinstance(self.reference, Digest) else ':'}{self.reference}"


class Naming:
    """What people mean when they name an image to the mirror: the same as when they pull it."""

    def __init__(self, routing: Routing) -> None:
        self._routing = routing

    def image(self, text: str) -> FullName:
        """Return the full name of an image; without tag and digest it is `latest`, of both the digest counts.

        Raises InvalidName, InvalidTag or InvalidDigest, and UnknownRegistry for one that is not configured.
        """
        image = ImageName.parse(text)
        if image.name.whole in ALGORITHMS:
            raise InvalidName("a digest belongs to a repository: REPOSITORY@DIGEST")
        return FullName(self._routing.route(image.name, None, ""), image.reference)

    def repository(self, text: str) -> Route:
        """Return the repository that is named, without tag and digest; raises InvalidName, UnknownRegistry."""
        return self._routing.route(Name.parse(text), None, "")


def former_image(text: str) -> FullName:
    """Return the same of a registry that is not configured, since it may have been once.

    Raises InvalidName, InvalidTag or InvalidDigest.
    """
    image = ImageName.parse(text)
    return FullName(_former(image.name), image.reference)


def former_repository(text: str) -> Route:
    """Return the repository of a registry that is not configured; raises InvalidName."""
    return _former(Name.parse(text))


def _former(name: Name) -> Route:
    if name.registry is None:
        raise InvalidName("a full name begins with a registry")
    return Route(name.registry, Repository(name.rest))

"""Paths of the distribution API, parsed once from the raw request target into values that cannot be wrong."""

from __future__ import annotations

from dataclasses import dataclass

from mirror.errors import InvalidName, UnknownPath
from mirror.oci.digest import Digest
from mirror.oci.reference import Repository, Tag, parse_reference, split_registry


@dataclass(frozen=True, slots=True)
class Name:
    """A repository as the client spells it: `registry` is set where the first component looks like one.

    `whole` is the same name with that component taken as part of the repository; it is what counts when the
    registry is given another way, and need not be valid as long as nobody asks for it.
    """

    registry: str | None
    rest: str
    whole: str

    @classmethod
    def parse(cls, text: str) -> Name:
        """Return the name that `text` spells; raises InvalidName."""
        registry, rest = split_registry(text)
        Repository(rest)
        return cls(registry, rest, text)


@dataclass(frozen=True, slots=True)
class Ping:
    """`/v2/`: does this speak the distribution API?"""


@dataclass(frozen=True, slots=True)
class ManifestPath:
    """`/v2/<name>/manifests/<reference>`."""

    name: Name
    reference: Tag | Digest


@dataclass(frozen=True, slots=True)
class BlobPath:
    """`/v2/<name>/blobs/<digest>`."""

    name: Name
    digest: Digest


@dataclass(frozen=True, slots=True)
class TagsPath:
    """`/v2/<name>/tags/list`."""

    name: Name


@dataclass(frozen=True, slots=True)
class ReferrersPath:
    """`/v2/<name>/referrers/<digest>`."""

    name: Name
    digest: Digest


ApiPath = Ping | ManifestPath | BlobPath | TagsPath | ReferrersPath


def parse_path(raw_path: str) -> ApiPath:
    """Return what the raw path, as it stood in the request line and without its query, asks for.

    Raises InvalidName, InvalidTag or InvalidDigest for a malformed part and UnknownPath for anything that is
    not an endpoint. Nothing is decoded: no valid name needs percent-encoding, and what is never decoded cannot
    be decoded twice.
    """
    if raw_path in ("/v2", "/v2/"):
        return Ping()
    rest = raw_path.removeprefix("/v2/")
    if rest == raw_path:
        raise UnknownPath("not a path of the distribution API")
    if not rest.isascii() or not rest.isprintable() or any(char in rest for char in "%\\"):
        raise InvalidName("a path of the distribution API has no encoded or special characters")
    return _parse_endpoint(rest)


def _parse_endpoint(rest: str) -> ApiPath:
    name, _, tail = rest.rpartition("/")
    name, _, endpoint = name.rpartition("/")
    match endpoint:
        case "manifests":
            return ManifestPath(Name.parse(name), parse_reference(tail))
        case "blobs":
            return BlobPath(Name.parse(name), Digest.parse(tail))
        case "referrers":
            return ReferrersPath(Name.parse(name), Digest.parse(tail))
        case "tags" if tail == "list":
            return TagsPath(Name.parse(name))
    raise UnknownPath("not a path of the distribution API")

"""What upstreams and their endpoints did when they were asked."""

from __future__ import annotations

from dataclasses import dataclass

from mirror.errors import MirrorError
from mirror.proxy.cache_status import Kind


@dataclass(frozen=True, slots=True)
class UpstreamAnswered:
    """An upstream answered a request with `status`, or with None: not at all. `seconds` to its headers."""

    upstream: str
    kind: Kind
    status: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class EndpointJudged:
    """An endpoint of an upstream does not answer any more, for this reason, or does again."""

    upstream: str
    endpoint: str
    is_well: bool
    cause: str | None


@dataclass(frozen=True, slots=True)
class UpstreamReceived:
    """Body bytes arrived from an upstream."""

    upstream: str
    size: int


@dataclass(frozen=True, slots=True)
class EndpointUnverified:
    """The certificate of an endpoint may be anybody's: the configuration says so."""

    upstream: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class RevalidationFailed:
    """An upstream was asked about what had been served a little too old, and nothing was learned.

    `what` is a tag, or a list, in words.
    """

    upstream: str
    what: str
    error: MirrorError


@dataclass(frozen=True, slots=True)
class DeletionSeen:
    """An upstream was found to have deleted a tag that is served on; told once for a deletion."""

    upstream: str
    image: str

"""What happened, as values: the core and the outer parts report, telemetry counts and logs.

No event holds a secret or a query string; `upstream` is always the name of a configured upstream.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from mirror.oci.digest import Digest
from mirror.proxy.cache_status import Kind, Outcome
from mirror.proxy.rate_limit import RateLimit, Spending
from mirror.proxy.readiness import Readiness


@dataclass(slots=True)
class RequestFinished:
    """A client's request was answered, to its end or to where it was cut; filled in as the request goes."""

    method: str
    path: str
    client: str
    kind: Kind = Kind.OTHER
    upstream: str = "none"
    outcome: Outcome = Outcome.ERROR
    status: int = 0
    source: str = "cache"
    """Where the body came from: `cache`, or `upstream` while it was being filled."""
    sent: int = 0
    """Body bytes handed to the client's socket."""
    seconds: float = 0.0
    cause: str | None = None
    """Why it went wrong, for the operator; None when nothing did."""
    user_agent: str = ""


@dataclass(frozen=True, slots=True)
class LoopRefused:
    """A request for something of `upstream` was refused: it had come through this mirror before."""

    upstream: str
    client: str


@dataclass(frozen=True, slots=True)
class ConnectionsCounted:
    """A client's connection came or went: so many are `open` now, of at most `limit`."""

    open: int
    limit: int


@dataclass(frozen=True, slots=True)
class ConnectionRefused:
    """A client's connection was closed before a request came of it.

    The reason is `full`, `slow_head`, `malformed`, or `tls` for a client that tries https where there is none.
    """

    reason: str
    client: str


@dataclass(frozen=True, slots=True)
class AcceptFailed:
    """The system gave no file handle for a connection that is waiting; it is tried again."""

    error: OSError


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
class TokenRequested:
    """A token service was asked; outcome is `granted`, `refused` or `failed`."""

    upstream: str
    outcome: str


@dataclass(frozen=True, slots=True)
class PullSpent:
    """An upstream gave a manifest, which is what those count that limit pulls."""

    upstream: str


@dataclass(frozen=True, slots=True)
class SpendingChanged:
    """From now on this may be spent on an upstream; `rate` is what its accounts have left, None for untold."""

    upstream: str
    spending: Spending
    rate: RateLimit | None


@dataclass(frozen=True, slots=True)
class LimitTold:
    """Somebody wants to know what is left of the limit of an upstream, None where it tells of none.

    `exhausted_in` is the seconds until nothing is, if pulls go on as they did; infinity where no end is in sight.
    """

    upstream: str
    spending: Spending
    rate: RateLimit | None
    exhausted_in: float


@dataclass(frozen=True, slots=True)
class CredentialsWithheld:
    """A challenge named a token service the upstream's credentials are not bound to."""

    upstream: str
    realm: str


@dataclass(frozen=True, slots=True)
class CredentialsUnreadable:
    """The credentials of an upstream could not be had from where they are kept, for this reason."""

    upstream: str
    reason: str


@dataclass(frozen=True, slots=True)
class EndpointUnverified:
    """The certificate of an endpoint may be anybody's: the configuration says so."""

    upstream: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class VisibilityAsked:
    """An upstream was asked whether anybody may read a repository.

    Outcome is `public`, `private`, `missing` (what it was asked by is not there) or `untold`.
    """

    upstream: str
    outcome: str


@dataclass(frozen=True, slots=True)
class DeletionSeen:
    """An upstream was found to have deleted a tag that is served on; told once for a deletion."""

    upstream: str
    image: str


@dataclass(frozen=True, slots=True)
class FillStarted:
    """A blob began to be fetched."""

    upstream: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class FillResumed:
    """A fill goes back to its upstream after `size` bytes, because of `error`."""

    upstream: str
    digest: Digest
    size: int
    error: Exception


@dataclass(frozen=True, slots=True)
class FillFinished:
    """A fill ended after `size` bytes: committed, dropped, or with `error`.

    `unkept` is why it was dropped: `too_large`, `no_room`, or `disk` for one that would not take it.
    """

    upstream: str
    digest: Digest
    size: int
    committed: bool
    error: Exception | None = None
    unkept: str | None = None


@dataclass(frozen=True, slots=True)
class DigestMismatched:
    """An upstream delivered bytes that are not what their digest says."""

    upstream: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class Evicted:
    """A file was removed from the cache, `unused` seconds after it had been used last.

    Reason is `size` or `disk` (to make room), or `age`.
    """

    digest: Digest
    size: int
    reason: str = "size"
    unused: float = 0.0


@dataclass(frozen=True, slots=True)
class Purged:
    """An operator had images of a repository removed, and with them `files` of `size` bytes."""

    repository: str
    images: int
    files: int
    size: int


@dataclass(frozen=True, slots=True)
class PinChanged:
    """An operator pinned an image that was not, or unpinned it."""

    image: str
    is_pinned: bool


@dataclass(frozen=True, slots=True)
class PinsCrowding:
    """What is pinned takes `size` bytes, so that little of `max_size` is left for what is new."""

    size: int
    max_size: int


@dataclass(frozen=True, slots=True)
class FileScrubbed:
    """A committed file was examined: what is wrong with it, and what was done about that; None for nothing."""

    digest: Digest
    size: int
    problem: str | None
    action: str | None


@dataclass(frozen=True, slots=True)
class ScrubFinished:
    """All files have been examined once more, at this time (epoch seconds)."""

    at: float


@dataclass(frozen=True, slots=True)
class ImageWarmed:
    """An image was to be had in the cache: `fetched` bytes came from its upstream for it.

    Outcome is `warmed`, `present`, `spared` or `failed` (see warming.warm); `error` is why it is one of the last two.
    """

    image: str
    outcome: str
    fetched: int = 0
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class WarmingRoundFinished:
    """What is to be warm has been looked after once more, at this time (epoch seconds).

    `images` is how many ended how, by outcome (see ImageWarmed).
    """

    at: float
    images: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class HotTagRefreshed:
    """Upstream was asked about a tag before clients had to wait for it; outcome is `unchanged`, `moved` or `failed`."""

    outcome: str


@dataclass(frozen=True, slots=True)
class CacheResized:
    """What the cache holds now; `size` in bytes."""

    size: int
    manifests: int
    blobs: int


@dataclass(frozen=True, slots=True)
class ReadinessTold:
    """Somebody asked whether the mirror is ready."""

    readiness: Readiness


@dataclass(frozen=True, slots=True)
class StoreTroubled:
    """The disk or an index refused; `doing` says at what."""

    doing: str
    error: Exception


@dataclass(frozen=True, slots=True)
class TaskCrashed:
    """A background task ended with an error nobody foresaw: a bug."""

    task: str
    error: BaseException


Event = (
    RequestFinished
    | LoopRefused
    | ConnectionsCounted
    | ConnectionRefused
    | AcceptFailed
    | UpstreamAnswered
    | EndpointJudged
    | UpstreamReceived
    | TokenRequested
    | PullSpent
    | SpendingChanged
    | LimitTold
    | CredentialsWithheld
    | CredentialsUnreadable
    | EndpointUnverified
    | VisibilityAsked
    | DeletionSeen
    | FillStarted
    | FillResumed
    | FillFinished
    | DigestMismatched
    | Evicted
    | Purged
    | PinChanged
    | PinsCrowding
    | FileScrubbed
    | ScrubFinished
    | ImageWarmed
    | WarmingRoundFinished
    | HotTagRefreshed
    | CacheResized
    | ReadinessTold
    | StoreTroubled
    | TaskCrashed
)


class Observer(Protocol):
    """Told of every event, on the loop; must be quick and never raise."""

    def notify(self, event: Event) -> None:
        """Take note of `event`."""

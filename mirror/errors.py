"""What can go wrong, in our words: whose fault it is, never which HTTP status answers it.

The text of an error is one line, safe for a client and for a log: it holds no secret, no query string and
nothing an upstream wrote.
"""


class MirrorError(Exception):
    """Base of everything the mirror raises on purpose."""

    remembered = False
    """True where the error is not news but a failure of a moment ago."""


class ConfigError(MirrorError):
    """The configuration cannot be used; `key` is the path of the field at fault, empty for the file itself."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}" if key else problem)
        self.key = key


class AddressUnavailable(MirrorError):
    """An address to listen on is not to be had now, and may be later; `key` is the path of its field."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key


# The request is at fault. --------------------------------------------------------------------------------


class RequestError(MirrorError):
    """The client asked for something that cannot exist."""


class InvalidName(RequestError):
    """A repository name outside the grammar of the distribution spec."""


class InvalidTag(RequestError):
    """A tag outside the grammar of the distribution spec."""


class InvalidDigest(RequestError):
    """A digest that is malformed, or of an algorithm that is not supported."""


class InvalidPlatform(RequestError):
    """What is not `os/architecture` or `os/architecture/variant`."""


class UnknownPath(RequestError):
    """A path that is not part of the distribution API, or a part the mirror does not serve."""


class UnknownRegistry(RequestError):
    """The request names a registry that is not configured."""


class LoopDetected(RequestError):
    """The request came through this mirror before, or through more caches than can be meant."""


class InvalidPage(RequestError):
    """A page of a list that cannot be: its length is not a number."""


class RangeNotSatisfiable(RequestError):
    """The range begins behind the end of the blob, which is `size` bytes long."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the blob has {size} bytes")
        self.size = size


class PreconditionFailed(RequestError):
    """The client wants what it names, and nothing else; the content is another one."""


# Upstream answered, and the answer is no. ----------------------------------------------------------------


class Refused(MirrorError):
    """Upstream's own, final answer: what was asked for is not to be had."""


class ManifestUnknown(Refused):
    """Upstream has no such manifest."""


class BlobUnknown(Refused):
    """Upstream has no such blob in this repository."""


class NameUnknown(Refused):
    """Upstream has no such repository."""


class ReferrersUnknown(ManifestUnknown):
    """Upstream has no list of referrers to give, which it need not have: there is another place for them."""


class Denied(Refused):
    """Upstream refuses access to this repository with the credentials the mirror has."""


class Unauthorized(Denied):
    """Upstream says 401 to who asks without credentials: of what is private, and of what is not there any more."""


class NotPublic(Denied):
    """The repository is not one that anybody may read, and the mirror serves no other."""


# Upstream could not be asked, or did not answer as a registry. ---------------------------------------------


class UpstreamUnavailable(MirrorError):
    """Nothing was learned: what is cached stays as good as it was.

    `retry_after` is in how many seconds it may be otherwise; None where that is not known.
    """

    def __init__(self, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UpstreamUnreachable(UpstreamUnavailable):
    """No connection: DNS, TCP, TLS, or an address that policy forbids."""


class ProxyRefused(UpstreamUnreachable):
    """The upstream's proxy is not there, or does not lead to it."""


class UpstreamTimeout(UpstreamUnavailable):
    """No answer within the deadline."""


class CredentialsUnavailable(UpstreamUnavailable):
    """The mirror has credentials for this upstream and cannot get at them; without them it is not asked."""


class UpstreamDown(UpstreamUnavailable):
    """No endpoint of the upstream answers; it is not asked, and looked at again after `retry_after` seconds."""


class UpstreamThrottled(UpstreamUnavailable):
    """Upstream said 429; `retry_after` is in seconds, None where it did not say."""


class LimitReached(UpstreamThrottled):
    """Nothing is left of the mirror's limit at this upstream, which was not asked: it would say no."""


class UpstreamOffline(UpstreamUnavailable):
    """The mirror is offline, and asks nobody."""


class UpstreamLoops(UpstreamUnavailable):
    """Upstream refuses because it is asked in a circle, which says nothing about others that may ask it."""


class PullSaved(UpstreamUnavailable):
    """Upstream has something newer, which was not fetched: few pulls are left, and what is cached will do."""


class UpstreamFailed(UpstreamUnavailable):
    """Upstream answered with a server error."""


class UpstreamInvalid(UpstreamUnavailable):
    """An answer that is not what the protocol allows: wrong digest, wrong type, wrong length."""


class DigestMismatch(UpstreamInvalid):
    """The bytes that arrived do not have the digest that was asked for."""


# We are at fault. ----------------------------------------------------------------------------------------


class StoreFailed(MirrorError):
    """The disk would not take or give the bytes."""


class Busy(MirrorError):
    """The mirror has as much to do as it may; soon it will have less."""


class BodyCut(MirrorError):
    """A body that had begun cannot be completed; its connection must be cut."""


class ShuttingDown(MirrorError):
    """The mirror is stopping and begins nothing new."""


# An operator asked for what cannot be done as things are. --------------------------------------------------


class NotDone(MirrorError):
    """Nothing was changed."""


class NotCached(NotDone):
    """The cache has nothing of this image."""


class NotPinned(NotDone):
    """There is no pin of this name."""


class StillPinned(NotDone):
    """What is pinned is not purged."""


class TooManyPins(NotDone):
    """There are as many pins as there may be."""


class ReserveReached(NotDone):
    """What is left of an upstream's limit is not spent on what nobody has asked for yet."""


class ListUnreadable(NotDone):
    """The file that lists images to be warmed cannot be read."""


class PlatformMissing(NotDone):
    """The image is not there for any of the platforms that are wanted."""

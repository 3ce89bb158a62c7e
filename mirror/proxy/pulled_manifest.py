"""A manifest ready to be sent, and what it is pulled into."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mirror.errors import UpstreamUnavailable
from mirror.oci.descriptor import Manifest
from mirror.proxy.cache_status import CacheStatus
from mirror.proxy.failures import Failures
from mirror.proxy.freshness import FreshnessPolicy
from mirror.proxy.interfaces.clock import Clock
from mirror.proxy.interfaces.store import ManifestStore, Records
from mirror.proxy.rate_limit import Governor, Unlimited
from mirror.proxy.standing import Standing


@dataclass(frozen=True, slots=True)
class PulledManifest:
    """A manifest ready to be sent.

    `age` is in seconds since upstream vouched for the tag, None for a digest; `trouble` is why a tag is stale. A
    hit has a `standing`: while that holds, the same may be served again.
    """

    manifest: Manifest
    status: CacheStatus
    age: int | None = None
    trouble: UpstreamUnavailable | None = None
    standing: Standing | None = None

    def with_status(self, status: CacheStatus) -> PulledManifest:
        """Return the same, for which the cache did something else."""
        return replace(self, status=status)


@dataclass(frozen=True, slots=True)
class Memory:
    """What manifests are pulled into and from."""

    manifests: ManifestStore
    records: Records
    failures: Failures
    policy: FreshnessPolicy
    clock: Clock
    governor: Governor = Unlimited()  # noqa: RUF009  # it has no state

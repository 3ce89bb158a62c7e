"""What clients can have, built from its configuration: who may see it, and the pulls of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mirror.composition.registries import Outside
from mirror.config import Config
from mirror.proxy.access import Access
from mirror.proxy.blob_size import BlobSize
from mirror.proxy.failures import Failures
from mirror.proxy.fills.download import Means
from mirror.proxy.fills.filler import Filler
from mirror.proxy.fills.segments.lanes import Lanes
from mirror.proxy.fills.throttle import Throttle
from mirror.proxy.fills.turns import Turns
from mirror.proxy.interfaces.clock import Clock
from mirror.proxy.interfaces.store import ShortLivedCache
from mirror.proxy.listing import ListingUpstream
from mirror.proxy.pull_blob import PullBlob
from mirror.proxy.pull_listing import ListingMemory, PullListing
from mirror.proxy.pull_manifest import PullManifest
from mirror.proxy.pulled_manifest import Memory
from mirror.proxy.read_ahead import ReadsAhead
from mirror.proxy.visibility import Memory as VisibilityMemory
from mirror.proxy.visibility import View, Visibility
from mirror.store.cache import Cache


@dataclass(frozen=True, slots=True)
class Inside:
    """What is known here: the cache, what was refused or failed lately, and the time."""

    cache: Cache
    failures: ShortLivedCache
    visible: ShortLivedCache
    clock: Clock


@dataclass(frozen=True, slots=True)
class Pulls:
    """The pulls of manifests, of blobs, and of lists, and what is read ahead."""

    manifests: PullManifest
    blobs: PullBlob
    listings: PullListing
    ahead: ReadsAhead


def visibility(config: Config, views: Mapping[str, View], inside: Inside, outside: Outside) -> Visibility:
    """Return what decides whether clients may have anything of a repository."""
    failures = Failures(inside.visible, config.freshness.negative_ttl)
    policy = config.policy
    keeps = bool(policy.keep_deleted)
    memory = VisibilityMemory(
        inside.cache.records, inside.visible, failures, policy.stale_if_error, inside.clock, keeps
    )
    return Visibility(views, memory, outside.tasks, outside.observer)


def pulls(config: Config, upstreams: Mapping[str, ListingUpstream], inside: Inside, outside: Outside) -> Pulls:
    """Return what pulls from these upstreams, and keeps what it pulled."""
    cache, tasks, observer = inside.cache, outside.tasks, outside.observer
    policy, negative_ttl = config.policy, config.freshness.negative_ttl
    failures = Failures(inside.failures, negative_ttl)
    access = Access(cache.records, failures, tasks)
    memory = Memory(cache.manifests, cache.records, failures, policy, inside.clock, outside.budgets)
    listed = ListingMemory(cache.listings, failures, policy, negative_ttl, inside.clock, outside.budgets)
    limits = {name: upstream.limits for name, upstream in config.upstreams.items()}
    throttles = {name: Throttle(limit.bandwidth) for name, limit in limits.items()}
    turns = Turns({name: limit.fills for name, limit in limits.items()})
    means = Means(upstreams, cache.blobs, cache.records, failures, access, observer, throttles, Lanes(turns, observer))
    filler = Filler(means, tasks, turns)
    sizes = BlobSize(upstreams, cache.records, failures, tasks)
    ahead = ReadsAhead(_read_ahead(config), cache.blobs, filler, outside.budgets, tasks, observer)
    return Pulls(
        PullManifest(upstreams, memory, access, tasks, observer),
        PullBlob(upstreams, cache.blobs, access, filler, sizes),
        PullListing(upstreams, listed, tasks, observer),
        ahead,
    )


def _read_ahead(config: Config) -> list[str]:
    """Return the upstreams that are read ahead."""
    return [] if config.offline else [name for name, one in config.upstreams.items() if one.reads_ahead]

"""Every event there is, and whoever is told of them."""

from __future__ import annotations

from typing import Protocol

from mirror.proxy.events.access import CredentialsUnreadable, CredentialsWithheld, TokenRequested, VisibilityAsked
from mirror.proxy.events.connections import AcceptFailed, ConnectionRefused, ConnectionsCounted
from mirror.proxy.events.fills import DigestMismatched, FillFinished, FillResumed, FillStarted, InParts, ReadAhead
from mirror.proxy.events.limits import LimitTold, PullSpent, SpendingChanged
from mirror.proxy.events.operations import PinChanged, Purged
from mirror.proxy.events.requests import LoopRefused, RequestFinished, RequestsRepeated
from mirror.proxy.events.scrubbing import FileScrubbed, ScrubFinished
from mirror.proxy.events.store import CacheResized, Evicted, PinsCrowding
from mirror.proxy.events.troubles import ReadinessTold, StoreTroubled, TaskCrashed
from mirror.proxy.events.upstreams import (
    DeletionSeen,
    EndpointJudged,
    EndpointUnverified,
    RevalidationFailed,
    UpstreamAnswered,
    UpstreamReceived,
)
from mirror.proxy.events.warming import HotTagRefreshed, ImageWarmed, WarmingRoundFinished
from mirror.proxy.events.workers import ReloadPartly, ReloadRefused, WorkerHangs, WorkerLost, WorkerReplaced

Event = (
    RequestFinished
    | RequestsRepeated
    | LoopRefused
    | ConnectionsCounted
    | ConnectionRefused
    | AcceptFailed
    | UpstreamAnswered
    | EndpointJudged
    | UpstreamReceived
    | EndpointUnverified
    | RevalidationFailed
    | DeletionSeen
    | TokenRequested
    | CredentialsWithheld
    | CredentialsUnreadable
    | VisibilityAsked
    | PullSpent
    | SpendingChanged
    | LimitTold
    | FillStarted
    | InParts
    | FillResumed
    | FillFinished
    | ReadAhead
    | DigestMismatched
    | Evicted
    | CacheResized
    | PinsCrowding
    | Purged
    | PinChanged
    | FileScrubbed
    | ScrubFinished
    | ImageWarmed
    | WarmingRoundFinished
    | HotTagRefreshed
    | ReadinessTold
    | StoreTroubled
    | TaskCrashed
    | WorkerHangs
    | WorkerLost
    | WorkerReplaced
    | ReloadRefused
    | ReloadPartly
)


class Observer(Protocol):
    """Told of every event, on the loop; must be quick and never raise."""

    def notify(self, event: Event) -> None:
        """Take note of `event`."""

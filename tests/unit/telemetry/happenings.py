"""One of every event there is, and texts that a line or a label must not break on."""

from __future__ import annotations

import errno
from typing import get_args

from mirror.errors import StoreFailed, UpstreamFailed
from mirror.oci.digest import Digest
from mirror.proxy.cache_status import Kind, Outcome
from mirror.proxy.events.access import CredentialsUnreadable, CredentialsWithheld, TokenRequested, VisibilityAsked
from mirror.proxy.events.connections import AcceptFailed, ConnectionRefused, ConnectionsCounted
from mirror.proxy.events.fills import (
    Ahead,
    DigestMismatched,
    FillFinished,
    FillResumed,
    FillStarted,
    InParts,
    Parts,
    ReadAhead,
)
from mirror.proxy.events.limits import LimitTold, PullSpent, SpendingChanged
from mirror.proxy.events.observer import Event
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
from mirror.proxy.rate_limit import RateLimit, Spending
from mirror.proxy.readiness import Readiness, Trouble

DIGEST = Digest.of(b"")
_PING = RequestFinished("GET", "/v2/", "10.0.0.1", outcome=Outcome.HIT, status=200)


def one_of_each() -> list[Event]:
    """Return an event of every kind."""
    made: list[Event] = [
        RequestFinished("GET", "/v2/", "10.0.0.1", Kind.BLOB, "docker.io", Outcome.MISS, 200, "upstream", 7, 0.5),
        RequestsRepeated([(_PING, "10.0.0.2", 1_700_000_000_000_000, 25)]),
        LoopRefused("docker.io", "10.0.0.1"),
        ConnectionsCounted(3, 100),
        ConnectionRefused("slow_head", "10.0.0.1"),
        AcceptFailed(OSError(errno.EMFILE, "no more")),
        UpstreamAnswered("docker.io", Kind.MANIFEST, 200, 0.25),
        EndpointJudged("docker.io", "https://registry.example", False, "it closed the connection"),
        UpstreamReceived("docker.io", 1000),
        TokenRequested("docker.io", "refused"),
        PullSpent("docker.io"),
        SpendingChanged("docker.io", Spending.SAVING, RateLimit(100, 10, 21600)),
        LimitTold("docker.io", Spending.SAVING, RateLimit(100, 10, 21600), 900.0),
        CredentialsWithheld("docker.io", "https://evil.example"),
        CredentialsUnreadable("docker.io", "docker-credential-x cannot be run"),
        EndpointUnverified("docker.io", "https://registry.example"),
        VisibilityAsked("docker.io", "untold"),
        RevalidationFailed("docker.io", "docker.io/library/alpine:3.20", UpstreamFailed("upstream answered 500")),
        DeletionSeen("docker.io", "docker.io/library/alpine:3.20"),
        FillStarted("docker.io", DIGEST),
        FillResumed("docker.io", DIGEST, 500, UpstreamFailed("cut")),
        InParts("docker.io", Parts.REFUSED),
        FillFinished("docker.io", DIGEST, 1000, True),
        ReadAhead("docker.io", DIGEST, Ahead.LET_GO),
        DigestMismatched("docker.io", DIGEST),
        Evicted(DIGEST, 1000),
        Purged("docker.io/library/alpine", 1, 3, 1000),
        PinChanged("docker.io/library/alpine:latest", True),
        PinsCrowding(950, 1000),
        FileScrubbed(DIGEST, 1000, "damaged", "removed"),
        ScrubFinished(1_700_000_000.0),
        ImageWarmed("docker.io/library/alpine:3.20", "failed", 100, UpstreamFailed("cut")),
        WarmingRoundFinished(1_700_000_000.0, {"warmed": 1, "failed": 2}),
        HotTagRefreshed("moved"),
        CacheResized(5000, 2, 3),
        ReadinessTold(Readiness(True, (Trouble.DISK_SHORT,))),
        StoreTroubled("commit of a blob", StoreFailed("disk full")),
        TaskCrashed("fill x", ZeroDivisionError("bug")),
        WorkerHangs(2, 30.0),
        WorkerLost(2, "killed by SIGKILL", 0.5),
        WorkerReplaced(1),
        ReloadRefused("tag_ttl: unknown key"),
        ReloadPartly(("listen", "workers")),
    ]
    assert {type(event) for event in made} == set(get_args(Event))
    return made

"""One of every event there is, and texts that a line or a label must not break on."""

from __future__ import annotations

import errno
from typing import get_args

from mirror.errors import StoreFailed, UpstreamFailed
from mirror.oci.digest import Digest
from mirror.proxy import events
from mirror.proxy.cache_status import Kind, Outcome
from mirror.proxy.rate_limit import RateLimit, Spending
from mirror.proxy.readiness import Readiness, Trouble

DIGEST = Digest.of(b"")


def one_of_each() -> list[events.Event]:
    """Return an event of every kind."""
    made: list[events.Event] = [
        events.RequestFinished(
            "GET", "/v2/", "10.0.0.1", Kind.BLOB, "docker.io", Outcome.MISS, 200, "upstream", 7, 0.5
        ),
        events.LoopRefused("docker.io", "10.0.0.1"),
        events.ConnectionsCounted(3, 100),
        events.ConnectionRefused("slow_head", "10.0.0.1"),
        events.AcceptFailed(OSError(errno.EMFILE, "no more")),
        events.UpstreamAnswered("docker.io", Kind.MANIFEST, 200, 0.25),
        events.EndpointJudged("docker.io", "https://registry.example", False, "it closed the connection"),
        events.UpstreamReceived("docker.io", 1000),
        events.TokenRequested("docker.io", "refused"),
        events.PullSpent("docker.io"),
        events.SpendingChanged("docker.io", Spending.SAVING, RateLimit(100, 10, 21600)),
        events.LimitTold("docker.io", Spending.SAVING, RateLimit(100, 10, 21600), 900.0),
        events.CredentialsWithheld("docker.io", "https://evil.example"),
        events.CredentialsUnreadable("docker.io", "docker-credential-x cannot be run"),
        events.EndpointUnverified("docker.io", "https://registry.example"),
        events.VisibilityAsked("docker.io", "untold"),
        events.DeletionSeen("docker.io", "docker.io/library/alpine:3.20"),
        events.FillStarted("docker.io", DIGEST),
        events.FillResumed("docker.io", DIGEST, 500, UpstreamFailed("cut")),
        events.FillFinished("docker.io", DIGEST, 1000, True),
        events.DigestMismatched("docker.io", DIGEST),
        events.Evicted(DIGEST, 1000),
        events.Purged("docker.io/library/alpine", 1, 3, 1000),
        events.PinChanged("docker.io/library/alpine:latest", True),
        events.PinsCrowding(950, 1000),
        events.FileScrubbed(DIGEST, 1000, "damaged", "removed"),
        events.ScrubFinished(1_700_000_000.0),
        events.ImageWarmed("docker.io/library/alpine:3.20", "failed", 100, UpstreamFailed("cut")),
        events.WarmingRoundFinished(1_700_000_000.0, {"warmed": 1, "failed": 2}),
        events.HotTagRefreshed("moved"),
        events.CacheResized(5000, 2, 3),
        events.ReadinessTold(Readiness(True, (Trouble.DISK_SHORT,))),
        events.StoreTroubled("commit of a blob", StoreFailed("disk full")),
        events.TaskCrashed("fill x", ZeroDivisionError("bug")),
    ]
    assert {type(event) for event in made} == set(get_args(events.Event))
    return made

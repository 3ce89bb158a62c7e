"""Each fault, met with an image that is cached and one that is not: what a client gets, how soon, and at what price.

All of it happens at the same time, in one loop, with the time-outs of every day. `pytest -rP` shows the tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.outages.strikes import RETRY_AFTER, STRIKES
from tests.integration.outages.table import side_by_side
from tests.integration.outages.theatre import Scene, Theatre, Told

_CODES = {200: "", 404: "MANIFEST_UNKNOWN"}

WITHIN = 25.0
"""Seconds after which every client has an answer, whatever an upstream does."""

HIT, MISS = "hit", "fwd=miss; stored"
GRACE = "fwd=stale; detail=revalidating"
STALE = "fwd=stale; detail=upstream-unavailable"
CONFIRMED = "fwd=stale; fwd-status=200"
UNKNOWN, STILL_UNKNOWN = "fwd=miss; fwd-status=404; detail=manifest-unknown", "hit; detail=manifest-unknown"
UNREACHABLE, TIMEOUT, FAILED = "detail=upstream-unreachable", "detail=upstream-timeout", "detail=upstream-failed"
DELETED = "fwd=stale; detail=deleted-upstream"
SAVING = "fwd=stale; detail=saving-pulls"
THROTTLED, LIMITED = "detail=upstream-throttled", "detail=limit-reached"


@dataclass(frozen=True, slots=True)
class Expected:
    """What the first pull is answered, and the second, right after; and what both cost: requests, and tokens.

    `cause` is what the log tells of one of them; `retry_after` the most that the client is told to wait.
    """

    status: int
    cache_status: str
    again: str
    spent: str
    cause: str = ""
    retry_after: int | None = None
    served_by: str = "registry"

    def is_what_was(self, told: Told) -> bool:
        """Tell whether it came like this."""
        first, second = told.first, told.second
        return (
            (first.status, first.cache_status) == (self.status, f"mirror; {self.cache_status}")
            and second.cache_status == f"mirror; {self.again}"
            and all(one.code == _CODES.get(one.status, "UNAVAILABLE") for one in (first, second))
            and str(told.spent) == self.spent
            and told.served_by in (self.served_by, "")
            and max(first.seconds, second.seconds) < WITHIN
            and self.cause in told.causes
            and all(_may_be(one.retry_after, self.retry_after) for one in (first, second))
        )


def _may_be(retry_after: int | None, most: int | None) -> bool:
    return retry_after == most if retry_after is None or most is None else 0 < retry_after <= most


def is_right(fault: str, told: Told) -> bool:
    """Tell whether what was served is what is to be served: the image as it was, or, where it has moved, as it is."""
    served = [one for one in (told.first, told.second) if one.status == 200]
    return all(one.is_known is (not fault.endswith("moved") or "fwd=stale" in one.cache_status) for one in served)


REFUSED, NO_NAME, NO_TLS = "connection refused", "its name does not resolve", "TLS failed"
ANSWERED_503, TOO_MANY, SILENT = "upstream answered 503", "limits the requests of", "did not answer in time"
GONE, NONE_LEFT = "upstream does not have it", "and none is left"

IN_GRACE = {
    "none": Expected(200, GRACE, HIT, "1+0"),
    "down": Expected(200, GRACE, STALE, "1+0", REFUSED),
    "503": Expected(200, GRACE, STALE, "1+0", ANSWERED_503),
    "429": Expected(200, GRACE, STALE, "1+0", TOO_MANY),
    "hang": Expected(200, GRACE, GRACE, "1+0"),
    "token service down": Expected(200, GRACE, STALE, "1+1", REFUSED),
    "token service hangs": Expected(200, GRACE, GRACE, "1+1"),
    "DNS failure": Expected(200, GRACE, STALE, "1+0", NO_NAME),
    "TLS error": Expected(200, GRACE, STALE, "1+0", NO_TLS),
    "tag moved": Expected(200, GRACE, HIT, "2+0"),
    "tag deleted": Expected(200, GRACE, STILL_UNKNOWN, "1+0", GONE),
    "limit reached": Expected(200, GRACE, HIT, "1+0", "limit reached"),
    "limit reached, moved": Expected(200, GRACE, SAVING, "1+0", "limit reached"),
}
"""Cached, a little older than its TTL: served at once, and upstream asked meanwhile."""

ASKED_FIRST = {
    "none": Expected(200, CONFIRMED, HIT, "1+0"),
    "down": Expected(200, STALE, STALE, "1+0", REFUSED),
    "503": Expected(200, STALE, STALE, "1+0", ANSWERED_503),
    "429": Expected(200, STALE, STALE, "1+0", TOO_MANY),
    "hang": Expected(200, STALE, STALE, "1+0", SILENT),
    "token service down": Expected(200, STALE, STALE, "1+1", REFUSED),
    "token service hangs": Expected(200, STALE, STALE, "1+1", SILENT),
    "DNS failure": Expected(200, STALE, STALE, "1+0", NO_NAME),
    "TLS error": Expected(200, STALE, STALE, "1+0", NO_TLS),
    "tag moved": Expected(200, MISS, HIT, "2+0"),
    "tag deleted": Expected(404, UNKNOWN, STILL_UNKNOWN, "1+0", GONE),
    "limit reached": Expected(200, CONFIRMED, HIT, "1+0", "limit reached"),
    "limit reached, moved": Expected(200, SAVING, SAVING, "1+0", "limit reached"),
}
"""The same without stale-while-revalidate, or older: upstream is asked first."""

NEW = {
    "none": Expected(200, MISS, HIT, "3+1"),
    "down": Expected(502, UNREACHABLE, UNREACHABLE, "1+0", REFUSED),
    "503": Expected(502, FAILED, FAILED, "2+1", ANSWERED_503),
    "429": Expected(503, THROTTLED, THROTTLED, "2+1", TOO_MANY, RETRY_AFTER),
    "hang": Expected(504, TIMEOUT, TIMEOUT, "1+0", SILENT),
    "token service down": Expected(502, UNREACHABLE, UNREACHABLE, "1+1", REFUSED),
    "token service hangs": Expected(504, TIMEOUT, TIMEOUT, "1+1", SILENT),
    "DNS failure": Expected(502, UNREACHABLE, UNREACHABLE, "1+0", NO_NAME),
    "TLS error": Expected(502, UNREACHABLE, UNREACHABLE, "1+0", NO_TLS),
    "tag moved": Expected(200, MISS, HIT, "3+1"),
    "tag deleted": Expected(404, UNKNOWN, STILL_UNKNOWN, "2+1", GONE),
    "limit reached": Expected(503, LIMITED, LIMITED, "2+1", NONE_LEFT, 60),
    "limit reached, moved": Expected(503, LIMITED, LIMITED, "2+1", NONE_LEFT, 60),
}
"""Not in the cache."""

KEPT = {
    "none": Expected(200, CONFIRMED, HIT, "1+0"),
    "tag deleted": Expected(200, DELETED, DELETED, "1+0", "deleted upstream"),
}
"""Cached, and what upstream deletes is kept."""

KEPT_IN_GRACE = {"tag deleted": Expected(200, GRACE, DELETED, "1+0", "deleted upstream")}

SPARE = {
    "none": Expected(200, MISS, HIT, "3+1"),
    "down": Expected(200, MISS, HIT, "4+0", served_by="spare"),
    "503": Expected(200, MISS, HIT, "5+1", served_by="spare"),
    "429": Expected(200, MISS, HIT, "4+1", served_by="spare"),
    "hang": Expected(200, MISS, HIT, "3+0", served_by="spare"),
    "token service down": Expected(200, MISS, HIT, "4+2", "no token", served_by="spare"),
    "token service hangs": Expected(200, MISS, HIT, "3+1", served_by="spare"),
    "DNS failure": Expected(200, MISS, HIT, "4+0", served_by="spare"),
    "TLS error": Expected(200, MISS, HIT, "4+0", served_by="spare"),
    "tag moved": Expected(200, MISS, HIT, "3+1"),
    "tag deleted": Expected(200, MISS, HIT, "4+1"),
    "limit reached": Expected(200, MISS, HIT, "3+1", served_by="spare"),
    "limit reached, moved": Expected(200, MISS, HIT, "3+1", served_by="spare"),
}
"""Not in the cache, and the fault is that of the first of two endpoints."""

NO_GRACE = {"stale_while_revalidate": "0s"}
SCENES = {
    Scene("grace", STRIKES, is_cached=True): IN_GRACE,
    Scene("asked", STRIKES, NO_GRACE, is_cached=True): ASKED_FIRST,
    Scene("kept", ["none", "tag deleted"], NO_GRACE | {"keep_deleted": "7d"}, is_cached=True): KEPT,
    Scene("graced", ["tag deleted"], {"keep_deleted": "7d"}, is_cached=True): KEPT_IN_GRACE,
    Scene("new", STRIKES): NEW,
    Scene("spare", STRIKES, has_spare=True): SPARE,
}


async def test_outages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Who hangs or fails is pinged as well, which is no part of what a pull costs.
    monkeypatch.setattr("mirror.upstream.health.pulse.Pulse._see_to_pings", lambda pulse: None)
    told = await Theatre(tmp_path, monkeypatch).play(*SCENES)
    print(side_by_side("Cached, and new", {"cached": told["grace"], "new": told["new"]}))
    print(side_by_side("New, with a second endpoint", {"new": told["spare"]}))
    print(side_by_side("Cached", {"with stale-while-revalidate": told["grace"], "without": told["asked"]}))
    deleted = {"keep_deleted: false": "asked", "7d": "kept", "7d, with stale-while-revalidate": "graced"}
    print(side_by_side("Cached", {how: {"tag deleted": told[name]["tag deleted"]} for how, name in deleted.items()}))
    unexpected = [
        f"{scene.name}, {fault}: {told[scene.name][fault]}"
        for scene, expected in SCENES.items()
        for fault, one in expected.items()
        if not one.is_what_was(told[scene.name][fault]) or not is_right(fault, told[scene.name][fault])
    ]
    assert not unexpected, "\n".join(unexpected)
    assert {one["none"].causes for one in told.values() if "none" in one} == {""}
    assert all(told[scene.name][fault].layer_is_there for scene in SCENES if scene.is_cached for fault in scene.faults)

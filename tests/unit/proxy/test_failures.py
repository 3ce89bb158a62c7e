from __future__ import annotations

import inspect
from datetime import timedelta

import pytest

from mirror import errors
from mirror.errors import MirrorError, Refused, UpstreamLoops, UpstreamThrottled, UpstreamUnavailable
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference, Tag
from mirror.proxy.cache_status import Kind
from mirror.proxy.failures import UNAVAILABLE_SECONDS, Failures
from mirror.proxy.routing import Route
from tests.unit.proxy.doubles import HUB, OTHER, MemoryCache, SettableClock

LATEST = Tag("latest")
LOOK_UP_FAILURES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, Refused | UpstreamUnavailable) and kind not in (Refused, UpstreamUnavailable, UpstreamLoops)
]


class Memory:
    """Failures with a clock that can be turned."""

    def __init__(self, negative_ttl: float = 30) -> None:
        self.clock = SettableClock()
        self.failures = Failures(MemoryCache(self.clock), timedelta(seconds=negative_ttl))

    async def recalled(
        self, kind: Kind = Kind.MANIFEST, route: Route = HUB, reference: Reference = LATEST
    ) -> MirrorError | None:
        try:
            await self.failures.recall(kind, route, reference)
        except MirrorError as error:
            return error
        return None


async def test_nothing_is_recalled_of_what_did_not_fail() -> None:
    assert await Memory().recalled() is None


@pytest.mark.parametrize("kind", LOOK_UP_FAILURES)
async def test_every_failed_look_up_is_remembered(kind: type[Refused | UpstreamUnavailable]) -> None:
    memory = Memory()
    await memory.failures.remember(Kind.MANIFEST, HUB, LATEST, kind("as it was said"))
    error = await memory.recalled()
    assert type(error) is kind
    assert str(error) == "as it was said"
    assert error.remembered


async def test_that_it_was_asked_in_a_circle_is_not_held_against_an_upstream() -> None:
    memory = Memory()
    await memory.failures.remember(Kind.MANIFEST, HUB, LATEST, UpstreamLoops("in a circle"))
    assert await memory.recalled() is None


@pytest.mark.parametrize("seconds", [None, 0, 17])
async def test_when_to_come_back_is_remembered(seconds: int | None) -> None:
    memory = Memory()
    await memory.failures.remember(Kind.MANIFEST, HUB, LATEST, UpstreamThrottled("slow down", seconds))
    error = await memory.recalled()
    assert isinstance(error, UpstreamThrottled)
    assert error.retry_after == seconds


async def test_a_refusal_is_believed_for_the_negative_ttl() -> None:
    memory = Memory(negative_ttl=30)
    await memory.failures.remember(Kind.MANIFEST, HUB, LATEST, errors.ManifestUnknown("no"))
    memory.clock.now += 29
    assert await memory.recalled() is not None
    memory.clock.now += 1
    assert await memory.recalled() is None


@pytest.mark.parametrize("negative_ttl", [0, 3600])
async def test_silence_is_believed_for_a_few_seconds_only(negative_ttl: float) -> None:
    memory = Memory(negative_ttl)
    await memory.failures.remember(Kind.MANIFEST, HUB, LATEST, errors.UpstreamTimeout("no answer"))
    memory.clock.now += UNAVAILABLE_SECONDS - 1
    assert await memory.recalled() is not None
    memory.clock.now += 1
    assert await memory.recalled() is None


async def test_with_no_negative_ttl_no_refusal_is_remembered() -> None:
    memory = Memory(negative_ttl=0)
    await memory.failures.remember(Kind.MANIFEST, HUB, LATEST, errors.Denied("no"))
    assert await memory.recalled() is None


async def test_a_memory_does_not_renew_itself() -> None:
    memory = Memory(negative_ttl=30)
    await memory.failures.remember(Kind.MANIFEST, HUB, LATEST, errors.ManifestUnknown("no"))
    memory.clock.now += 20
    error = await memory.recalled()
    assert isinstance(error, errors.ManifestUnknown)
    await memory.failures.remember(Kind.MANIFEST, HUB, LATEST, error)
    memory.clock.now += 20
    assert await memory.recalled() is None


async def test_what_upstream_says_otherwise_is_forgotten() -> None:
    memory = Memory()
    for kind, route, reference in (
        (Kind.MANIFEST, HUB, LATEST),
        (Kind.BLOB, HUB, LATEST),
        (Kind.MANIFEST, OTHER, LATEST),
    ):
        await memory.failures.remember(kind, route, reference, errors.ManifestUnknown("no"))
    await memory.failures.forget(Kind.MANIFEST, HUB, LATEST)
    await memory.failures.forget(Kind.MANIFEST, HUB, Tag("never-failed"))
    assert await memory.recalled() is None
    assert await memory.recalled(Kind.BLOB) is not None
    assert await memory.recalled(route=OTHER) is not None


async def test_one_look_up_says_nothing_about_another() -> None:
    memory = Memory()
    await memory.failures.remember(Kind.MANIFEST, HUB, LATEST, errors.Denied("no"))
    assert await memory.recalled(route=OTHER) is None
    assert await memory.recalled(reference=Tag("3.20")) is None
    assert await memory.recalled(reference=Digest.of(b"")) is None
    assert await memory.recalled(Kind.BLOB) is None

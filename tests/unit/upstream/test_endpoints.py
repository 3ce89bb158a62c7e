"""Which endpoint is asked, when, and what stands for all of them, with endpoints that answer as written down."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable
from contextvars import ContextVar

import aiohttp
import pytest

from mirror import errors
from mirror.errors import MirrorError
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.media_types import OCI_MANIFEST
from mirror.oci.reference import Repository, Tag
from mirror.proxy.events.upstreams import EndpointJudged
from mirror.proxy.interfaces.upstream import Rest
from mirror.upstream.answers import RegistryRequest
from mirror.upstream.client import RegistryClient
from mirror.upstream.endpoints import FAILOVER_WITHIN
from mirror.upstream.health.breaker import THRESHOLD
from mirror.upstream.health.pulse import PATIENCE, PING_WITHIN, SUSPICIOUS
from mirror.upstream.health.retry_budget import BURST
from tests.unit.recorder import Recorder
from tests.unit.upstream.answers import answer
from tests.unit.upstream.scripted import ScriptedEndpoint, client
from tests.unit.virtual_time import in_virtual_time

ALPINE = Repository("library/alpine")
LATEST = Tag("latest")
DATA = b"{}"
DIGEST = Digest.of(DATA)
CUT = errors.UpstreamUnreachable("https://registry.example closed the connection")


class Steady(ScriptedEndpoint):
    """An endpoint that always answers in the same way, until it is told to answer in another."""

    def __init__(self, outcome: MirrorError | None = None, seconds: float = 0) -> None:
        super().__init__(seconds=seconds)
        self.outcome = outcome
        self._held_until = 0.0

    async def request(self, request: RegistryRequest) -> aiohttp.ClientResponse:
        self.requests.append(request)
        await asyncio.sleep(self._seconds)
        if isinstance(self.outcome, errors.UpstreamThrottled):
            self._held_until = now() + (self.outcome.retry_after or 0)
        if self.outcome is not None:
            raise self.outcome
        return answer(200, DATA, {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": str(DIGEST)})

    def refusal(self) -> errors.LimitReached | None:
        left = math.ceil(self._held_until - now())
        return errors.LimitReached("nothing is left", left) if left > 0 else None

    async def ping(self) -> None:
        await asyncio.sleep(self._seconds)
        await super().ping()

    @property
    def count(self) -> int:
        """How often it was asked."""
        return len(self.requests)


def pull(upstream: RegistryClient) -> Awaitable[Descriptor | None]:
    return upstream.head_manifest(ALPINE, LATEST)


async def failed(upstream: RegistryClient) -> MirrorError:
    """How asking fails; it must."""
    with pytest.raises(MirrorError) as raised:
        await pull(upstream)
    return raised.value


def now() -> float:
    return asyncio.get_running_loop().time()


# Going on to the next. -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trouble",
    [
        CUT,
        errors.UpstreamTimeout("silent"),
        errors.UpstreamFailed("503"),
        errors.UpstreamInvalid("a page for people"),
        errors.UpstreamThrottled("429", 60),
        errors.CredentialsUnavailable("no helper"),
        errors.ManifestUnknown("404"),
        errors.Denied("403"),
    ],
    ids=lambda error: type(error).__name__,
)
@in_virtual_time
async def test_whatever_is_wrong_with_an_accelerator_the_registry_is_asked(trouble: MirrorError) -> None:
    accelerator, registry = Steady(trouble), Steady()
    assert await pull(client(accelerator, registry)) is not None
    assert (accelerator.count, registry.count) == (1, 1)


@in_virtual_time
async def test_wrong_bytes_are_no_answer() -> None:
    told = {"Content-Type": OCI_MANIFEST}
    wrong, right = ScriptedEndpoint(answer(200, b"{ }", told)), ScriptedEndpoint(answer(200, DATA, told))
    assert (await client(wrong, right).get_manifest(ALPINE, DIGEST)).data == DATA


@in_virtual_time
async def test_an_endpoint_may_have_a_time_of_its_own_while_there_is_another() -> None:
    patient, registry = Steady(seconds=10), Steady(seconds=15)
    patient.timeout = registry.timeout = 12
    assert await pull(client(patient, registry)) is not None
    assert now() == 10
    patient.timeout = 5
    assert await pull(client(patient, registry)) is not None
    assert now() == 10 + 5 + 15


# Throttled. ------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_who_says_429_is_left_alone_for_as_long_as_it_wants() -> None:
    accelerator, registry = Steady(errors.UpstreamThrottled("429", 60)), Steady()
    upstream = client(accelerator, registry)
    await pull(upstream)
    await asyncio.sleep(59)
    await pull(upstream)
    assert (accelerator.count, registry.count) == (1, 2)
    accelerator.outcome = None
    await asyncio.sleep(1)
    await pull(upstream)
    assert (accelerator.count, registry.count) == (2, 2)


@in_virtual_time
async def test_passing_over_one_that_is_throttled_is_no_retry() -> None:
    accelerator, registry = Steady(errors.UpstreamThrottled("429", 60)), Steady()
    upstream = client(accelerator, registry)
    for _ in range(100):
        assert await pull(upstream) is not None
    assert (accelerator.count, registry.count) == (1, 100)


@in_virtual_time
async def test_a_pull_that_is_not_even_tried_is_neither_a_failure_nor_a_sign_of_life() -> None:
    recorder = Recorder()
    accelerator, registry = Steady(errors.LimitReached("nothing is left", 0)), Steady()
    upstream = client(accelerator, registry, observer=recorder)
    for _ in range(100):
        assert await pull(upstream) is not None
    assert (accelerator.count, registry.count, recorder.of(EndpointJudged)) == (100, 100, [])


@in_virtual_time
async def test_where_all_are_throttled_the_answer_is_when_the_first_of_them_is_not() -> None:
    accelerator, registry = Steady(errors.UpstreamThrottled("429", 20)), Steady(errors.UpstreamThrottled("429", 60))
    upstream = client(accelerator, registry)
    for seconds in (20, 13):
        error = await failed(upstream)
        assert isinstance(error, errors.UpstreamThrottled)
        assert error.retry_after == seconds
        assert error.remembered is (seconds == 13)
        await asyncio.sleep(7)
    assert (accelerator.count, registry.count) == (1, 1)


@in_virtual_time
async def test_a_429_is_a_sign_of_life() -> None:
    recorder = Recorder()
    registry = Steady(errors.UpstreamThrottled("429", 1))
    upstream = client(registry, observer=recorder)
    for _ in range(2 * THRESHOLD):
        await failed(upstream)
        await asyncio.sleep(1)
    assert registry.count == 2 * THRESHOLD
    assert (registry.pinged, recorder.of(EndpointJudged)) == (0, [])


# Out and back. ---------------------------------------------------------------------------------------------


@in_virtual_time
async def test_an_accelerator_that_fails_is_not_asked_until_it_is_back() -> None:
    recorder = Recorder()
    accelerator, registry = Steady(CUT), Steady()
    accelerator.pings = [CUT, CUT, None]
    upstream = client(accelerator, registry, observer=recorder)
    for _ in range(10):
        await pull(upstream)
    assert (accelerator.count, registry.count) == (THRESHOLD, 10)
    assert recorder.of(EndpointJudged) == [EndpointJudged("x", "0", False, str(CUT))]
    accelerator.outcome = None
    await asyncio.sleep(1 + 2 + 4 + 0.1)
    assert accelerator.pinged == 3
    assert recorder.of(EndpointJudged)[1:] == [EndpointJudged("x", "0", True, None)]
    await pull(upstream)
    assert (accelerator.count, registry.count) == (THRESHOLD + 1, 10)


@in_virtual_time
async def test_one_that_only_answers_pings_is_tried_once_in_a_while() -> None:
    accelerator, registry = Steady(seconds=3600), Steady()
    upstream = client(accelerator, registry)
    accelerator.ping = answered  # type: ignore[method-assign]
    waited = 0.0
    for _ in range(300):
        started = now()
        await pull(upstream)
        waited += now() - started
        await asyncio.sleep(1)
    # Once a minute in the end, and each time for the two seconds that it has.
    assert accelerator.count <= THRESHOLD + 10
    assert waited == accelerator.count * FAILOVER_WITHIN


async def answered() -> None:
    """A ping that goes well."""


@in_virtual_time
async def test_one_that_hangs_is_waited_for_once() -> None:
    recorder = Recorder()
    accelerator, registry = Steady(seconds=3600), Steady()
    upstream = client(accelerator, registry, observer=recorder)
    started = now()
    for _ in range(10):
        await pull(upstream)
    assert now() - started == FAILOVER_WITHIN
    assert accelerator.count == 1
    await asyncio.sleep(PING_WITHIN + 0.1)
    assert [event.is_well for event in recorder.of(EndpointJudged)] == [False]


@in_virtual_time
async def test_one_that_was_only_slow_is_asked_first_again_after_a_ping() -> None:
    accelerator, registry = Steady(seconds=3), Steady()
    accelerator.ping = answered  # type: ignore[method-assign]
    upstream = client(accelerator, registry)
    await pull(upstream)
    accelerator._seconds = 0
    await asyncio.sleep(0)
    await pull(upstream)
    assert (accelerator.count, registry.count) == (2, 1)


@in_virtual_time
async def test_one_that_is_doubted_is_asked_where_the_registry_fails_and_not_where_it_says_no() -> None:
    accelerator, registry = Steady(seconds=3), Steady()
    upstream = client(accelerator, registry)
    await pull(upstream)
    registry.outcome = errors.ManifestUnknown("404")
    assert isinstance(await failed(upstream), errors.ManifestUnknown)
    assert accelerator.count == 1
    registry.outcome, accelerator._seconds = CUT, 0
    await pull(upstream)
    assert (accelerator.count, registry.count) == (2, 3)


@in_virtual_time
async def test_one_that_is_doubted_has_no_more_time_than_before() -> None:
    accelerator, registry = Steady(seconds=3600), Steady(CUT)
    upstream = client(accelerator, registry)
    for _ in range(2):
        started = now()
        await failed(upstream)
        assert now() - started == FAILOVER_WITHIN


@in_virtual_time
async def test_the_registry_has_all_the_time_there_is_while_the_other_is_doubted() -> None:
    accelerator, registry = Steady(seconds=3600), Steady()
    upstream = client(accelerator, registry)
    await pull(upstream)
    registry._seconds = 2 * FAILOVER_WITHIN
    await pull(upstream)
    assert (accelerator.count, registry.count) == (1, 2)


@in_virtual_time
async def test_on_trial_only_one_request_waits() -> None:
    accelerator, registry = Steady(seconds=3600), Steady()
    accelerator.ping = answered  # type: ignore[method-assign]
    upstream = client(accelerator, registry)
    for _ in range(THRESHOLD):
        await pull(upstream)
    await asyncio.sleep(1.5)
    asked = accelerator.count
    await asyncio.gather(*[pull(upstream) for _ in range(20)])
    assert accelerator.count == asked + 1


@in_virtual_time
async def test_a_registry_is_asked_while_its_pings_are_answered() -> None:
    # One broken image must not take away the others.
    recorder = Recorder()
    registry = Steady(errors.UpstreamFailed("500"))
    upstream = client(registry, observer=recorder)
    for _ in range(5 * THRESHOLD):
        assert isinstance(await failed(upstream), errors.UpstreamFailed)
        await asyncio.sleep(0.1)
    assert registry.count == 5 * THRESHOLD
    assert registry.pinged == 5
    assert recorder.of(EndpointJudged) == []


@in_virtual_time
async def test_where_nobody_answers_the_answer_is_immediate() -> None:
    accelerator, registry = Steady(seconds=3600), Steady(seconds=3600)
    upstream = client(accelerator, registry)
    for _ in range(THRESHOLD):
        await failed(upstream)
    await asyncio.sleep(PING_WITHIN + 0.1)
    started, counts = now(), (accelerator.count, registry.count)
    for _ in range(100):
        error = await failed(upstream)
        assert isinstance(error, errors.UpstreamDown)
        assert error.remembered
        assert error.retry_after == 1
        assert "upstream did not answer in time" in str(error)
    assert (now(), (accelerator.count, registry.count)) == (started, counts)


@in_virtual_time
async def test_recovery_needs_no_request() -> None:
    recorder = Recorder()
    registry = Steady(CUT)
    registry.pings = [CUT] * 4
    upstream = client(registry, observer=recorder)
    for _ in range(THRESHOLD):
        await failed(upstream)
    await asyncio.sleep(60)
    assert [event.is_well for event in recorder.of(EndpointJudged)] == [False, True]
    registry.outcome = None
    assert await pull(upstream) is not None


@pytest.mark.parametrize("unable", [errors.LimitReached("nothing is left", 60), errors.CredentialsUnavailable("none")])
@in_virtual_time
async def test_a_ping_that_cannot_be_made_changes_nothing(unable: MirrorError) -> None:
    recorder = Recorder()
    suspected, out = Steady(CUT), Steady(CUT)
    suspected.pings = [unable] * 9
    out.pings = [CUT, *[unable] * 9]
    for registry in (suspected, out):
        upstream = client(registry, observer=recorder)
        for _ in range(THRESHOLD):
            await failed(upstream)
        await asyncio.sleep(30)
    assert [event.is_well for event in recorder.of(EndpointJudged)] == [False]
    assert str(await failed(upstream)).startswith(str(CUT))


@in_virtual_time
async def test_a_registry_that_hangs_is_out_before_the_first_request_gives_up() -> None:
    recorder = Recorder()
    registry = Steady(seconds=3600)
    upstream = client(registry, observer=recorder)
    waiting = asyncio.create_task(failed(upstream))
    await asyncio.sleep(SUSPICIOUS + PING_WITHIN + 0.1)
    assert recorder.of(EndpointJudged) == [EndpointJudged("x", "0", False, "upstream did not answer in time")]
    assert isinstance(await failed(upstream), errors.UpstreamDown)
    assert now() == pytest.approx(SUSPICIOUS + PING_WITHIN + 0.1)
    assert isinstance(await waiting, errors.UpstreamTimeout)


@in_virtual_time
async def test_a_registry_that_is_slow_is_asked_on() -> None:
    recorder = Recorder()
    registry = Steady(seconds=9)
    upstream = client(registry, observer=recorder)
    for _ in range(2 * THRESHOLD):
        assert await pull(upstream) is not None
    assert 0 < registry.pinged <= 2 * THRESHOLD
    assert recorder.of(EndpointJudged) == []


@in_virtual_time
async def test_a_ping_is_nobodys() -> None:
    whose = ContextVar("whose", default="nobody's")
    registry, told = Steady(CUT), []

    async def ping() -> None:
        told.append(whose.get())

    registry.ping = ping  # type: ignore[method-assign]
    upstream = client(registry)
    whose.set("a client's")
    for _ in range(THRESHOLD):
        await failed(upstream)
    await asyncio.sleep(0.1)
    assert told == ["nobody's"]


@in_virtual_time
async def test_who_gives_up_waiting_says_that_there_was_no_answer() -> None:
    recorder = Recorder()
    registry = Steady(seconds=3600)
    upstream = client(registry, observer=recorder)
    for seconds in (PATIENCE / 2,) * 5 + (PATIENCE,) * THRESHOLD:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pull(upstream), seconds)
    assert recorder.of(EndpointJudged) == []
    await asyncio.sleep(PING_WITHIN + 0.1)
    assert [event.is_well for event in recorder.of(EndpointJudged)] == [False]


@in_virtual_time
async def test_credentials_that_are_not_to_be_had_say_nothing_of_an_endpoint() -> None:
    registry = Steady(errors.CredentialsUnavailable("no helper"))
    upstream = client(registry)
    for _ in range(2 * THRESHOLD):
        await failed(upstream)
    assert (registry.count, registry.pinged) == (2 * THRESHOLD, 0)


@in_virtual_time
async def test_a_no_is_a_sign_of_life() -> None:
    for no in (errors.ManifestUnknown("404"), errors.UpstreamLoops("508")):
        registry = Steady(no)
        upstream = client(registry)
        for _ in range(2 * THRESHOLD):
            await failed(upstream)
        assert registry.pinged == 0


@in_virtual_time
async def test_an_accelerator_whose_bodies_stall_is_out_though_each_of_them_begins_well() -> None:
    accelerator, registry = Steady(), Steady()
    upstream = client(accelerator, registry)
    for at in range(THRESHOLD + 1):
        transfer = await upstream.get_blob(ALPINE, DIGEST)
        transfer._response.content.readany = silence  # type: ignore[method-assign]
        if at < THRESHOLD:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(transfer.read(), PATIENCE)
    assert (accelerator.count, registry.count) == (THRESHOLD, 1)


async def silence() -> bytes:
    """Nothing comes."""
    await asyncio.sleep(3600)
    return b""


@in_virtual_time
async def test_that_the_registry_is_out_is_not_blamed_on_an_accelerator_without_the_image() -> None:
    accelerator, registry = Steady(errors.ManifestUnknown("404")), Steady(CUT)
    registry.pings = [CUT] * 9
    upstream = client(accelerator, registry)
    for _ in range(THRESHOLD):
        assert await failed(upstream) is CUT
    await asyncio.sleep(0.1)
    assert isinstance(await failed(upstream), errors.UpstreamDown)
    assert (accelerator.count, registry.count) == (THRESHOLD + 1, THRESHOLD)


# Retries. --------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_where_the_budget_is_empty_the_first_failure_is_the_answer() -> None:
    broken, registry = Steady(errors.UpstreamInvalid("nonsense")), Steady(CUT)
    upstream = client(broken, registry)
    # An accelerator that fails now and then, so that it is never taken out.
    for place in range(200):
        broken.outcome = errors.Denied("no") if place % THRESHOLD == 0 else errors.UpstreamInvalid("nonsense")
        registry.outcome = errors.ManifestUnknown("no")
        await failed(upstream)
    unanswered = broken.count - registry.count
    assert unanswered > 0
    retries = registry.count - len(range(0, 200, THRESHOLD))
    assert retries <= BURST + 0.2 * 200
    broken.outcome = CUT
    assert await failed(upstream) is CUT


@in_virtual_time
async def test_asking_the_next_after_a_no_is_no_retry() -> None:
    accelerator, registry = Steady(errors.ManifestUnknown("404")), Steady()
    upstream = client(accelerator, registry)
    for _ in range(100):
        assert await pull(upstream) is not None
    assert (accelerator.count, registry.count) == (100, 100)


@in_virtual_time
async def test_passing_over_one_that_is_out_is_no_retry() -> None:
    accelerator, registry = Steady(CUT), Steady()
    accelerator.pings = [CUT] * 100
    upstream = client(accelerator, registry)
    for _ in range(100):
        assert await pull(upstream) is not None
    assert (accelerator.count, registry.count) == (THRESHOLD, 100)


@in_virtual_time
async def test_a_resume_that_follows_one_without_a_byte_is_a_retry() -> None:
    registry = Steady(errors.UpstreamInvalid("nonsense"))
    upstream = client(registry)

    async def resume(*, is_retry: bool) -> None:
        with pytest.raises(errors.UpstreamUnavailable):
            await upstream.get_blob(ALPINE, DIGEST, Rest(1, None, 1, is_retry))

    for _ in range(100):
        await resume(is_retry=True)
    assert registry.count == BURST
    await resume(is_retry=False)
    assert registry.count == BURST + 1

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

import pytest

from mirror import errors
from mirror.errors import MirrorError
from mirror.oci.digest import Digest
from mirror.oci.media_types import OCI_MANIFEST
from mirror.oci.reference import Repository
from mirror.proxy.access import Access
from mirror.proxy.blob_size import BlobSize
from mirror.proxy.cache_status import Kind, Outcome
from mirror.proxy.deadline import ANSWER_WITHIN
from mirror.proxy.failures import Failures
from mirror.proxy.fills.download import Means
from mirror.proxy.fills.fill import SMALL
from mirror.proxy.fills.filler import Filler
from mirror.proxy.fills.retry import RESUMES
from mirror.proxy.interfaces.bodies import Body
from mirror.proxy.pull_blob import PullBlob, PulledBlob
from mirror.proxy.routing import Route
from mirror.proxy.tasks import Tasks
from tests.unit.proxy.doubles import (
    HUB,
    OTHER,
    Held,
    MemoryCache,
    MemoryRecords,
    Never,
    Piece,
    ScriptedTransfer,
    ScriptedUpstream,
    SettableClock,
    read_to_end,
)
from tests.unit.proxy.draining import drain
from tests.unit.proxy.memory_store import MemoryStore
from tests.unit.recorder import Recorder
from tests.unit.virtual_time import in_virtual_time, settle, steps

DATA = random.Random(45).randbytes(SMALL + 100_000)
DIGEST = Digest.of(DATA)


class Mirror:
    """Pulling blobs, with everything around it in memory."""

    def __init__(self, *transfers: ScriptedTransfer, max_size: int = 2**40, beside: Mirror | None = None) -> None:
        self.upstream = ScriptedUpstream(blobs=list(transfers))
        self.store: MemoryStore = MemoryStore(max_size, beside.store.disk if beside else None)
        self.records: MemoryRecords = beside.records if beside else MemoryRecords()
        self.tasks = Tasks(Recorder())
        self.clock = SettableClock()
        self.failures = Failures(MemoryCache(self.clock), timedelta(seconds=30))
        self.access = Access(self.records, self.failures, self.tasks)
        upstreams = {"docker.io": self.upstream}
        self.filler = Filler(
            Means(upstreams, self.store, self.records, self.failures, self.access, Recorder()), self.tasks
        )
        self.sizes = BlobSize(upstreams, self.records, self.failures, self.tasks)
        self.pull = PullBlob(upstreams, self.store, self.access, self.filler, self.sizes)

    @classmethod
    def with_stored_blob(cls, *granted: Route) -> Mirror:
        """A mirror that has the blob, which these repositories may serve."""
        mirror = cls()
        mirror.store.committed[DIGEST] = DATA
        mirror.records.grants = {(route, DIGEST) for route in granted}
        return mirror

    async def get(self, route: Route = HUB) -> tuple[bytes, Outcome]:
        """Return what a client gets."""
        pulled: PulledBlob = await self.pull.pull(route, DIGEST)
        try:
            return await read_to_end(pulled.body), pulled.status.outcome
        finally:
            pulled.body.close()

    async def end(self) -> None:
        """Wait for what is under way, and check that no file is left open."""
        await drain(self.tasks, 60)
        assert self.store.open_files == 0


@in_virtual_time
async def test_a_miss_fills_and_a_hit_asks_nobody() -> None:
    mirror = Mirror(ScriptedTransfer.whole(DATA))
    assert await mirror.get() == (DATA, Outcome.MISS)
    await settle()
    for _ in range(3):
        assert await mirror.get() == (DATA, Outcome.HIT)
    assert mirror.upstream.asked == [f"GET library/alpine blob {DIGEST}"]
    await mirror.end()


@in_virtual_time
async def test_a_hit_is_at_hand_as_long_as_it_is_granted_and_there() -> None:
    mirror = Mirror.with_stored_blob(HUB)
    at_hand, not_theirs = mirror.pull.at_hand(HUB, DIGEST), mirror.pull.at_hand(OTHER, DIGEST)
    assert not_theirs() is None
    body = at_hand()
    assert body is not None
    assert await read_to_end(body) == DATA
    body.close()
    mirror.records.grants.clear()
    assert at_hand() is None
    mirror.records.grants.add((HUB, DIGEST))
    mirror.store.committed.clear()
    assert at_hand() is None
    assert mirror.upstream.asked == []
    await mirror.end()


@in_virtual_time
async def test_who_comes_while_it_is_filled_joins() -> None:
    gate = asyncio.Event()
    mirror = Mirror(ScriptedTransfer([DATA[:1000], gate, DATA[1000:]], len(DATA)))
    first = asyncio.create_task(mirror.get())
    await settle()
    second = asyncio.create_task(mirror.get())
    await settle()
    gate.set()
    assert await first == (DATA, Outcome.MISS)
    assert await second == (DATA, Outcome.COLLAPSED)
    assert len(mirror.upstream.asked) == 1
    await mirror.end()


@pytest.mark.parametrize(("max_size", "stored"), [(len(DATA), True), (len(DATA) - 1, False)])
@in_virtual_time
async def test_the_status_says_whether_it_is_being_stored(max_size: int, stored: bool) -> None:
    mirror = Mirror(ScriptedTransfer.whole(DATA), max_size=max_size)
    pulled = await mirror.pull.pull(HUB, DIGEST)
    assert pulled.status.stored is stored
    pulled.body.close()
    await mirror.end()


# Access. ---------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_another_repository_has_to_ask_for_what_is_stored() -> None:
    mirror = Mirror.with_stored_blob(HUB)
    mirror.upstream.head_blobs.append(len(DATA))
    assert await mirror.get(OTHER) == (DATA, Outcome.REVALIDATED)
    assert await mirror.get(OTHER) == (DATA, Outcome.HIT)
    assert mirror.upstream.asked == [f"HEAD someone/else blob {DIGEST}"]
    await mirror.end()


@pytest.mark.parametrize("error", [errors.BlobUnknown("no"), errors.Denied("no"), errors.UpstreamFailed("broken")])
@in_virtual_time
async def test_without_a_grant_what_is_stored_stays_closed(error: MirrorError) -> None:
    mirror = Mirror.with_stored_blob(HUB)
    mirror.upstream.head_blobs.append(error)
    with pytest.raises(type(error)):
        await mirror.get(OTHER)
    assert await mirror.get(HUB) == (DATA, Outcome.HIT)
    await mirror.end()


@in_virtual_time
async def test_another_repository_has_to_ask_for_what_is_being_filled() -> None:
    gate = asyncio.Event()
    mirror = Mirror(ScriptedTransfer([DATA[:1000], gate, DATA[1000:]], len(DATA)))
    mirror.upstream.head_blobs += [errors.Denied("private"), len(DATA)]
    first = asyncio.create_task(mirror.get())
    await settle()
    with pytest.raises(errors.Denied):
        await mirror.get(OTHER)
    third = Route("docker.io", Repository("third/one"))
    follower = asyncio.create_task(mirror.get(third))
    await settle()
    gate.set()
    assert await first == (DATA, Outcome.MISS)
    assert await follower == (DATA, Outcome.COLLAPSED)
    assert mirror.records.grants == {(HUB, DIGEST), (third, DIGEST)}
    await mirror.end()


@pytest.mark.parametrize("is_head", [False, True])
@in_virtual_time
async def test_another_repository_has_to_ask_for_what_another_process_fills(is_head: bool) -> None:
    gate = asyncio.Event()
    mirror = Mirror(ScriptedTransfer([DATA[:1000], gate, DATA[1000:]], len(DATA)))
    beside = Mirror(beside=mirror)
    first = asyncio.create_task(mirror.get(HUB))
    await settle()
    joined = asyncio.create_task(beside.get(HUB))
    await asyncio.sleep(1)
    assert beside.upstream.asked == []
    joined.cancel()
    await settle()
    other = Mirror(beside=mirror)
    other.upstream.head_blobs += [errors.Denied("private")] * 2
    reading = asyncio.create_task(other.get(OTHER))
    await asyncio.sleep(1)
    with pytest.raises(errors.Denied):
        await (other.pull.head(OTHER, DIGEST) if is_head else reading)
    gate.set()
    assert (await first)[0] == DATA
    await asyncio.gather(reading, return_exceptions=True)
    for one in (mirror, beside, other):
        await one.end()


@in_virtual_time
async def test_a_refusal_to_one_repository_is_not_one_to_another() -> None:
    gate = asyncio.Event()
    mirror = Mirror()
    mirror.upstream.blobs += [Held(gate, errors.Denied("private")), ScriptedTransfer.whole(DATA)]
    mirror.upstream.head_blobs.append(len(DATA))
    first = asyncio.create_task(mirror.get(HUB))
    await settle()
    second = asyncio.create_task(mirror.get(OTHER))
    await settle()
    gate.set()
    with pytest.raises(errors.Denied):
        await first
    assert (await second)[0] == DATA
    await mirror.end()


@in_virtual_time
async def test_a_grant_that_takes_longer_than_the_fill_finds_the_stored_blob() -> None:
    gate = asyncio.Event()
    mirror = Mirror(ScriptedTransfer.whole(DATA))
    mirror.upstream.head_blobs.append(Held(gate, len(DATA)))
    first = asyncio.create_task(mirror.get(HUB))
    await steps(3)
    second = asyncio.create_task(mirror.get(OTHER))
    assert (await first)[0] == DATA
    await settle()
    gate.set()
    assert (await second)[0] == DATA
    assert len(mirror.upstream.asked) == 2
    await mirror.end()


@in_virtual_time
async def test_that_it_is_no_blob_says_nothing_about_a_manifest_of_the_same_digest() -> None:
    mirror = Mirror.with_stored_blob(HUB)
    mirror.upstream.head_blobs.append(errors.BlobUnknown("registries keep manifests elsewhere"))
    with pytest.raises(errors.BlobUnknown):
        await mirror.get(OTHER)
    asked: list[str] = []

    async def ask_for_manifest() -> None:
        asked.append(OCI_MANIFEST)

    assert await mirror.access.confirm(Kind.MANIFEST, OTHER, DIGEST, ask_for_manifest)
    assert asked


# Failures. -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [errors.BlobUnknown("no"), errors.Denied("no"), errors.UpstreamThrottled("no", 5)])
@in_virtual_time
async def test_upstreams_no_is_passed_on(error: MirrorError) -> None:
    mirror = Mirror()
    mirror.upstream.blobs.append(error)
    with pytest.raises(type(error)):
        await mirror.get()
    await mirror.end()


@in_virtual_time
async def test_a_blob_that_vanishes_every_time_is_given_up() -> None:
    mirror = Mirror()

    class Vanishing(MemoryStore):
        async def open(self, digest: Digest) -> None:
            return None

    class Committed(MemoryStore):
        """Has the blob whenever the filler looks."""

        async def open(self, digest: Digest) -> Body | None:
            self.committed[digest] = DATA
            return await super().open(digest)

    upstreams = {"docker.io": mirror.upstream}
    filler = Filler(
        Means(upstreams, Committed(), mirror.records, mirror.failures, mirror.access, Recorder()), mirror.tasks
    )
    pull = PullBlob(upstreams, Vanishing(), mirror.access, filler, mirror.sizes)
    with pytest.raises(errors.StoreFailed):
        await pull.pull(HUB, DIGEST)


@pytest.mark.parametrize("error", [errors.BlobUnknown("no"), errors.Denied("no")])
@in_virtual_time
async def test_a_refusal_is_remembered_for_a_while_by_get_and_by_head(error: MirrorError) -> None:
    mirror = Mirror()
    mirror.upstream.blobs += [error, ScriptedTransfer.whole(DATA)]
    with pytest.raises(type(error)) as raised:
        await mirror.get()
    assert not raised.value.remembered
    for pull in (mirror.get(), mirror.pull.head(HUB, DIGEST), mirror.get()):
        with pytest.raises(type(error)) as raised:
            await pull
        assert raised.value.remembered
    assert len(mirror.upstream.asked) == 1
    mirror.clock.now += 31
    assert await mirror.get() == (DATA, Outcome.MISS)
    await mirror.end()


@in_virtual_time
async def test_a_refused_head_saves_the_get_that_follows_it() -> None:
    mirror = Mirror()
    mirror.upstream.head_blobs.append(errors.BlobUnknown("no"))
    with pytest.raises(errors.BlobUnknown):
        await mirror.pull.head(HUB, DIGEST)
    with pytest.raises(errors.BlobUnknown) as raised:
        await mirror.get()
    assert raised.value.remembered
    assert mirror.upstream.asked == [f"HEAD library/alpine blob {DIGEST}"]
    await mirror.end()


@pytest.mark.parametrize("pieces", [[], [DATA[:1000]], [DATA[:1000], errors.UpstreamTimeout("stalled")]])
@in_virtual_time
async def test_a_client_sees_nothing_of_a_blob_that_is_cut(pieces: list[Piece]) -> None:
    got = sum(len(piece) for piece in pieces if isinstance(piece, bytes))
    mirror = Mirror(ScriptedTransfer(pieces, len(DATA)), ScriptedTransfer.rest_of(DATA, got))
    assert await mirror.get() == (DATA, Outcome.MISS)
    await mirror.end()


@pytest.mark.parametrize("got", [0, 1000])
@in_virtual_time
async def test_who_comes_back_for_a_blob_that_was_given_up_is_served_at_once(got: int) -> None:
    mirror = Mirror(ScriptedTransfer([DATA[:got]], len(DATA)))
    mirror.upstream.blobs += [errors.UpstreamFailed("down")] * RESUMES
    mirror.upstream.blobs.append(ScriptedTransfer.rest_of(DATA, got))
    with pytest.raises((errors.BodyCut, errors.UpstreamUnavailable)):
        await mirror.get()
    await settle()
    assert await mirror.get() == (DATA, Outcome.MISS)
    assert mirror.upstream.rests[-1].start == got
    await mirror.end()


@in_virtual_time
async def test_whatever_it_waits_for_a_client_has_an_answer_in_time() -> None:
    # The fill of another repository, then the right to join it, then a fill of its own: not 20 s for each.
    mirror = Mirror()
    gate = asyncio.Event()
    mirror.upstream.blobs += [Held(gate, errors.BlobUnknown("no")), Never()]
    mirror.upstream.head_blobs.append(len(DATA))
    first = asyncio.create_task(mirror.get(HUB))
    await settle()
    second = asyncio.create_task(mirror.get(OTHER))
    await asyncio.sleep(ANSWER_WITHIN - 1)
    gate.set()
    with pytest.raises(errors.BlobUnknown):
        await first
    with pytest.raises(errors.UpstreamTimeout):
        await second
    assert asyncio.get_running_loop().time() == pytest.approx(ANSWER_WITHIN)
    await mirror.end()


# HEAD. -----------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_head_of_a_stored_blob_asks_nobody() -> None:
    mirror = Mirror.with_stored_blob(HUB)
    head = await mirror.pull.head(HUB, DIGEST)
    assert (head.size, head.status.outcome) == (len(DATA), Outcome.HIT)
    await mirror.end()


@pytest.mark.parametrize("size", [len(DATA), 0, None])
@in_virtual_time
async def test_head_of_an_unknown_blob_asks_upstream_and_fetches_nothing(size: int | None) -> None:
    mirror = Mirror()
    mirror.upstream.head_blobs.append(size)
    head = await mirror.pull.head(HUB, DIGEST)
    assert (head.size, head.status.outcome) == (size, Outcome.MISS)
    assert mirror.upstream.asked == [f"HEAD library/alpine blob {DIGEST}"]
    assert mirror.records.grants == {(HUB, DIGEST)}
    await mirror.end()


@in_virtual_time
async def test_head_of_a_blob_that_is_being_filled_asks_nobody() -> None:
    gate = asyncio.Event()
    mirror = Mirror(ScriptedTransfer([gate, DATA], len(DATA)))
    reading = asyncio.create_task(mirror.get())
    await settle()
    head = await mirror.pull.head(HUB, DIGEST)
    assert (head.size, head.status.outcome) == (len(DATA), Outcome.COLLAPSED)
    gate.set()
    await reading
    await mirror.end()


@in_virtual_time
async def test_head_by_another_repository_asks_for_itself() -> None:
    gate = asyncio.Event()
    mirror = Mirror(ScriptedTransfer([gate, DATA], len(DATA)))
    mirror.upstream.head_blobs.append(errors.Denied("private"))
    reading = asyncio.create_task(mirror.get())
    await settle()
    with pytest.raises(errors.Denied):
        await mirror.pull.head(OTHER, DIGEST)
    gate.set()
    await reading
    await mirror.end()


@in_virtual_time
async def test_head_by_another_repository_of_a_stored_blob_needs_a_grant() -> None:
    mirror = Mirror.with_stored_blob(HUB)
    mirror.upstream.head_blobs.append(errors.Denied("private"))
    with pytest.raises(errors.Denied):
        await mirror.pull.head(OTHER, DIGEST)
    await mirror.end()


@in_virtual_time
async def test_head_ends_in_time() -> None:
    mirror = Mirror()
    mirror.upstream.head_blobs.append(Never())
    with pytest.raises(errors.UpstreamTimeout):
        await mirror.pull.head(HUB, DIGEST)
    assert asyncio.get_running_loop().time() == pytest.approx(ANSWER_WITHIN)


@in_virtual_time
async def test_head_of_a_blob_whose_fill_upstream_does_not_agree_to_ends_in_time() -> None:
    mirror = Mirror()
    mirror.upstream.blobs.append(Never())
    reading = asyncio.create_task(mirror.get())
    await asyncio.sleep(5)
    with pytest.raises(errors.UpstreamTimeout):
        await mirror.pull.head(HUB, DIGEST)
    assert asyncio.get_running_loop().time() == pytest.approx(ANSWER_WITHIN)
    with pytest.raises(errors.UpstreamTimeout):
        await reading
    await mirror.end()


@in_virtual_time
async def test_head_of_a_fill_that_is_slow_in_every_step_ends_in_time() -> None:
    mirror = Mirror()
    gate = asyncio.Event()
    mirror.upstream.blobs.append(Held(gate, ScriptedTransfer([DATA], None)))
    mirror.upstream.head_blobs.append(Never())
    reading = asyncio.create_task(mirror.pull.pull(HUB, DIGEST))
    await settle()
    asking = asyncio.create_task(mirror.pull.head(HUB, DIGEST))
    await asyncio.sleep(ANSWER_WITHIN - 1)
    gate.set()
    for waiting in (asking, reading):
        with pytest.raises(errors.UpstreamTimeout):
            await waiting
    assert asyncio.get_running_loop().time() == pytest.approx(ANSWER_WITHIN)
    await mirror.end()


@in_virtual_time
async def test_head_of_a_stored_blob_that_may_not_be_confirmed_ends_in_time_and_closes_the_file() -> None:
    mirror = Mirror.with_stored_blob(HUB)
    mirror.upstream.head_blobs.append(Never())
    for pull in (mirror.pull.head(OTHER, DIGEST), mirror.get(OTHER)):
        with pytest.raises(errors.UpstreamTimeout):
            await pull
    assert asyncio.get_running_loop().time() == pytest.approx(ANSWER_WITHIN)
    assert mirror.store.open_files == 0


# Cancellation. ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", range(30))
@pytest.mark.parametrize("route", [HUB, OTHER])
@in_virtual_time
async def test_a_client_may_leave_at_any_await(turns: int, route: Route) -> None:
    mirror = Mirror(ScriptedTransfer.whole(DATA, piece=200_000))
    mirror.upstream.head_blobs += [len(DATA)] * 2
    first = asyncio.create_task(mirror.get())
    await steps(2)
    victim = asyncio.create_task(mirror.get(route))
    await steps(turns)
    victim.cancel()
    assert (await first)[0] == DATA
    assert (await mirror.get())[0] == DATA
    assert len([asked for asked in mirror.upstream.asked if asked.startswith("GET")]) == 1
    await mirror.end()

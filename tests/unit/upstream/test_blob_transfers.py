"""The rest of a blob, over real connections: what is asked, along redirects too, and what careless servers answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from yarl import URL

from mirror.errors import UpstreamInvalid, UpstreamUnreachable
from mirror.oci.digest import Digest
from mirror.oci.reference import Repository
from mirror.proxy.interfaces.upstream import WHOLE, Rest, Transfer, Validator
from mirror.upstream.client import RegistryClient
from tests.fakes import content, faults, range_faults
from tests.fakes.cdn import FakeCDN
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.ranges import part_of
from tests.fakes.redirects import Redirect
from tests.fakes.registry import FakeRegistry
from tests.fakes.script import Fault
from tests.unit.upstream.wired import registry_client

ALPINE = Repository("library/alpine")
LAYER = content.blob(1_000_000)
OTHER = content.blob(1_000_000, seed="other")
DIGEST = Digest.parse(LAYER.digest)
PATH = f"/v2/{ALPINE}/blobs/{DIGEST}"
ETAG = f'"{DIGEST}"'
START = 600_000
REST = Rest(START)
ASKED = f"bytes={START}-"


@pytest.fixture
async def upstream(registry: FakeRegistry) -> AsyncIterator[RegistryClient]:
    registry.put_blob(str(ALPINE), LAYER)
    async with registry_client(URL(registry.url)) as client:
        yield client


async def read(transfer: Transfer) -> bytes:
    received = b""
    while data := await transfer.read():
        received += data
    return received


async def read_until_cut(transfer: Transfer) -> bytes:
    """What arrives before the transfer is cut; it must be."""
    received = b""
    try:
        while data := await transfer.read():
            received += data
    except UpstreamUnreachable:
        return received
    finally:
        transfer.close()
    raise AssertionError("the transfer ended in order")


async def left_open(registry: FakeRegistry, count: int) -> None:
    """Wait until the registry has no more than that many connections."""
    async with asyncio.timeout(10):
        while registry.connections > count:  # noqa: ASYNC110  # nothing tells when it has
            await asyncio.sleep(0.01)


def asked(journal: Journal, host: str | None = None) -> list[tuple[str | None, str | None]]:
    """Range and If-Range of each request."""
    return [(entry.range, entry.if_range) for entry in journal.select(host=host)]


# In order. -----------------------------------------------------------------------------------------------


async def test_a_blob_that_is_cut_again_and_again_costs_no_byte_twice(
    upstream: RegistryClient, registry: FakeRegistry, journal: Journal
) -> None:
    registry.always(PATH, faults.cut_every(300_000))
    transfer = await upstream.get_blob(ALPINE, DIGEST)
    received = await read_until_cut(transfer)
    for attempt in (1, 2):
        transfer = await upstream.get_blob(ALPINE, DIGEST, Rest(len(received), transfer.validator, attempt))
        received += await read_until_cut(transfer)
    transfer = await upstream.get_blob(ALPINE, DIGEST, Rest(len(received), transfer.validator, 3))
    assert received + await read(transfer) == LAYER.data
    assert journal.body_bytes() == LAYER.size
    assert asked(journal) == [(None, None), *((f"bytes={start}-", ETAG) for start in (300_000, 600_000, 900_000))]


@pytest.mark.parametrize("hops", [1, 3])
async def test_the_range_goes_along_every_redirect(
    upstream: RegistryClient, registry: FakeRegistry, cdn: FakeCDN, journal: Journal, hops: int
) -> None:
    registry.redirect_blobs(cdn, Redirect(hops=hops))
    whole = await upstream.get_blob(ALPINE, DIGEST)
    assert await read(whole) == LAYER.data
    assert whole.validator is not None
    assert asked(journal) == [(None, None)] * (hops + 1)
    journal.clear()
    transfer = await upstream.get_blob(ALPINE, DIGEST, Rest(START, whole.validator))
    assert (transfer.start, transfer.size, await read(transfer)) == (START, LAYER.size, LAYER.data[START:])
    assert asked(journal) == [(ASKED, whole.validator.tag)] * (hops + 1)


async def test_an_expired_address_is_not_asked_again(
    upstream: RegistryClient, registry: FakeRegistry, cdn: FakeCDN, journal: Journal
) -> None:
    cdn.single_use = True
    registry.redirect_blobs(cdn)
    cdn.fault("*", faults.cut_at(START))
    transfer = await upstream.get_blob(ALPINE, DIGEST)
    received = await read_until_cut(transfer)
    received += await read(await upstream.get_blob(ALPINE, DIGEST, Rest(len(received), transfer.validator, 1)))
    assert received == LAYER.data
    assert [(entry.host, entry.status) for entry in journal.entries] == [
        ("registry", 307),
        ("cdn", 200),
        ("registry", 307),
        ("cdn", 206),
    ]


async def test_the_next_endpoint_gives_the_rest(
    registry: FakeRegistry, other_registry: FakeRegistry, journal: Journal
) -> None:
    for one in (registry, other_registry):
        one.put_blob(str(ALPINE), LAYER)
    other_registry.etags = "other-"
    before = Validator(ETAG, registry.url)
    async with registry_client(URL(registry.url), URL(other_registry.url)) as upstream:
        for attempt in range(4):
            rest = Rest(START, before, attempt)
            assert await read(await upstream.get_blob(ALPINE, DIGEST, rest)) == LAYER.data[START:]
        await other_registry.stop()
        assert await read(await upstream.get_blob(ALPINE, DIGEST, Rest(START, before, 1))) == LAYER.data[START:]
    assert [entry.host for entry in journal.entries] == ["registry", "other"] * 2 + ["registry"]
    assert set(asked(journal, "registry")) == {(ASKED, ETAG)}
    # What the one calls the object means nothing to the other.
    assert set(asked(journal, "other")) == {(ASKED, None)}


# Careless servers. ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "data"),
    [
        pytest.param(range_faults.ignored, LAYER.data, id="range ignored"),
        pytest.param(range_faults.replaced(OTHER.data), OTHER.data, id="object replaced"),
    ],
)
async def test_the_whole_is_taken_where_it_comes_for_the_rest(
    upstream: RegistryClient, registry: FakeRegistry, journal: Journal, fault: Fault, data: bytes
) -> None:
    registry.fault(PATH, fault)
    rest = Rest(START, Validator(ETAG, registry.url))
    transfer = await upstream.get_blob(ALPINE, DIGEST, rest)
    assert (transfer.start, transfer.size, await read(transfer)) == (0, len(data), data)
    assert asked(journal) == [(ASKED, ETAG)]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(range_faults.unsatisfiable, id="416"),
        pytest.param(range_faults.other_part(START - 1), id="begins earlier"),
        pytest.param(range_faults.other_part(START + 1), id="begins later"),
        pytest.param(range_faults.other_part(0), id="begins at the beginning"),
        pytest.param(range_faults.other_part(START, 999_998), id="ends early"),
        pytest.param(range_faults.multipart, id="multipart"),
        pytest.param(range_faults.replaced_unnoticed(OTHER.data), id="another object"),
        pytest.param(faults.header("Content-Range", None), id="no Content-Range"),
        pytest.param(faults.header("Content-Range", "bytes 600000-999999/1000001"), id="another total"),
        pytest.param(faults.header("Content-Range", "bytes 600000-1000000/1000001"), id="another length"),
        pytest.param(faults.repeated_header("Content-Range", "bytes 0-1/2"), id="two Content-Ranges"),
        pytest.param(
            faults.both(faults.header("Content-Range", "bytes 600000-999999/*"), faults.chunked), id="no length at all"
        ),
    ],
)
@pytest.mark.parametrize("moved", [False, True])
async def test_where_there_is_no_sensible_rest_the_whole_is_fetched(
    upstream: RegistryClient, registry: FakeRegistry, cdn: FakeCDN, journal: Journal, fault: Fault, moved: bool
) -> None:
    if moved:
        registry.redirect_blobs(cdn)
    transfer = await upstream.get_blob(ALPINE, DIGEST)
    await read(transfer)
    journal.clear()
    (cdn if moved else registry).fault("*", fault)
    before = transfer.validator
    assert before is not None
    transfer = await upstream.get_blob(ALPINE, DIGEST, Rest(START, before))
    assert (transfer.start, transfer.size, await read(transfer)) == (0, LAYER.size, LAYER.data)
    assert asked(journal, "cdn" if moved else "registry") == [(ASKED, before.tag), (None, None)]


async def test_a_part_of_what_was_asked_for_as_a_whole_is_not_believed(
    upstream: RegistryClient, registry: FakeRegistry
) -> None:
    registry.fault(PATH, lambda answer: part_of(answer, 0, 999_999))
    with pytest.raises(UpstreamInvalid):
        await upstream.get_blob(ALPINE, DIGEST)


# Connections. --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rest", [WHOLE, REST])
async def test_a_transfer_that_is_closed_early_takes_its_connection_along(
    upstream: RegistryClient, registry: FakeRegistry, journal: Journal, rest: Rest
) -> None:
    gate = Gate()
    registry.fault(PATH, faults.stop_at(200_000, gate))
    transfer = await upstream.get_blob(ALPINE, DIGEST, rest)
    await transfer.read()
    await gate.reached()
    assert registry.connections == 1
    transfer.close()
    transfer.close()
    await left_open(registry, 0)
    assert await read(await upstream.get_blob(ALPINE, DIGEST)) == LAYER.data
    assert journal.body_bytes() == 200_000 + LAYER.size


async def test_a_transfer_that_is_read_to_its_end_gives_its_connection_back(
    upstream: RegistryClient, registry: FakeRegistry
) -> None:
    for _ in range(3):
        transfer = await upstream.get_blob(ALPINE, DIGEST, REST)
        await read(transfer)
        transfer.close()
    assert (registry.connections, registry.accepted) == (1, 1)


async def test_an_answer_of_no_use_is_not_read_to_its_end(upstream: RegistryClient, registry: FakeRegistry) -> None:
    registry.fault(PATH, faults.both(range_faults.other_part(0), faults.endless))
    async with asyncio.timeout(10):
        assert await read(await upstream.get_blob(ALPINE, DIGEST, REST)) == LAYER.data
    await left_open(registry, 1)

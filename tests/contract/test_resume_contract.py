"""Going on with a blob, as the mirror does it: at the fake and at the real registry."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from yarl import URL

from mirror.oci.digest import Digest
from mirror.oci.reference import Repository
from mirror.proxy.interfaces.upstream import Rest, Transfer, Validator
from mirror.upstream.client import RegistryClient
from tests.contract.conftest import Subjects
from tests.fakes import content
from tests.unit.upstream.wired import registry_client

RANGES = Repository("library/ranges")
IMAGE = content.image(1, size=1_000_000, seed="resume")
LAYER = IMAGE.layers[0]
DIGEST = Digest.parse(LAYER.digest)


@pytest.fixture
async def upstream(subjects: Subjects) -> AsyncIterator[RegistryClient]:
    subjects.open.add_image(str(RANGES), "latest", IMAGE)
    async with registry_client(URL(subjects.open.url)) as client:
        yield client


async def read(transfer: Transfer) -> bytes:
    received = b""
    while data := await transfer.read():
        received += data
    return received


async def test_a_blob_is_fetched_in_three_goes(upstream: RegistryClient) -> None:
    received = b""
    validator: Validator | None = None
    for stop in (300_000, 700_000, LAYER.size):
        transfer = await upstream.get_blob(RANGES, DIGEST, Rest(len(received), validator))
        assert (transfer.start, transfer.size) == (len(received), LAYER.size)
        while len(received) < stop:
            received += await transfer.read(stop - len(received))
        transfer.close()
        validator = transfer.validator
        assert validator is not None
        assert validator.tag == f'"{DIGEST}"'
    assert received == LAYER.data


async def test_the_rest_of_another_object_is_the_whole_of_this_one(
    subjects: Subjects, upstream: RegistryClient
) -> None:
    another = Validator('"another"', subjects.open.url)
    transfer = await upstream.get_blob(RANGES, DIGEST, Rest(300_000, another))
    assert (transfer.start, transfer.size, await read(transfer)) == (0, LAYER.size, LAYER.data)


async def test_the_rest_is_had_without_a_validator_too(upstream: RegistryClient) -> None:
    transfer = await upstream.get_blob(RANGES, DIGEST, Rest(999_999))
    assert (transfer.start, transfer.size, await read(transfer)) == (999_999, LAYER.size, LAYER.data[-1:])


@pytest.mark.parametrize("start", [1_000_000, 1_000_001, 10**12])
async def test_behind_the_end_the_whole_is_fetched(subjects: Subjects, upstream: RegistryClient, start: int) -> None:
    transfer = await upstream.get_blob(RANGES, DIGEST, Rest(start, Validator(f'"{DIGEST}"', subjects.open.url)))
    assert (transfer.start, transfer.size, await read(transfer)) == (0, LAYER.size, LAYER.data)

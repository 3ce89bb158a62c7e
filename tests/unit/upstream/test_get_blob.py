"""A blob from upstream, whole or what is left of it, without an upstream."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import aiohttp
import pytest

from mirror import errors
from mirror.errors import MirrorError
from mirror.oci.digest import Digest
from mirror.oci.reference import Repository
from mirror.proxy.interfaces.upstream import WHOLE, Rest, Transfer, Validator
from tests.unit.upstream.answers import ReadyAnswer, answer
from tests.unit.upstream.scripted import ScriptedEndpoint, client

ALPINE = Repository("library/alpine")
DATA = bytes(range(100))
DIGEST = Digest.of(DATA)
TAG = '"abc"'
OURS = Validator(TAG, "0")
REST = Rest(40, OURS)
CONDITIONAL = {"Range": "bytes=40-", "If-Range": TAG}


def whole(data: bytes = DATA, tag: str = TAG) -> aiohttp.ClientResponse:
    return answer(200, data, {"Content-Length": str(len(data)), "ETag": tag})


def part(data: bytes = DATA[40:], declared: str = "bytes 40-99/100", tag: str = TAG) -> aiohttp.ClientResponse:
    return answer(206, data, {"Content-Range": declared, "Content-Length": str(len(data)), "ETag": tag})


def unsatisfiable() -> aiohttp.ClientResponse:
    return answer(416, b"no", {"Content-Range": "bytes */100", "Content-Length": "2"})


def said(transfer: Transfer) -> tuple[int, int | None, str | None]:
    validator = transfer.validator
    return transfer.start, transfer.size, None if validator is None else validator.tag


async def read(transfer: Transfer) -> bytes:
    received = b""
    while data := await transfer.read():
        received += data
    return received


@pytest.mark.parametrize("rest", [WHOLE, Rest(0, OURS), Rest(0, OURS, 3)])
async def test_a_blob_from_its_beginning_is_asked_for_without_a_range(rest: Rest) -> None:
    endpoint = ScriptedEndpoint(whole())
    transfer = await client(endpoint).get_blob(ALPINE, DIGEST, rest)
    assert (said(transfer), await read(transfer)) == ((0, 100, TAG), DATA)
    assert [(request.method, dict(request.headers)) for request in endpoint.requests] == [("GET", {})]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, (0, None, None)),
        ({"Content-Length": "100", "ETag": 'W/"abc"'}, (0, 100, None)),
        ({"Content-Length": "0", "ETag": TAG}, (0, 0, TAG)),
    ],
)
async def test_what_upstream_does_not_say_is_not_known(
    headers: dict[str, str], expected: tuple[int, int | None, str | None]
) -> None:
    assert said(await client(ScriptedEndpoint(answer(200, DATA, headers))).get_blob(ALPINE, DIGEST)) == expected


async def test_the_rest_of_a_blob_tells_the_length_of_the_whole() -> None:
    endpoint = ScriptedEndpoint(part())
    transfer = await client(endpoint).get_blob(ALPINE, DIGEST, REST)
    assert (said(transfer), await read(transfer)) == ((40, 100, TAG), DATA[40:])
    assert [(request.method, dict(request.headers)) for request in endpoint.requests] == [("GET", CONDITIONAL)]


async def test_an_unknown_total_is_told_by_the_length_of_the_rest() -> None:
    transfer = await client(ScriptedEndpoint(part(declared="bytes 40-99/*"))).get_blob(ALPINE, DIGEST, REST)
    assert said(transfer) == (40, 100, TAG)


@pytest.mark.parametrize("other", [b"other", DATA, DATA * 2])
async def test_the_whole_for_the_rest_begins_at_the_beginning(other: bytes) -> None:
    endpoint = ScriptedEndpoint(whole(other, '"new"'))
    transfer = await client(endpoint).get_blob(ALPINE, DIGEST, REST)
    assert (said(transfer), await read(transfer)) == ((0, len(other), '"new"'), other)
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    "useless",
    [
        unsatisfiable,
        lambda: answer(416, DATA[40:], {"Content-Range": "bytes 40-99/100"}),
        lambda: part(declared="bytes 41-99/100"),
        lambda: part(declared="bytes 40-98/100"),
        lambda: part(declared="bytes 40-99/101"),
        lambda: part(declared="nonsense"),
        lambda: part(tag='"new"'),
        lambda: part(DATA),
        lambda: answer(206, DATA[40:]),
        lambda: answer(206, DATA[40:], [("Content-Range", "bytes 40-99/100"), ("Content-Range", "bytes 0-1/2")]),
        lambda: answer(206, DATA, {"Content-Type": "multipart/byteranges; boundary=x"}),
    ],
)
async def test_where_there_is_no_sensible_rest_the_whole_is_asked_for(
    useless: Callable[[], aiohttp.ClientResponse],
) -> None:
    refused = useless()
    endpoint = ScriptedEndpoint(refused, whole())
    transfer = await client(endpoint).get_blob(ALPINE, DIGEST, REST)
    assert (said(transfer), await read(transfer)) == ((0, 100, TAG), DATA)
    assert [dict(request.headers) for request in endpoint.requests] == [CONDITIONAL, {}]
    assert cast(ReadyAnswer, refused).released


@pytest.mark.parametrize("second", [part, unsatisfiable])
async def test_a_part_of_what_was_asked_for_as_a_whole_is_not_believed(
    second: Callable[[], aiohttp.ClientResponse],
) -> None:
    for rest, answers in ((WHOLE, [second()]), (REST, [unsatisfiable(), second()])):
        endpoint = ScriptedEndpoint(*answers)
        with pytest.raises(errors.UpstreamInvalid):
            await client(endpoint).get_blob(ALPINE, DIGEST, rest)
        assert len(endpoint.requests) == len(answers)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, errors.Unauthorized),
        (403, errors.Denied),
        (404, errors.BlobUnknown),
        (400, errors.UpstreamInvalid),
        (204, errors.UpstreamInvalid),
        (429, errors.UpstreamThrottled),
        (500, errors.UpstreamFailed),
        (503, errors.UpstreamFailed),
    ],
)
async def test_an_error_means_what_it_always_means(status: int, kind: type[MirrorError]) -> None:
    endpoint = ScriptedEndpoint(answer(status))
    with pytest.raises(kind) as raised:
        await client(endpoint).get_blob(ALPINE, DIGEST, REST)
    assert type(raised.value) is kind
    assert len(endpoint.requests) == 1


async def test_the_whole_is_asked_of_the_endpoint_that_had_no_rest() -> None:
    first, second = ScriptedEndpoint(), ScriptedEndpoint(unsatisfiable(), whole())
    transfer = await client(first, second).get_blob(ALPINE, DIGEST, Rest(40, Validator(TAG, "1"), attempt=1))
    assert said(transfer) == (0, 100, TAG)
    assert [dict(request.headers) for request in second.requests] == [CONDITIONAL, {}]
    assert not first.requests


async def test_an_endpoint_that_fails_is_followed_by_the_next_for_the_same_rest() -> None:
    first, second = ScriptedEndpoint(answer(503)), ScriptedEndpoint(part(tag='"other"'))
    transfer = await client(first, second).get_blob(ALPINE, DIGEST, REST)
    assert said(transfer) == (40, 100, '"other"')
    # What the one calls the object means nothing to the other.
    conditions = [dict(request.headers) for request in (*first.requests, *second.requests)]
    assert conditions == [CONDITIONAL, {"Range": "bytes=40-"}]

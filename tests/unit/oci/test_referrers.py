from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import UpstreamInvalid
from mirror.oci.digest import Digest
from mirror.oci.media_types import OCI_INDEX, OCI_MANIFEST
from mirror.oci.referrers import of_types, parse_referrers, referrers_tag, render, types_asked

SIGNATURE = {
    "mediaType": OCI_MANIFEST,
    "digest": f"sha256:{'1' * 64}",
    "size": 7,
    "artifactType": "application/vnd.example.signature+json",
    "annotations": {"who": "J\u00fcrgen \ud83d\ude80", "nested": {"a": [1, None, True, 1.5]}},
    "x-unknown": 12345678901234567890,
}
BOM = SIGNATURE | {"artifactType": "application/spdx", "digest": "blake3:abc"}
UNTYPED = {"mediaType": OCI_MANIFEST, "digest": "sha256:2", "size": 1}


def index(manifests: object = (), **changes: object) -> bytes:
    """An image index."""
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests} | changes).encode()


@pytest.mark.parametrize("content_type", [OCI_INDEX, f"{OCI_INDEX}; charset=utf-8", "application/json", ""])
def test_descriptors_pass_through_untouched_and_in_order(content_type: str) -> None:
    found = parse_referrers(content_type, index([SIGNATURE, BOM, UNTYPED]))
    assert json.loads(render(found)) == json.loads(index([SIGNATURE, BOM, UNTYPED]))


@pytest.mark.parametrize("data", [index(), index(None), b'{"schemaVersion": 2, "manifests": []}'])
def test_an_index_of_nothing(data: bytes) -> None:
    assert parse_referrers(OCI_INDEX, data) == []
    assert json.loads(render([])) == json.loads(index())


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("text/html", index()),
        (OCI_MANIFEST, b'{"schemaVersion": 2, "layers": []}'),
        (OCI_MANIFEST, index()),
        (OCI_MANIFEST, b'{"schemaVersion": 2, "manifests": []}'),
        ("application/json", b'{"schemaVersion": 2, "manifests": []}'),
        (OCI_INDEX, b""),
        (OCI_INDEX, b"<html>"),
        (OCI_INDEX, b"[]"),
        (OCI_INDEX, b'{"errors": []}'),
        (OCI_INDEX, b'{"schemaVersion": 2}'),
        (OCI_INDEX, index(schemaVersion=1)),
        (OCI_INDEX, index(schemaVersion="2")),
        (OCI_INDEX, index(mediaType=OCI_MANIFEST)),
        (OCI_INDEX, index(layers=[])),
        (OCI_INDEX, index({})),
        (OCI_INDEX, index("x")),
        (OCI_INDEX, index(["x"])),
        (OCI_INDEX, index([{}])),
        (OCI_INDEX, index([{"digest": 1, "mediaType": "x"}])),
        (OCI_INDEX, index([{"digest": "sha256:0", "mediaType": None}])),
        (OCI_INDEX, index([SIGNATURE | {"size": float("nan")}])),
        (OCI_INDEX, index([SIGNATURE]).replace(b'"size": 7', b'"size": 1e999')),
    ],
)
def test_what_is_no_index_is_not_an_empty_one(content_type: str, data: bytes) -> None:
    with pytest.raises(UpstreamInvalid):
        parse_referrers(content_type, data)


@given(st.binary(max_size=60) | st.text('{}[]":,12manifestsschemaVersion ', max_size=60).map(str.encode))
def test_no_document_does_worse_than_be_invalid(data: bytes) -> None:
    try:
        assert isinstance(json.loads(render(parse_referrers(OCI_INDEX, data)))["manifests"], list)
    except UpstreamInvalid:
        return


def test_the_tag_of_a_digest() -> None:
    assert str(referrers_tag(Digest.of(b""))) == f"sha256-{Digest.of(b'').encoded}"
    long = Digest("sha512", "ab" * 64)
    assert str(referrers_tag(long)) == f"sha512-{'ab' * 32}"


@pytest.mark.parametrize(
    ("query", "types"),
    [
        ("", set()),
        ("artifactType=", set()),
        ("artifactType=a/b&ns=docker.io", {"a/b"}),
        ("artifactType=application%2Fvnd.x%2Bjson", {"application/vnd.x+json"}),
        ("artifactType=application/vnd.x+json", {"application/vnd.x+json"}),
        ("artifactType=a/b&artifactType=c/d", {"a/b", "c/d"}),
        ("artifacttype=a/b", set()),
    ],
)
def test_the_types_a_query_asks_for(query: str, types: set[str]) -> None:
    assert types_asked(query) == types


@given(st.text(max_size=40) | st.text("artifctTye=&%;?0/+", max_size=40))
def test_every_query_asks_for_some_types_or_none(query: str) -> None:
    assert "" not in types_asked(query)


def test_a_filter_keeps_what_is_of_its_types() -> None:
    found = parse_referrers(OCI_INDEX, index([SIGNATURE, BOM, UNTYPED]))
    assert of_types(found, {"application/spdx"}) == [found[1]]
    assert of_types(found, {"application/spdx", "application/vnd.example.signature+json"}) == found[:2]
    assert of_types(found, {"application/SPDX"}) == []

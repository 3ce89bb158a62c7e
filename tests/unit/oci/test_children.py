from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.oci.children import Child, children_of, described_in
from mirror.oci.digest import Digest
from mirror.oci.media_types import OCI_INDEX, OCI_MANIFEST
from tests.unit.oci.strategies import digests

A, B, C, D = (Digest.of(name) for name in (b"a", b"b", b"c", b"d"))


def descriptor(digest: object, **fields: object) -> dict[str, object]:
    return {"mediaType": "application/octet-stream", "digest": str(digest), "size": 5, **fields}


def encoded(**fields: object) -> bytes:
    return json.dumps({"schemaVersion": 2, **fields}).encode()


def test_an_image_refers_to_its_layers_and_its_config() -> None:
    data = encoded(mediaType=OCI_MANIFEST, config=descriptor(C), layers=[descriptor(B), descriptor(A)])
    assert children_of(data) == (B, A, C)


def test_an_index_refers_to_its_manifests() -> None:
    assert children_of(encoded(mediaType=OCI_INDEX, manifests=[descriptor(B), descriptor(A)])) == (B, A)


def test_an_artifact_refers_to_its_blobs() -> None:
    assert children_of(encoded(blobs=[descriptor(A)], subject=descriptor(D))) == (A,)


@pytest.mark.parametrize(
    ("media_type", "is_blob"),
    [
        ("application/vnd.oci.image.layer.v1.tar+gzip", True),
        ("", True),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", False),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", False),
    ],
)
def test_layers_that_may_not_be_distributed_are_no_blobs_of_a_registry(media_type: str, is_blob: bool) -> None:
    [child] = described_in(encoded(layers=[descriptor(A, mediaType=media_type)]))
    assert child.is_blob is is_blob


def test_manifests_are_no_blobs() -> None:
    [child] = described_in(encoded(manifests=[descriptor(A)]))
    assert not child.is_blob


@pytest.mark.parametrize(("urls", "is_elsewhere"), [(["https://a.example/b"], True), ([], False), (None, False)])
def test_a_layer_may_name_places_where_it_is_to_be_had(urls: object, is_elsewhere: bool) -> None:
    [child] = described_in(encoded(layers=[descriptor(A, urls=urls)]))
    assert child.is_elsewhere is is_elsewhere


def test_what_is_listed_twice_is_one_child() -> None:
    data = encoded(config=descriptor(A), layers=[descriptor(B), descriptor(A), descriptor(B)])
    assert children_of(data) == (B, A)


def test_one_digest_of_each_kind_is_two() -> None:
    other = Digest.of(b"a", "sha512")
    assert children_of(encoded(layers=[descriptor(A), descriptor(other)])) == (A, other)


def test_only_what_is_named_at_the_top_is_a_child() -> None:
    inner = {"layers": [descriptor(A)], "config": descriptor(B), "manifests": [descriptor(C)]}
    assert children_of(encoded(annotations=inner, other=descriptor(A), layers=[descriptor(D, data=inner)])) == (D,)
    assert children_of(encoded(layers=[[descriptor(A)]], config=[descriptor(B)])) == ()


@pytest.mark.parametrize(
    "garbage",
    [
        None,
        5,
        "text",
        [],
        {},
        {"digest": None},
        {"digest": 5},
        {"digest": []},
        {"digest": {}},
        {"digest": ""},
        {"digest": "sha256:short"},
        {"digest": f"md5:{'0' * 32}"},
        {"digest": f"{A}\n"},
        {"digest": str(A).upper()},
        {"digest": "\udcff"},
        {"Digest": str(A)},
    ],
)
def test_one_damaged_descriptor_does_not_hide_the_others(garbage: object) -> None:
    data = encoded(layers=[garbage, descriptor(B), garbage], config=garbage, manifests=[garbage], blobs=garbage)
    assert children_of(data) == (B,)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"5",
        b"[]",
        b'"text"',
        b"{}",
        b"not JSON",
        b"\xff\xfe\x00",
        b"\x00" * 100,
        b"[" * 200_000,
        b'{"layers":' * 200_000,
        b"1" * 100_000,
        b'{"layers": [' + b"9" * 100_000 + b"]}",
        b'{"manifests": null, "layers": 5, "blobs": {"a": 1}, "config": "text"}',
        encoded(layers=descriptor(A)),
    ],
)
def test_what_is_no_manifest_has_no_children(data: bytes) -> None:
    assert children_of(data) == ()


@given(st.lists(digests, max_size=6), st.lists(digests, max_size=6), st.none() | digests)
def test_every_child_is_found_once_and_in_order(manifests: list[Digest], layers: list[Digest], config: Any) -> None:
    data = encoded(
        config=config and descriptor(config),
        manifests=list(map(descriptor, manifests)),
        layers=[*map(descriptor, layers)],
    )
    named = [*manifests, *layers, *([config] if config else [])]
    assert list(children_of(data)) == sorted(set(named), key=named.index)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | digests.map(str),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["manifests", "layers", "blobs", "config", "digest"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_document_can_be_read(content: object) -> None:
    text = json.dumps(content)
    found = children_of(text.encode())
    assert len(set(found)) == len(found)
    assert all(str(digest) in text for digest in found)


@given(st.binary(max_size=100))
def test_any_bytes_can_be_read(data: bytes) -> None:
    assert isinstance(children_of(data), tuple)


def test_what_is_said_of_children_is_kept_as_far_as_it_is_well_formed() -> None:
    platform = {"os": "linux", "architecture": "arm64", "variant": "v8"}
    odd = descriptor(B, mediaType="no type\x1b[31m", size=-1, platform={"os": "\x1b[31m", "architecture": 7})
    first, second = described_in(encoded(manifests=[descriptor(A, platform=platform), odd]))
    assert first == Child(A, "application/octet-stream", 5, "linux/arm64/v8", is_manifest=True)
    assert second == Child(B, "", None, "", is_manifest=True)

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import UpstreamInvalid
from mirror.oci.media_types import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    DOCKER_V1_SIGNED,
    MANIFEST_TYPES,
    MAX_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    manifest_type,
    without_parameters,
)


def document(**fields: Any) -> bytes:
    """The bytes of a JSON object."""
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("header", "bare"),
    [
        ("application/json", "application/json"),
        ("Application/JSON; charset=utf-8", "application/json"),
        ("  text/plain ;x=y; z", "text/plain"),
        (OCI_MANIFEST, OCI_MANIFEST),
        ("", ""),
        (";charset=utf-8", ""),
        ("json", ""),
        ("application/", ""),
        ("/json", ""),
        ("a/b/c", ""),
        ("application/json, text/plain", ""),
        ("application/j\u00e4son", ""),
        ("application/json\r\nX-Evil: 1", ""),
    ],
)
def test_bare_media_types(header: str, bare: str) -> None:
    assert without_parameters(header) == bare


def test_what_goes_upstream_names_every_type_once() -> None:
    assert len(set(MANIFEST_TYPES)) == len(MANIFEST_TYPES)
    assert MAX_MANIFEST >= 4 * 1024 * 1024


@pytest.mark.parametrize("kind", MANIFEST_TYPES)
def test_the_header_names_the_type(kind: str) -> None:
    assert manifest_type(kind, document()) == kind
    assert manifest_type(kind, document(mediaType=kind)) == kind
    assert manifest_type(f"{kind}; charset=utf-8", document(mediaType=kind)) == kind
    assert manifest_type(kind.upper(), document()) == kind


@pytest.mark.parametrize("header", ["", "text/plain", "application/json", "application/octet-stream", "nonsense"])
@pytest.mark.parametrize("kind", MANIFEST_TYPES)
def test_a_vague_header_leaves_it_to_the_document(header: str, kind: str) -> None:
    assert manifest_type(header, document(mediaType=kind)) == kind


@pytest.mark.parametrize(
    ("header", "data"),
    [
        pytest.param("application/json", document(), id="nobody says the type"),
        pytest.param("text/html", document(mediaType=OCI_MANIFEST), id="HTML"),
        pytest.param("text/html", b"<html>captive portal</html>", id="a portal"),
        pytest.param("application/json", document(mediaType="application/json"), id="JSON and nothing more"),
        pytest.param("application/vnd.oci.image.config.v1+json", document(), id="a config"),
        pytest.param(OCI_MANIFEST, document(mediaType=OCI_INDEX), id="header and document differ"),
        pytest.param(DOCKER_MANIFEST, document(mediaType=DOCKER_LIST), id="header and document differ, Docker"),
        pytest.param(OCI_MANIFEST, document(mediaType=5), id="mediaType is a number"),
        pytest.param("", document(mediaType=[OCI_MANIFEST]), id="mediaType is a list"),
        pytest.param("", document(mediaType={}), id="mediaType is an object"),
        pytest.param(OCI_INDEX, document(manifests=[], layers=[]), id="index and manifest"),
        pytest.param(OCI_MANIFEST, document(manifests=[], layers=[]), id="manifest and index"),
        pytest.param(DOCKER_V1_SIGNED, document(manifests=[], fsLayers=[]), id="index and schema 1"),
        pytest.param(OCI_MANIFEST, b"", id="empty"),
        pytest.param(OCI_MANIFEST, b"{", id="cut"),
        pytest.param(OCI_MANIFEST, b"[]", id="list"),
        pytest.param(OCI_MANIFEST, b'"text"', id="string"),
        pytest.param(OCI_MANIFEST, b"null", id="null"),
        pytest.param(OCI_MANIFEST, b"\xff\xfe\xfd", id="not text"),
        pytest.param(OCI_MANIFEST, b'{"a":' * 100_000, id="deep"),
        pytest.param(OCI_MANIFEST, b'{"a":' + b"9" * 10_000 + b"}", id="a number without end"),
    ],
)
def test_what_is_no_manifest(header: str, data: bytes) -> None:
    with pytest.raises(UpstreamInvalid):
        manifest_type(header, data)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.sampled_from(MANIFEST_TYPES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["mediaType", "layers", "x"]), inner),
    max_leaves=8,
)


@given(st.sampled_from([*MANIFEST_TYPES, "", "text/plain", "x"]) | st.text(max_size=10), json_values)
def test_whatever_is_sent_is_of_a_known_type_or_refused(header: str, content: object) -> None:
    with suppress(UpstreamInvalid):
        assert manifest_type(header, json.dumps(content).encode()) in MANIFEST_TYPES


@given(st.text(max_size=10), st.binary(max_size=60))
def test_no_bytes_do_worse_than_be_refused(header: str, data: bytes) -> None:
    with pytest.raises(UpstreamInvalid):
        manifest_type(header, data)

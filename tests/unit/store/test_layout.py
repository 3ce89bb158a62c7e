from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.oci.digest import Digest
from mirror.oci.media_types import MANIFEST_TYPES, OCI_INDEX, OCI_MANIFEST
from mirror.store.index import Index
from mirror.store.layout import GRANTS, REF_NAME, VALIDATED_AT, parse, render
from mirror.store.rows import Rows
from tests.unit.oci.strategies import digests, repositories, tags
from tests.unit.proxy.doubles import SettableClock
from tests.unit.recorder import Recorder

DIGEST = Digest.of(b"manifest")


def index_of(*stored: Digest, size: int = 10) -> Index:
    """An index that knows these files."""
    index = Index(Rows(Path("unused"), Recorder()), SettableClock())
    for digest in stored:
        index.add(digest, size, is_manifest=True)
    return index


@st.composite
def tables(draw: st.DrawFn) -> dict[str, str]:
    """Rows of records as the mirror writes them."""
    rows: dict[str, str] = {}
    known = draw(st.lists(digests, min_size=1, max_size=4, unique=True))
    for digest in known:
        rows[f"type {digest}"] = draw(st.sampled_from(MANIFEST_TYPES))
    for repository, tag in draw(st.lists(st.tuples(repositories, tags), max_size=4)):
        times = draw(st.lists(st.floats(0, 4e9), min_size=1, max_size=2))
        rows[f"tag docker.io/{repository}:{tag}"] = json.dumps([str(draw(st.sampled_from(known))), *times])
    for repository, digest in draw(st.lists(st.tuples(repositories, st.sampled_from(known) | digests), max_size=4)):
        rows[f"grant ghcr.io/{repository}@{digest}"] = "yes"
    for upstream in draw(st.sets(st.sampled_from(["docker.io", "ghcr.io", "registry.example:5000"]))):
        rows[f"credentialed {upstream}"] = "yes"
    return rows


def stored_in(rows: dict[str, str]) -> list[Digest]:
    return [Digest.parse(key.removeprefix("type ")) for key in rows if key.startswith("type ")]


@given(tables())
def test_the_rows_come_back(rows: dict[str, str]) -> None:
    assert parse(render(rows, index_of(*stored_in(rows)))) == rows


def test_what_a_tag_is_to_some_clients_is_no_tag_of_the_layout() -> None:
    rows = {
        f"type {DIGEST}": OCI_MANIFEST,
        f"variant docker.io/app:1.0 as {OCI_MANIFEST}": json.dumps([str(DIGEST), 1.0]),
    }
    document = json.loads(render(rows, index_of(DIGEST)))
    assert [descriptor.get("annotations") for descriptor in document["manifests"]] == [None]


@given(tables())
def test_it_is_an_image_index(rows: dict[str, str]) -> None:
    document = json.loads(render(rows, index_of(*stored_in(rows), size=77)))
    assert document["schemaVersion"] == 2
    assert document["mediaType"] == OCI_INDEX
    for descriptor in document["manifests"]:
        assert descriptor["mediaType"] in MANIFEST_TYPES
        assert descriptor["size"] == 77
        assert str(Digest.parse(descriptor["digest"])) == descriptor["digest"]
        assert all(isinstance(value, str) for value in descriptor.get("annotations", {}).values())
    assert all(isinstance(value, str) for value in document["annotations"].values())


def test_only_files_that_exist_are_listed() -> None:
    rows = {f"type {DIGEST}": OCI_MANIFEST, "tag docker.io/a:b": json.dumps([str(DIGEST), 5.0])}
    assert json.loads(render(rows, index_of()))["manifests"] == []
    assert parse(render(rows, index_of())) == {}


def test_a_tagged_manifest_is_not_listed_again_without_its_tag() -> None:
    rows = {f"type {DIGEST}": OCI_MANIFEST, "tag docker.io/a:b": json.dumps([str(DIGEST), 5.0])}
    [descriptor] = json.loads(render(rows, index_of(DIGEST)))["manifests"]
    assert descriptor["annotations"][REF_NAME] == "docker.io/a:b"


@pytest.mark.parametrize(
    "garbage",
    [
        {"type nonsense": OCI_MANIFEST},
        {"type ": OCI_MANIFEST},
        {"tag docker.io/a:b": "nonsense"},
        {"tag docker.io/a:b": '["sha256:short", 5]'},
        {"tag docker.io/a:b": json.dumps([str(Digest.of(b"other")), 5.0])},
        {"tag": "x"},
        {"grant": "yes"},
        {"grant docker.io/a": "yes"},
        {"": ""},
        {"unknown row": "x"},
    ],
)
def test_a_row_of_garbage_does_not_keep_the_others_from_being_saved(garbage: dict[str, str]) -> None:
    rows = {f"type {DIGEST}": OCI_MANIFEST, **garbage}
    assert parse(render(rows, index_of(DIGEST))).items() >= {f"type {DIGEST}": OCI_MANIFEST}.items()


def document(*descriptors: Any, **fields: Any) -> bytes:
    return json.dumps({"manifests": list(descriptors), **fields}).encode()


def descriptor(**fields: Any) -> dict[str, Any]:
    return {"mediaType": OCI_MANIFEST, "digest": str(DIGEST), "size": 10, **fields}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"5",
        b"{}",
        b"not JSON",
        b"\xff",
        b"[" * 100_000,
        document(),
        b'{"manifests": null}',
        b'{"manifests": 5}',
        b'{"manifests": {"a": 1}}',
        b'{"manifests": "text"}',
        document(None, 5, "text", [], {}),
        document(descriptor(digest="sha256:short")),
        document(descriptor(digest=5)),
        document(descriptor(digest=None)),
        document(descriptor(mediaType="application/json")),
        document(descriptor(mediaType=None)),
        document(descriptor(mediaType=[OCI_MANIFEST])),
        document(descriptor(annotations="text")),
        document(descriptor(annotations=[REF_NAME])),
        document(descriptor(annotations={REF_NAME: "docker.io/a:b", VALIDATED_AT: "yesterday"})),
        document(descriptor(annotations={REF_NAME: "docker.io/a:b", VALIDATED_AT: []})),
        document(descriptor(annotations={REF_NAME: "docker.io/a:b", VALIDATED_AT: 10**400})),
        document(annotations=5),
        document(annotations="text"),
        document(annotations={GRANTS + "docker.io/a": 5}),
        document(annotations={"other": "text"}),
    ],
)
def test_garbage_holds_no_tag_and_no_grant(data: bytes) -> None:
    assert {key for key in parse(data) if not key.startswith("type ")} == set()


@pytest.mark.parametrize("validated_at", ["inf", "-inf", "nan", "1e999"])
def test_a_tag_validated_at_no_time_was_never_validated(validated_at: str) -> None:
    annotations = {REF_NAME: "docker.io/a:b", VALIDATED_AT: validated_at}
    rows = parse(document(descriptor(annotations=annotations)))
    value = rows.get("tag docker.io/a:b", json.dumps([str(DIGEST), 0]))
    assert json.loads(value)[1] == 0


def test_what_another_tool_wrote_is_passed_over() -> None:
    others = descriptor(annotations={REF_NAME: "latest", "org.example": "x"}, platform={"os": "linux"})
    assert parse(document(others, {"mediaType": "application/x"})) == {
        f"type {DIGEST}": OCI_MANIFEST,
        "tag latest": json.dumps([str(DIGEST), 0.0]),
    }


def test_one_damaged_entry_does_not_hide_the_others() -> None:
    assert parse(document(5, descriptor(), {"digest": 5})) == {f"type {DIGEST}": OCI_MANIFEST}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([OCI_MANIFEST]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["manifests", "annotations", "digest", "mediaType", REF_NAME, VALIDATED_AT, GRANTS]), inner
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_document_can_be_read(content: object) -> None:
    assert set(map(type, parse(json.dumps(content).encode()).values())) <= {str}


@given(st.lists(json_values, max_size=3), json_values)
def test_any_descriptor_can_be_read(descriptors: list[object], annotations: object) -> None:
    parse(document(*descriptors, descriptor(annotations=annotations), annotations=annotations))

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.oci.accept import accepted_types
from mirror.oci.media_types import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    DOCKER_V1,
    DOCKER_V1_SIGNED,
    MANIFEST_TYPES,
    OCI_INDEX,
    OCI_MANIFEST,
)

ALL = set(MANIFEST_TYPES)

DOCKERD = ["application/json", DOCKER_LIST, DOCKER_V1_SIGNED, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST]
PODMAN = [DOCKER_LIST, DOCKER_V1, DOCKER_V1_SIGNED, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST]
CRANE = [",".join([DOCKER_V1, DOCKER_V1_SIGNED, DOCKER_MANIFEST, OCI_MANIFEST, DOCKER_LIST, OCI_INDEX])]
CONTAINERD = [f"{DOCKER_MANIFEST}, {DOCKER_LIST}, {OCI_MANIFEST}, {OCI_INDEX}, */*"]


@pytest.mark.parametrize(
    "lines", [DOCKERD, PODMAN, CRANE, CONTAINERD], ids=["dockerd", "podman", "crane", "containerd"]
)
def test_what_real_clients_send_takes_whatever_images_are_made_of(lines: list[str]) -> None:
    assert {OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST} <= set(accepted_types(lines))


@pytest.mark.parametrize(
    ("lines", "taken"),
    [
        # Nothing said.
        ([], ALL),
        ([""], ALL),
        ([" , ,\t,"], ALL),
        (["*/*"], ALL),
        (["application/*"], ALL),
        (["APPLICATION/*"], ALL),
        # Several lines, lists and blanks.
        ([OCI_INDEX], {OCI_INDEX}),
        ([OCI_INDEX, DOCKER_LIST], {OCI_INDEX, DOCKER_LIST}),
        ([f"{OCI_INDEX},{DOCKER_LIST}", "text/html"], {OCI_INDEX, DOCKER_LIST}),
        ([f" ,{OCI_INDEX}\t , ,", "", DOCKER_LIST], {OCI_INDEX, DOCKER_LIST}),
        ([OCI_INDEX.upper()], {OCI_INDEX}),
        ([f"{DOCKER_MANIFEST}, */*"], ALL),
        # Weights: any but none will do, the most specific range counts, and for one named twice the larger weight.
        ([f"{OCI_INDEX};q=0.001, {DOCKER_LIST};q=1.000"], {OCI_INDEX, DOCKER_LIST}),
        ([f"{OCI_INDEX};q=0, */*"], ALL - {OCI_INDEX}),
        ([f"*/*, {OCI_INDEX} ; Q=0.000"], ALL - {OCI_INDEX}),
        ([f"{OCI_INDEX}, application/*;q=0, */*"], {OCI_INDEX}),
        (["application/*;q=0.5, */*;q=0"], ALL),
        ([f"{OCI_INDEX};q=0, {OCI_INDEX}"], {OCI_INDEX}),
        ([f"{OCI_INDEX}, {OCI_INDEX};q=0"], {OCI_INDEX}),
        # Other parameters, in which commas and semicolons may stand.
        ([f'{OCI_INDEX}; v="a,b;q=0\\",{DOCKER_LIST}";q=1;more=2'], {OCI_INDEX}),
        ([f"{OCI_INDEX};;charset=utf-8; ;q=1;"], {OCI_INDEX}),
        ([f"{OCI_INDEX};q=1;q=0"], {OCI_INDEX}),
        # Says nothing about manifests, but for what is refused.
        (["application/json"], ALL),
        (["text/html, application/xhtml+xml, image/*;q=0.8"], ALL),
        (["*/json"], ALL),
        ([f"application/json, {OCI_INDEX};q=0"], ALL - {OCI_INDEX}),
        ([f"{OCI_INDEX};q=0"], ALL - {OCI_INDEX}),
        # Leaves nothing.
        (["*/*;q=0"], ALL),
        (["application/*;q=0.0, text/html"], ALL),
    ],
)
def test_the_types_a_client_takes(lines: list[str], taken: set[str]) -> None:
    assert set(accepted_types(lines)) == taken


@pytest.mark.parametrize(
    "malformed",
    [
        "application",
        "application/",
        "/json",
        "*",
        "application/a b",
        "application/a/b",
        "application/json;q",
        "application/json;q=",
        "application/json;q=2",
        "application/json;q=1.001",
        "application/json;q=0.0001",
        "application/json;q=-1",
        "application/json;q=.5",
        "application/json;q=NaN",
        'application/json;q="1"',
        "application/json;q = 1",
        'application/json;v="open',
        "application/json\x00",
        "ünïcode/json",
        "text/html, *; q=.2, */*; q=.2",
        ";q=1",
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_malformed_header_is_as_good_as_none(malformed: str, place: int) -> None:
    lines = [OCI_INDEX, DOCKER_LIST]
    lines.insert(place, malformed)
    assert accepted_types(lines) == MANIFEST_TYPES
    assert accepted_types([", ".join(lines)]) == MANIFEST_TYPES


def test_the_order_of_lines_changes_nothing() -> None:
    lines = [f"{OCI_INDEX};q=0", OCI_MANIFEST, f"{DOCKER_LIST};q=0.3, text/html"]
    assert {accepted_types(order) for order in permutations(lines)} == {(OCI_MANIFEST, DOCKER_LIST)}


@given(st.lists(st.text(max_size=30) | st.text('aq*/;,=."\\ 01\t', max_size=30), max_size=4))
def test_whatever_comes_some_known_types_are_taken_in_their_order(lines: list[str]) -> None:
    taken = accepted_types(lines)
    assert taken
    assert taken == tuple(kind for kind in MANIFEST_TYPES if kind in taken)


@given(
    st.dictionaries(st.sampled_from(MANIFEST_TYPES), st.sampled_from(["", ";q=1", ";q=0.5", "; q=0"]), min_size=1),
    st.integers(1, 3),
    st.sampled_from([",", ", ", " ,\t, "]),
)
def test_what_is_named_with_a_weight_is_what_is_taken(named: dict[str, str], lines: int, comma: str) -> None:
    elements = [kind + weight for kind, weight in named.items()]
    header = [comma.join(elements[start::lines]) for start in range(lines)]
    wanted = {kind for kind, weight in named.items() if weight != "; q=0"}
    assert set(accepted_types(header)) == (wanted or ALL - set(named) or ALL)


@pytest.mark.parametrize("noise", ["; ", ";\t;", "a/b ;", 'a/b;v="', '\\"', ",", "a/b,", "a/b;q=1 ", '"', "a/"])
def test_a_long_header_is_read_in_one_go(noise: str) -> None:
    # A parser that goes back would be busy for longer than anybody waits.
    assert accepted_types([f"a/b;{noise * 20_000}!", f"{noise * 20_000}"]) == MANIFEST_TYPES

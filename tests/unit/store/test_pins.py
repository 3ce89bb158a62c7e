from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mirror.oci.digest import Digest
from mirror.oci.reference import Repository, Tag
from mirror.proxy.operations.naming import FullName
from mirror.proxy.routing import Route
from mirror.store.pins import parse_pins, render_pins
from tests.unit.oci.strategies import digests, repositories, tags

names = st.builds(
    FullName,
    st.builds(Route, st.sampled_from(["docker.io", "registry.lan:5000"]), repositories.map(Repository)),
    tags.map(Tag) | digests,
)


@given(names)
def test_a_full_name_is_what_it_spells(name: FullName) -> None:
    assert FullName.parse(str(name)) == name


@given(st.dictionaries(names, st.none() | digests, max_size=5))
def test_pins_come_back(pins: dict[FullName, Digest | None]) -> None:
    assert parse_pins(render_pins(pins)) == pins


@given(st.text(max_size=60))
def test_what_spells_no_pin_is_left_out(text: str) -> None:
    parse_pins(text)

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mirror.errors import InvalidDigest, InvalidName, InvalidTag
from mirror.oci.digest import Digest
from mirror.oci.reference import MAX_NAME, Repository, Tag, parse_reference, split_registry
from tests.unit.oci.strategies import LOWER, components, digests, repositories, tags


@given(repositories)
def test_a_name_by_the_grammar_is_taken(name: str) -> None:
    assume(len(name) <= MAX_NAME)
    repository = Repository(name)
    assert str(repository) == name
    assert repository.pull_scope == f"repository:{name}:pull"


@given(repositories, st.data())
def test_a_character_from_outside_the_alphabet_spoils_a_name(name: str, data: st.DataObject) -> None:
    assume(len(name) < MAX_NAME)
    stranger = data.draw(st.characters().filter(lambda char: char not in LOWER + "._-/"))
    at = data.draw(st.integers(0, len(name)))
    with pytest.raises(InvalidName):
        Repository(name[:at] + stranger + name[at:])


@given(repositories, st.sampled_from([".", "_", "-", "/"]), st.booleans())
def test_a_name_begins_and_ends_with_a_letter_or_digit(name: str, separator: str, in_front: bool) -> None:
    assume(len(name) < MAX_NAME)
    with pytest.raises(InvalidName):
        Repository(separator + name if in_front else name + separator)


@given(components(), components(), st.sampled_from(["..", "._", "_.", "-.", ".-", "___", "_-", "-_", "//", "/.", "-/"]))
def test_separators_do_not_mix(before: str, after: str, separators: str) -> None:
    with pytest.raises(InvalidName):
        Repository(before + separators + after)


@given(st.text(max_size=40))
def test_no_text_does_worse_than_be_refused(text: str) -> None:
    for kind, refused in ((Repository, InvalidName), (Tag, InvalidTag)):
        with suppress(refused):
            assert str(kind(text)) == text


def test_the_longest_name() -> None:
    assert Repository("a" * MAX_NAME).name
    with pytest.raises(InvalidName):
        Repository("a" * (MAX_NAME + 1))
    assert Repository("a/" * (MAX_NAME // 2) + "a").name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "A",
        "Library/alpine",
        "a\n",
        "\na",
        "a b",
        "a:b",
        "a@b",
        "..",
        ".",
        "a/../b",
        "a/./b",
        "\u00e9",
        "\u0661",
        "\0",
    ],
)
def test_names_that_were_tried_on_others(name: str) -> None:
    with pytest.raises(InvalidName):
        Repository(name)


@given(tags)
def test_a_tag_by_the_grammar_is_taken(name: str) -> None:
    assert str(Tag(name)) == name
    assert parse_reference(name) == Tag(name)


def test_a_tag_has_at_most_128_characters() -> None:
    assert Tag("a" * 128).name
    with pytest.raises(InvalidTag):
        Tag("a" * 129)


@pytest.mark.parametrize("name", ["", ".a", "-a", "a/b", "a b", "a\n", "\u00e9", "a+b", "a@b", "a%2f", "\u0661", "a:b"])
def test_a_tag_from_outside_the_grammar_is_refused(name: str) -> None:
    with pytest.raises(InvalidTag):
        Tag(name)


@given(digests)
def test_a_digest_is_a_reference(digest: Digest) -> None:
    assert parse_reference(str(digest)) == digest


@pytest.mark.parametrize("text", ["sha256:short", ":", "a:b", "latest:"])
def test_a_colon_makes_it_a_digest(text: str) -> None:
    with pytest.raises(InvalidDigest):
        parse_reference(text)


@pytest.mark.parametrize(
    ("name", "registry", "rest"),
    [
        ("alpine", None, "alpine"),
        ("library/alpine", None, "library/alpine"),
        ("a/b/c", None, "a/b/c"),
        ("localhost", None, "localhost"),
        ("ghcr.io", None, "ghcr.io"),
        ("registry:5000", None, "registry:5000"),
        ("", None, ""),
        ("/", None, "/"),
        ("localhost/app", "localhost", "app"),
        ("localhost:5000/app", "localhost:5000", "app"),
        ("registry:5000/app", "registry:5000", "app"),
        ("ghcr.io/owner/app", "ghcr.io", "owner/app"),
        ("GHCR.io/owner/app", "ghcr.io", "owner/app"),
        ("Registry/app", "registry", "app"),
        ("10.0.0.1/app", "10.0.0.1", "app"),
        ("ghcr.io/", "ghcr.io", ""),
        ("ghcr.io//app", "ghcr.io", "/app"),
        ("a.b/c.d/e", "a.b", "c.d/e"),
        ("localhosts/app", None, "localhosts/app"),
        (".hidden/app", None, ".hidden/app"),
        ("a./app", None, "a./app"),
        ("a.b:/app", None, "a.b:/app"),
        ("a.b:123456/app", None, "a.b:123456/app"),
        ("a.b:80:80/app", None, "a.b:80:80/app"),
        ("user@a.b/app", None, "user@a.b/app"),
        ("a.b\n/app", None, "a.b\n/app"),
    ],
)
def test_what_is_taken_for_a_registry(name: str, registry: str | None, rest: str) -> None:
    assert split_registry(name) == (registry, rest)


@given(st.text("aB.:/_-1", max_size=20))
def test_splitting_loses_nothing(name: str) -> None:
    registry, rest = split_registry(name)
    whole = rest if registry is None else f"{registry}/{rest}"
    assert whole.lower() == name.lower()


@given(components().filter(lambda component: "." not in component), repositories)
def test_a_plain_first_component_is_part_of_the_repository(first: str, rest: str) -> None:
    assume(first != "localhost")
    assert split_registry(f"{first}/{rest}") == (None, f"{first}/{rest}")

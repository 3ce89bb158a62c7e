from __future__ import annotations

import string
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.oci.reference import is_tag
from mirror.proxy.tag_rules import LONGEST_TAG, TagGlob

FIRST = string.ascii_letters + string.digits + "_"
LATER = FIRST + ".-"
# Few characters, so that they meet.
tags = st.from_regex(r"[abA_0][abA_0.-]{0,7}", fullmatch=True)
pieces = st.sampled_from(["*", "?", "a", "b", "A", "0", ".", "-", "[ab]", "[!ab]", "[a-b0]", "[!a-z]", "[-.]", "[._-]"])
texts = st.lists(pieces, min_size=1, max_size=7).map("".join)


def glob(text: str) -> TagGlob | None:
    """The glob, None for one that is refused."""
    try:
        return TagGlob(text)
    except ValueError:
        return None


globs = texts.map(glob).filter(lambda found: found is not None)


@pytest.mark.parametrize(
    ("text", "matching", "others"),
    [
        ("latest", ["latest"], ["Latest", "latest1", "1latest", "late"]),
        ("v*.*.*", ["v1.2.3", "v1.2.3-rc.1", "v..", "v1.2.3.4"], ["v1.2", "1.2.3", "V1.2.3", "xv1.2.3"]),
        ("sha-*", ["sha-", "sha-1f2e"], ["sha", "sha256-1f2e", "SHA-1f2e"]),
        ("*", ["a", "latest", "1.0", "_"], []),
        ("?", ["a", "_"], ["ab"]),
        ("*-alpine", ["3.12-alpine", "a-alpine"], ["alpine", "3.12-alpine3.20"]),
        ("[0-9]*", ["1", "1.27", "20260101"], ["v1", "latest"]),
        ("[!0-9]*", ["v1", "latest", "_"], ["1", "1.27"]),
        ("[0-9].[0-9][0-9]", ["1.27"], ["1.2", "1.2a", "11.27"]),
        ("[A-z]x", ["Ax", "zx", "_x"], ["0x"]),
        ("1[.-]0", ["1.0", "1-0"], ["1_0", "1x0"]),
        ("sha256-????*", ["sha256-abcd", "sha256-abcd.sig"], ["sha256-abc"]),
    ],
)
def test_what_globs_match(text: str, matching: list[str], others: list[str]) -> None:
    found = TagGlob(text)
    assert [tag for tag in matching + others if found.matches(tag)] == matching


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is expected"),
        ("v{1,2}", "never matches, as tags are letters"),
        ("library/alpine", "never matches, as tags are letters"),
        ("alpine:3*", "never matches, as tags are letters"),
        ("v1 ", "never matches, as tags are letters"),
        ("é*", "never matches, as tags are letters"),
        (r"v\*", "never matches, as tags are letters"),
        ("[^a]", "never matches, as tags are letters"),
        (".*", "no tag begins with"),
        ("-*", "no tag begins with"),
        ("[.-]*", "no tag begins with"),
        ("[0-9", "has no ]"),
        ("[]", "never matches"),
        ("[!]", "never matches"),
        ("[9-0]", "the wrong way round"),
        ("[!.-z-]", "never matches"),
        ("?" * (LONGEST_TAG + 1), "at most 128"),
        ("*." + "?" * (LONGEST_TAG - 1), "at most 128"),
    ],
)
def test_a_glob_that_would_never_match_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        TagGlob(text)
    assert why in str(raised.value)


@given(texts, tags)
def test_globs_match_what_a_shell_would(text: str, tag: str) -> None:
    found = glob(text)
    assert (found is not None and found.matches(tag)) == (is_tag(tag) and fnmatchcase(tag, text))


@given(st.text(alphabet=LATER + "*?[]!{},^/ é\n", max_size=20))
def test_any_text_is_a_glob_or_refused_with_a_reason(text: str) -> None:
    try:
        TagGlob(text)
    except ValueError as error:
        assert str(error).isprintable()  # noqa: PT017  # what it says is what matters


@given(globs, globs, tags)
def test_what_is_covered_matches_nothing_else(one: TagGlob, other: TagGlob, tag: str) -> None:
    if one.covers(other) and other.matches(tag):
        assert one.matches(tag)


@given(globs)
def test_a_glob_covers_itself_and_all_covers_it(one: TagGlob) -> None:
    assert one.covers(one)
    assert TagGlob("*").covers(one)


@given(globs, tags)
def test_to_cover_one_tag_is_to_match_it(one: TagGlob, tag: str) -> None:
    assert one.covers(TagGlob(tag)) == one.matches(tag)


@pytest.mark.parametrize(
    ("one", "other", "covers"),
    [
        ("v*", "v*.*.*", True),
        ("v*.*.*", "v*", False),
        ("?*", "*", False),
        ("*", "?*", True),
        ("[0-9]*", "1.*", True),
        ("[0-9]*", "[0-4]*", True),
        ("[0-4]*", "[0-9]*", False),
        ("*a*", "*aa*", True),
        ("a?", "a*", False),
        ("a*", "a?", True),
    ],
)
def test_which_globs_leave_nothing_to_others(one: str, other: str, covers: bool) -> None:
    assert TagGlob(one).covers(TagGlob(other)) is covers


def test_what_is_between_stars_is_not_looked_for_in_every_combination() -> None:
    # There are more combinations than anybody has time for.
    assert not TagGlob("*a" * 60 + "*b").matches("a" * LONGEST_TAG)

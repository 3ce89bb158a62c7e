from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cli.warm.variables import Unresolved, expanded

VALUES = {"TAG": "1.0", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("alpine", "alpine"),
        ("alpine:$TAG", "alpine:1.0"),
        ("alpine:${TAG}-x", "alpine:1.0-x"),
        ("a:${NONE:-2}", "a:2"),
        ("a:${NONE-2}", "a:2"),
        ("a:${EMPTY:-2}", "a:2"),
        ("a:${EMPTY-2}", "a:"),
        ("a:${TAG:-2}", "a:1.0"),
        ("a:${NONE:-${TAG}}", "a:1.0"),
        ("a:${TAG:-${NONE}}", "a:1.0"),
        ("a:${NONE:-${OTHER:-3}}", "a:3"),
        ("a${TAG:+:x}${NONE:+:y}", "a:x"),
        ("a:${TAG:?is needed}", "a:1.0"),
        ("a$$TAG", "a$TAG"),
        ("}{", "}{"),
    ],
)
def test_variables_mean_what_compose_and_docker_say(text: str, means: str) -> None:
    assert expanded(text, VALUES) == means


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a:$NONE", "NONE has no value"),
        ("a:${NONE}", "NONE has no value"),
        ("a:${EMPTY:?give one}", "EMPTY has no value"),
        ("a:${NONE:-${OTHER}}", "OTHER has no value"),
        ("a:$", "followed by no name"),
        ("a:${", "followed by no name"),
        ("a:${1}", "followed by no name"),
        ("a:${TAG", "not understood"),
        ("a:${TAG:-x", "not closed"),
        ("a:${TAG%x}", "not understood"),
        ("${A:-" * 50 + "}" * 50, "too deeply"),
    ],
)
def test_what_cannot_be_told_is_said_to_be_so(text: str, reason: str) -> None:
    with pytest.raises(Unresolved, match=reason):
        expanded(text, VALUES)


@given(st.text("ab$${}{:-+?TAG", max_size=60))
def test_any_text_has_a_meaning_or_none(text: str) -> None:
    with suppress(Unresolved):
        expanded(text, VALUES)


@given(st.text(st.characters(exclude_characters="$"), max_size=60))
def test_a_text_without_variables_is_what_it_is(text: str) -> None:
    assert expanded(text, {}) == text

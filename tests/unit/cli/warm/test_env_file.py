from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cli.warm.env_file import env_file


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("A=1\nB=two words\n", {"A": "1", "B": "two words"}),
        ("# A=1\n\nnothing\n=1\n1A=1", {}),
        ("export A = 1  # one", {"A": "1"}),
        ("A='$B # no'\r\nB=\"x # y\" # z\r\n", {"A": "$B # no", "B": "x # y"}),
        ("A=1#2", {"A": "1#2"}),
        ("A=\nB= # none", {"A": "", "B": ""}),
        ("A=1\nB=$A.${C:-2}\nD=$NONE", {"A": "1", "B": "1.2"}),
        ("A='", {"A": "'"}),
    ],
)
def test_the_ways_to_write_it(text: str, values: dict[str, str]) -> None:
    assert env_file(text, {}) == values


def test_the_environment_goes_first_also_within_values() -> None:
    assert env_file("A=1\nB=$A", {"A": "2", "C": "3"}) == {"A": "2", "B": "2", "C": "3"}


@given(st.text(alphabet="A=$ {}\"'#\n:-", max_size=40))
def test_any_text_is_read(text: str) -> None:
    assert env_file(text, {"A": "a"})["A"] == "a"

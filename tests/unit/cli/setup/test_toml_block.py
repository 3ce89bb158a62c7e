from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cli.setup.needs import CannotSetUp
from mirror.cli.setup.toml_block import block, with_block, without_block

TABLES = '[registry."docker.io"]\n  mirrors = ["new:5000"]\n'
OLD = '[registry."docker.io"]\n  mirrors = ["old:5000"]\n\n[registry."old:5000"]\n  http = true\n'
THEIRS = '# a comment\ndebug = true\n\n[worker.oci]\n  labels = { "a" = "b" }  # another\n'

LINES = st.sampled_from(
    [
        "",
        "# words",
        'key = "value"',
        "list = [\n  [1, 2],\n  [3],\n]",
        'text = """\n[not.a.table]\n"""',
        "[table]",
        "[[tables]]",
        '[registry."quay.io"]',
        '[registry."docker.io"]',
        'mirrors = ["x"]',
        "  http = true",
        "not toml",
    ]
)


def test_a_file_of_its_own_is_a_block() -> None:
    assert tomllib.loads(block(TABLES)) == tomllib.loads(TABLES)
    assert with_block("", TABLES) == block(TABLES)
    assert with_block(" \n", TABLES) == block(TABLES)


def test_what_is_there_stays_to_the_letter() -> None:
    text = with_block(THEIRS, TABLES)
    assert text.startswith(THEIRS)
    assert tomllib.loads(text) == tomllib.loads(THEIRS) | tomllib.loads(TABLES)


def test_before_the_first_table_of_others_but_behind_what_is_no_table() -> None:
    text = with_block(THEIRS, TABLES, first=True)
    assert text.index("debug = true") < text.index("docker.io") < text.index("[worker.oci]")
    assert tomllib.loads(text) == tomllib.loads(THEIRS) | tomllib.loads(TABLES)


@pytest.mark.parametrize("first", [False, True])
def test_an_earlier_setup_is_replaced_where_it_is(first: bool) -> None:
    text = with_block(f'{with_block(THEIRS, OLD, first=first)}\n[mine]\nkey = "value"\n', TABLES, first=first)
    assert "old:5000" not in text
    assert tomllib.loads(text) == tomllib.loads(THEIRS) | tomllib.loads(TABLES) | {"mine": {"key": "value"}}


def test_without_our_lines() -> None:
    assert without_block(with_block(THEIRS, OLD)).strip() == THEIRS.strip()
    assert without_block(block(OLD)) == ""


def test_what_others_say_already_is_not_said_again() -> None:
    text = f'{THEIRS}\n[registry."docker.io"]\nmirrors = ["new:5000"]\nca = ["x"]\n'
    assert with_block(text, TABLES) == text


def test_lines_without_an_end_are_not_ours() -> None:
    text = block(OLD).rsplit("\n", 2)[0] + "\n"
    with pytest.raises(CannotSetUp):
        with_block(text, TABLES)


@pytest.mark.parametrize("text", ["[", "a = ", "a = 1\na = 2", "\x00", "[a]\n[a]", 'a = "'])
def test_what_is_no_toml_is_refused(text: str) -> None:
    with pytest.raises(CannotSetUp, match="is not TOML"):
        with_block(text, TABLES)


@pytest.mark.parametrize(
    "text",
    [
        OLD,
        'registry = "x"',
        'registry = { "docker.io" = { mirrors = ["x"] } }',
        '[registry]\n"docker.io" = { mirrors = ["x"] }',
        '[registry]\n"docker.io" = 5',
        "[[registry]]\na = 1",
    ],
)
def test_tables_of_the_same_name_are_left_to_their_owner(text: str) -> None:
    with pytest.raises(CannotSetUp, match="its own tables"):
        with_block(text, TABLES)


@given(st.lists(LINES, max_size=8).map("\n".join), st.booleans())
def test_nothing_is_ever_lost_and_twice_is_once(text: str, first: bool) -> None:
    try:
        there = tomllib.loads(text)
        after = with_block(text, TABLES, first=first)
    except (CannotSetUp, tomllib.TOMLDecodeError):
        return
    parsed = tomllib.loads(after)
    assert with_block(after, TABLES, first=first) == after
    assert parsed["registry"].pop("docker.io")["mirrors"] == ["new:5000"] or "docker.io" in there.get("registry", {})
    there.setdefault("registry", {}).pop("docker.io", None)
    assert parsed == there

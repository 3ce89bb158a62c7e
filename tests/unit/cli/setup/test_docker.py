from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cli.setup.docker import all_registries, docker_hub
from mirror.cli.setup.needs import CannotSetUp
from tests.unit.cli.setup.sites import LOCAL, PLAIN, SECURE, contents, merged, refusal

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def settings(text: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(text)
    return content


def test_docker_asks_the_mirror_for_docker_hub() -> None:
    [(path, text)] = contents(docker_hub(LOCAL)).items()
    assert path == PurePosixPath("/etc/docker/daemon.json")
    assert settings(text) == {"registry-mirrors": ["http://127.0.0.1:5000"]}


def test_plain_http_on_another_machine_is_said_to_be_insecure() -> None:
    [text] = contents(docker_hub(PLAIN)).values()
    assert settings(text)["insecure-registries"] == ["cache.lan:5000"]


def test_https_is_not() -> None:
    [text] = contents(docker_hub(SECURE)).values()
    assert settings(text) == {"registry-mirrors": ["https://cache.example"]}


def test_docker_hub_has_to_be_the_default() -> None:
    with pytest.raises(CannotSetUp, match=r"default_upstream is ghcr\.io"):
        docker_hub(replace(LOCAL, default="ghcr.io"))
    all_registries(replace(LOCAL, default="ghcr.io"))


def test_all_registries_go_by_one_file_that_needs_no_restart() -> None:
    [(path, text)] = contents(all_registries(PLAIN)).items()
    assert path == PurePosixPath("/etc/docker/certs.d/_default/hosts.toml")
    [(host, options)] = tomllib.loads(text)["host"].items()
    assert host == "http://cache.lan:5000"
    assert options["capabilities"] == ["pull", "resolve"]
    assert "restart" in " ".join(docker_hub(PLAIN).notes)


def test_other_settings_stay_and_the_mirror_comes_first() -> None:
    there = {
        "log-driver": "json-file",
        "registry-mirrors": ["https://other.example"],
        "insecure-registries": ["10.0.0.0/8"],
        "größe": 5,
    }
    text = merged(docker_hub(PLAIN), json.dumps(there))
    assert settings(text) == {
        **there,
        "registry-mirrors": ["http://cache.lan:5000", "https://other.example"],
        "insecure-registries": ["cache.lan:5000", "10.0.0.0/8"],
    }
    assert list(settings(text)) == list(there)
    assert "größe" in text


@pytest.mark.parametrize("mirror", ["http://127.0.0.1:5000", "http://127.0.0.1:5000/"])
def test_what_is_there_already_is_left_to_the_letter(mirror: str) -> None:
    text = f'{{"debug":   true, "registry-mirrors": ["https://other.example", "{mirror}"]}}'
    assert merged(docker_hub(LOCAL), text) == text


@pytest.mark.parametrize("text", ["", " \n", "{}", '{"registry-mirrors": null}', '{"registry-mirrors": []}'])
def test_a_file_that_says_nothing(text: str) -> None:
    assert settings(merged(docker_hub(LOCAL), text)) == {"registry-mirrors": ["http://127.0.0.1:5000"]}


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=5))
def test_no_setting_is_ever_lost(there: dict[str, Any]) -> None:
    there = {key: value for key, value in there.items() if key not in ("registry-mirrors", "insecure-registries")}
    after = settings(merged(docker_hub(PLAIN), json.dumps(there)))
    assert {key: after[key] for key in there} == there
    assert after.keys() == {*there, "registry-mirrors", "insecure-registries"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "is not JSON"),
        ("// comment\n{}", "is not JSON"),
        ('{"a": 1,}', "is not JSON"),
        ('{"a": NaN}', "is not JSON (NaN is no number)"),
        ('{"a": 1, "a": 2}', "is not JSON (a key is there twice)"),
        ('{"x": {"a": 1, "a": 2}}', "is not JSON (a key is there twice)"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "not an object"),
        ('"text"', "not an object"),
        ("\ufeff{}", "is not JSON"),
        ('{"registry-mirrors": "https://other.example"}', "registry-mirrors"),
        ('{"registry-mirrors": [5]}', "registry-mirrors"),
        ('{"registry-mirrors": {"a": 1}}', "registry-mirrors"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, why: str) -> None:
    assert why in refusal(docker_hub(LOCAL), text)

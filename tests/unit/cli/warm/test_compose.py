from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cli.warm.compose import compose_file
from mirror.cli.warm.found import Unreadable

FILE = """
x-common: &common {restart: always, image: "nginx:${NGINX:-1.27}"}
include: [other.yaml]
services:
  web: *common
  proxy:
    <<: *common
    ports: ["80:80"]
  db: {image: "postgres:$PG"}
  app: {build: ./app, image: ours}
  worker: {build: {context: worker/, dockerfile: Dockerfile.prod}}
  cache: {image: redis:7}
  extended: {extends: {service: web}}
  odd: {image: 7}
volumes: {data: {}}
"""


def test_the_images_of_services_are_found_and_what_is_left_out_is_told() -> None:
    found = compose_file(FILE, {"PG": "16"})
    assert list(found.images) == ["nginx:1.27", "postgres:16", "redis:7"]
    assert found.skipped == [
        "service app is built, not pulled: give its Dockerfile, --from ./app/Dockerfile",
        "service worker is built, not pulled: give its Dockerfile, --from worker/Dockerfile.prod",
        "service extended names no image",
        "service odd names no image",
        "what it includes is left out: give those files as well",
    ]


def test_what_compose_says_of_a_value_is_not_in_the_way_of_it() -> None:
    found = compose_file(
        "services: {a: {image: !override 'nginx:1.27', build: !reset {}}, b: !override {image: redis:7}, c: {op: =}}",
        {},
    )
    assert (list(found.images), found.skipped) == (["nginx:1.27", "redis:7"], ["service c names no image"])


def test_a_variable_without_a_value_is_named() -> None:
    found = compose_file("services: {db: {image: 'postgres:$PG'}}", {})
    assert (list(found.images), found.skipped) == (
        [],
        [
            "service db: postgres:$PG cannot be told: PG has no value; "
            "the environment, or .env beside the file, can give it one"
        ],
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no services"),
        ("a: b", "no services"),
        ("services: []", "no services"),
        ("services: {a", "not YAML"),
        ("services:\n  a: {{ .Values.a }}", "helm template"),
        ("services: !!python/object:os.system {}", "not YAML"),
        ("[" * 20000, "nested deeper"),
        ("services: {a: 2026-13-45}", "cannot be read"),
    ],
)
def test_what_is_no_compose_file_is_said_to_be_none(text: str, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        compose_file(text, {})


def test_a_small_file_does_not_blow_up() -> None:
    levels = ["a0: &a0 {" + ", ".join(f"k{number}: v" for number in range(10)) + "}"]
    for level in range(1, 10):
        merged = ", ".join(f"*a{level - 1}" for _ in range(10))
        levels.append(f"a{level}: &a{level} {{<<: [{merged}]}}")
    with pytest.raises(Unreadable, match="merges more"):
        compose_file("\n".join([*levels, "services: *a9"]), {})
    with pytest.raises(Unreadable, match="more often"):
        compose_file("a: &a b\nl: [" + "*a, " * 2000 + "]\nservices: {}", {})


@given(st.text(max_size=200))
def test_any_text_is_a_compose_file_or_unreadable(text: str) -> None:
    with suppress(Unreadable):
        compose_file(text, {})

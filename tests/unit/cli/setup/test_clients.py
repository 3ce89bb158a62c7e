"""What containerd, Podman, BuildKit and k3s are told, against what their documentation says they read."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from mirror.cli.setup.buildkit import buildkit
from mirror.cli.setup.containerd import containerd
from mirror.cli.setup.k3s import k3s
from mirror.cli.setup.needs import CannotSetUp
from mirror.cli.setup.podman import podman
from tests.unit.cli.setup.sites import LOCAL, PLAIN, SECURE, contents, merged, refusal

HOSTS = '[host."https://other.example"]\n  capabilities = ["pull"]\n'


# containerd. -------------------------------------------------------------------------------------------------


def test_containerd_has_a_file_for_each_registry_and_one_for_the_rest() -> None:
    files = contents(containerd(LOCAL))
    folder = PurePosixPath("/etc/containerd/certs.d")
    assert list(files) == [folder / name / "hosts.toml" for name in ("docker.io", "ghcr.io", "_default")]
    for text in files.values():
        assert tomllib.loads(text) == {
            "host": {"http://127.0.0.1:5000": {"capabilities": ["pull", "resolve"], "dial_timeout": "5s"}}
        }


def test_containerd_is_told_where_each_of_its_versions_is_configured() -> None:
    notes = " ".join(containerd(LOCAL).notes)
    assert 'plugins."io.containerd.cri.v1.images".registry' in notes
    assert 'plugins."io.containerd.grpc.v1.cri".registry' in notes


def test_the_mirror_comes_before_other_hosts_of_a_registry() -> None:
    there = f'server = "https://registry.example"\n\n{HOSTS}'
    text = containerd(LOCAL).files[0].merged(there)
    assert tomllib.loads(text)["server"] == "https://registry.example"
    assert list(tomllib.loads(text)["host"]) == ["http://127.0.0.1:5000", "https://other.example"]


def test_a_mirror_that_moved_takes_its_own_place() -> None:
    there = containerd(LOCAL).files[0].merged(HOSTS)
    text = containerd(PLAIN).files[0].merged(there)
    assert list(tomllib.loads(text)["host"]) == ["http://cache.lan:5000", "https://other.example"]


# Podman. -----------------------------------------------------------------------------------------------------


def registries(text: str) -> list[dict[str, Any]]:
    tables: list[dict[str, Any]] = tomllib.loads(text)["registry"]
    return tables


def test_podman_has_a_mirror_for_each_registry() -> None:
    [(path, text)] = contents(podman(PLAIN)).items()
    assert path == PurePosixPath("/etc/containers/registries.conf.d/50-mirror.conf")
    assert registries(text) == [
        {"location": name, "mirror": [{"location": f"cache.lan:5000/{name}", "insecure": True}]}
        for name in ("docker.io", "ghcr.io")
    ]


def test_podman_trusts_https() -> None:
    [text] = contents(podman(SECURE)).values()
    assert registries(text)[0]["mirror"] == [{"location": "cache.example/docker.io"}]


def test_podman_cannot_be_told_an_ipv6_address() -> None:
    with pytest.raises(CannotSetUp, match="IPv6"):
        podman(replace(LOCAL, url=URL("http://[::1]:5000")))


def test_podman_cannot_be_told_a_registry_with_a_port() -> None:
    needs = podman(replace(LOCAL, registries=("docker.io", "registry.lan:5000")))
    assert [table["location"] for table in registries(needs.files[0].content)] == ["docker.io"]
    assert "registry.lan:5000" in " ".join(needs.notes)


def test_a_drop_in_is_replaced_with_what_others_added_to_it() -> None:
    there = podman(LOCAL).files[0].content + '\n[[registry]]\nlocation = "mine.example"\n'
    text = merged(podman(PLAIN), there)
    assert [table["location"] for table in registries(text)] == ["docker.io", "ghcr.io", "mine.example"]
    assert "127.0.0.1" not in text


@pytest.mark.parametrize("key", ["prefix", "location"])
def test_a_registry_that_others_configured_stays_theirs(key: str) -> None:
    text = f'[[registry]]\n{key} = "ghcr.io"\nblocked = true\n'
    with pytest.raises(CannotSetUp, match=r"its own \[\[registry\]\] for ghcr\.io"):
        podman(LOCAL).neighbours.agree(text)
    assert "its own [[registry]]" in refusal(podman(LOCAL), text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        'unqualified-search-registries = ["docker.io"]',
        "[registries.search]\nregistries = ['docker.io']",
        '[[registry]]\nprefix = "docker.io/owner"\nlocation = "docker.io"',
        '[[registry]]\nprefix = "*.docker.io"',
        "registry = 5",
        "registry = [5]",
        "[[registry]]\nlocation = 5",
    ],
)
def test_what_others_say_of_something_else_does_not_matter(text: str) -> None:
    podman(LOCAL).neighbours.agree(text)


def test_a_neighbour_that_cannot_be_read_is_in_the_way() -> None:
    with pytest.raises(CannotSetUp, match="is not TOML"):
        podman(LOCAL).neighbours.agree("[")


# BuildKit. ---------------------------------------------------------------------------------------------------


def test_buildkit_has_a_mirror_for_each_registry_and_knows_that_it_is_plain() -> None:
    [(path, text)] = contents(buildkit(PLAIN)).items()
    assert path == PurePosixPath("/etc/buildkit/buildkitd.toml")
    assert tomllib.loads(text) == {
        "registry": {
            "docker.io": {"mirrors": ["cache.lan:5000"]},
            "ghcr.io": {"mirrors": ["cache.lan:5000"]},
            "cache.lan:5000": {"http": True},
        }
    }


def test_buildkit_trusts_https() -> None:
    [text] = contents(buildkit(SECURE)).values()
    assert tomllib.loads(text)["registry"].keys() == {"docker.io", "ghcr.io"}


def test_other_tables_of_buildkit_stay() -> None:
    there = '[registry."docker.io"]\n  mirrors = ["old:5000"]\n'
    assert "its own tables" in refusal(buildkit(PLAIN), there)
    text = merged(buildkit(PLAIN), "debug = true\n[worker.oci]\n  max-parallelism = 4\n")
    assert tomllib.loads(text)["worker"] == {"oci": {"max-parallelism": 4}}


# k3s. --------------------------------------------------------------------------------------------------------


def test_k3s_has_an_endpoint_for_each_registry() -> None:
    [(path, text)] = contents(k3s(PLAIN)).items()
    assert path == PurePosixPath("/etc/rancher/k3s/registries.yaml")
    endpoint = {"endpoint": ["http://cache.lan:5000"]}
    assert yaml.safe_load(text) == {"mirrors": {"docker.io": endpoint, "ghcr.io": endpoint}}


def test_other_endpoints_and_passwords_of_k3s_stay_as_they_are_written() -> None:
    there = """
mirrors:
  docker.io: {endpoint: [https://other.example], rewrite: {"^a": b}}
  "*":
configs:
  other.example:
    auth: {username: yes, password: 0123, token: 1e3, at: 12:30:00, secret: "5"}
"""
    text = merged(k3s(PLAIN), there)
    before, after = (yaml.load(one, Loader=yaml.BaseLoader) for one in (there, text))
    assert after["configs"] == before["configs"]
    assert after["mirrors"].pop("docker.io") == {
        "endpoint": ["http://cache.lan:5000", "https://other.example"],
        "rewrite": {"^a": "b"},
    }
    assert after["mirrors"] == {"*": "", "ghcr.io": {"endpoint": ["http://cache.lan:5000"]}}
    assert "password: 0123" in text
    assert "secret: '5'" in text or 'secret: "5"' in text


@pytest.mark.parametrize("text", ["", "# nothing\n", "null", "{}", "mirrors:", "mirrors: {docker.io: }", "---\n"])
def test_a_file_of_k3s_that_says_nothing(text: str) -> None:
    assert yaml.safe_load(merged(k3s(PLAIN), text)) == yaml.safe_load(k3s(PLAIN).files[0].content)


def test_what_k3s_is_told_already_is_left_to_the_letter() -> None:
    text = "# mine\n" + k3s(PLAIN).files[0].content.replace(":5000\n", ":5000/\n")
    assert merged(k3s(PLAIN), text) == text


def test_endpoints_that_registries_share_get_the_mirror_once() -> None:
    text = merged(k3s(PLAIN), "mirrors: {docker.io: &all {endpoint: [https://other.example]}, ghcr.io: *all}")
    both = {"endpoint": ["http://cache.lan:5000", "https://other.example"]}
    assert yaml.safe_load(text) == {"mirrors": {"docker.io": both, "ghcr.io": both}}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[", "is not YAML (line 1)"),
        ("a: [\n}", "is not YAML (line 2)"),
        ("- a", "not a mapping"),
        ("text", "not a mapping"),
        ("a: 1\n---\nb: 2", "is not YAML"),
        ("mirrors: 5", "something else as mirrors"),
        ("mirrors: [docker.io]", "something else as mirrors"),
        ("mirrors: {docker.io: https://other.example}", "something else as docker.io"),
        ("mirrors: {docker.io: {endpoint: https://other.example}}", "something else as endpoint"),
        ("mirrors: {}\nmirrors: {}", "has mirrors twice"),
        ("mirrors: {docker.io: {}, docker.io: {}}", "has docker.io twice"),
        ("\x00", "is not YAML"),
        ("[" * 5000, "is not YAML"),
    ],
)
def test_what_k3s_could_not_read_is_refused(text: str, why: str) -> None:
    assert why in refusal(k3s(PLAIN), text)


WORDS = st.sampled_from(
    ["yes", "0123", "1e3", "~", "docker.io", "mirrors", "x: y", "", "- a", "äö", "12:30:00", "0x1F"]
)
TREES = st.recursive(WORDS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=3))


@given(st.dictionaries(WORDS.filter(lambda word: word != "mirrors"), TREES, max_size=4), st.sampled_from("'\" "))
def test_k3s_never_loses_a_setting(there: dict[str, Any], style: str) -> None:
    text = yaml.safe_dump(there, default_style=style if style != " " else None)
    after = yaml.load(merged(k3s(PLAIN), text), Loader=yaml.BaseLoader)
    assert after.pop("mirrors").keys() == {"docker.io", "ghcr.io"}
    assert after == yaml.load(text, Loader=yaml.BaseLoader)

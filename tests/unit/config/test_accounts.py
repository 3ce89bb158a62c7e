"""Several accounts of one upstream, and what is kept in reserve of their limits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mirror.config import Config, load
from mirror.errors import ConfigError
from mirror.proxy.rate_limit import Reserve

LoadUpstream = Callable[..., Config]


@pytest.fixture
def load_upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadUpstream:
    """Load a configuration whose Docker Hub has these fields."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "password").write_text("hunter2")

    def loaded(**fields: object) -> Config:
        file = tmp_path / "mirror.yaml"
        file.write_text(json.dumps({"upstreams": {"docker.io": fields}}))
        return load(file)

    return loaded


def account(name: str) -> dict[str, object]:
    return {"username": name, "password_file": "password"}


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (None, []),
        (account("a"), ["a"]),
        ([account("a")], ["a"]),
        ([account("a"), account("b"), {"helper": "ecr-login"}], ["a", "b", None]),
    ],
)
def test_credentials_are_of_one_account_or_several(
    load_upstream: LoadUpstream, given: object, names: list[str | None]
) -> None:
    accounts = load_upstream(credentials=given).upstreams["docker.io"].accounts
    assert [one.username for one in accounts] == names


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ([], "credentials: a list has the credentials of at least one account; null for none"),
        ([account("a"), {"username": "b"}], "credentials.1.password_file: is needed"),
        ([account("a"), {**account("b"), "passwd_file": "x"}], "credentials.1.passwd_file: unknown key; did you mean"),
        ([{"username": "a", "password_file": "missing"}], "credentials.0.password_file: missing cannot be read"),
        ([account("a"), {"docker_config": "password"}], "credentials.1.docker_config: password is not a docker"),
        ([account("a"), "b"], "credentials.1: fields are expected below this"),
        ([account("a"), None], "credentials.1: fields are expected below this"),
        ("a", "credentials: fields are expected below this"),
        ({**account("a"), "username": "a:b"}, "credentials.username: a user name has neither colons"),
    ],
)
def test_a_mistake_is_named_by_its_place(load_upstream: LoadUpstream, given: object, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_upstream(credentials=given)
    assert str(raised.value).startswith(f"upstreams.docker.io.{problem}")
    assert "hunter2" not in str(raised.value)


def test_several_accounts_do_not_travel_in_the_clear(load_upstream: LoadUpstream) -> None:
    with pytest.raises(ConfigError, match="they are not sent over plain http"):
        load_upstream(credentials=[account("a")], endpoints=["http://a.example"])


def test_a_tenth_is_kept_in_reserve(load_upstream: LoadUpstream) -> None:
    assert load_upstream().upstreams["docker.io"].pull_reserve == Reserve(share=0.1)
    assert load_upstream(pull_reserve=25).upstreams["docker.io"].pull_reserve == Reserve(pulls=25)


@pytest.mark.parametrize("given", ["", "ten", "110%", -1, 0.5, None, True, ["10%"]])
def test_a_reserve_that_is_none(load_upstream: LoadUpstream, given: object) -> None:
    with pytest.raises(ConfigError) as raised:
        load_upstream(pull_reserve=given)
    assert str(raised.value).startswith("upstreams.docker.io.pull_reserve: a reserve is ")

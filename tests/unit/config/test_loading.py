from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

from mirror.config import Config, UpstreamConfig, load
from mirror.config.units import Address
from mirror.errors import ConfigError
from mirror.proxy.freshness import IMMUTABLE

SECRET = "hunter2"
Load = Callable[[str], Config]


@pytest.fixture(autouse=True)
def _nothing_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No environment and no config.yaml but what a test makes."""
    for name in list(os.environ):
        if name.upper().startswith("MIRROR_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def load_text(tmp_path: Path) -> Load:
    """Load a configuration from a text."""

    def load_text(text: str) -> Config:
        (tmp_path / "given.yaml").write_text(text, encoding="utf-8")
        return load(tmp_path / "given.yaml")

    return load_text


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    """A file that holds the secret."""
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    return file


def urls(upstream: UpstreamConfig) -> list[URL]:
    """Return where an upstream is asked."""
    return [endpoint.url for endpoint in upstream.endpoints]


def refusal(load_text: Load, text: str) -> ConfigError:
    """Return the error that a configuration leads to: one line, with no secret in it."""
    with pytest.raises(ConfigError) as raised:
        load_text(text)
    message = str(raised.value)
    assert len(message.splitlines()) == 1, message
    assert SECRET not in message
    assert message.startswith(raised.value.key)
    return raised.value


# What is there without a word. -----------------------------------------------------------------------------


def test_the_defaults(load_text: Load) -> None:
    for config in (load(None), load_text(""), load_text("{}"), load_text("# nothing\n")):
        assert config.listen == Address("0.0.0.0", 5000)
        assert config.admin.listen == Address("127.0.0.1", 5001)
        assert config.drain_timeout == timedelta(seconds=30)
        assert (config.cache.path, config.cache.max_size) == (Path("./cache"), 50 * 2**30)
        assert config.freshness.tag_ttl == timedelta(minutes=5)
        assert config.freshness.stale_if_error == timedelta(days=7)
        assert config.freshness.negative_ttl == timedelta(seconds=30)
        assert config.default_upstream == "docker.io"
        assert (config.log.level, config.log.format) == ("info", "text")
        hub = config.upstreams["docker.io"]
        assert urls(hub) == [URL("https://registry-1.docker.io")]
        assert hub.aliases == ("index.docker.io", "registry-1.docker.io")
        assert (hub.credentials, hub.serve_private, hub.private_network) == (None, "nobody", False)
        assert hub.auth_ttl == timedelta(minutes=5)


def test_config_yaml_is_taken_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("listen: 127.0.0.1:1234")
    assert load(None).listen.port == 1234


def test_values_cannot_be_changed(load_text: Load) -> None:
    config = load_text("")
    with pytest.raises(ValueError, match="frozen"):
        config.default_upstream = "other"
    with pytest.raises(ValueError, match="frozen"):
        config.cache.max_size = 5


# What people write. ----------------------------------------------------------------------------------------


def test_a_whole_configuration(load_text: Load) -> None:
    config = load_text(
        """
        listen: "[::]:80"
        cache: {path: /var/cache/mirror, max_size: 100GB}
        freshness: {tag_ttl: 1h30m}
        default_upstream: ghcr.io
        upstreams:
          ghcr.io: {}
          docker.io: {aliases: []}
          registry.example: {endpoints: "http://10.0.0.1:5000", hosts: [r.example], private_network: true}
          hub: {endpoints: [https://a.example, "https://b.example/"], realms: https://auth.example:8443}
        log: {level: debug, format: json}
        """
    )
    assert config.listen == Address("::", 80)
    assert config.cache.max_size == 100 * 10**9
    assert urls(config.upstreams["ghcr.io"]) == [URL("https://ghcr.io")]
    assert urls(config.upstreams["docker.io"]) == [URL("https://registry-1.docker.io")]
    assert config.upstreams["docker.io"].aliases == ()
    assert urls(config.upstreams["registry.example"]) == [URL("http://10.0.0.1:5000")]
    assert urls(config.upstreams["hub"]) == [URL("https://a.example"), URL("https://b.example")]
    assert config.upstreams["hub"].realms == (URL("https://auth.example:8443"),)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("nope: 1", "nope"),
        ("cache: {nope: 1}", "cache.nope"),
        ("upstreams: {docker.io: {nope: 1}}", "upstreams.docker.io.nope"),
        (
            "upstreams: {a.b: {credentials: {username: x, password_file: y, password: hunter2}}}",
            "upstreams.a.b.credentials",
        ),
        ("cache: {max_size: 10}", "cache.max_size"),
        ("cache: {max_size: hunter2}", "cache.max_size"),
        ("cache: {max_size: [1GiB]}", "cache.max_size"),
        ("cache: {path: [hunter2]}", "cache.path"),
        ("cache: hunter2", "cache"),
        ("cache: [hunter2]", "cache"),
        ("cache: {1: 2}", "cache"),
        ("drain_timeout: 30", "drain_timeout"),
        ("drain_timeout: -5s", "drain_timeout"),
        ("freshness: {tag_ttl: 5}", "freshness.tag_ttl"),
        ("freshness: {tag_ttl: true}", "freshness.tag_ttl"),
        ("freshness: {tag_ttl: 99999999999w}", "freshness.tag_ttl"),
        ("freshness: {tag_ttl: null}", "freshness.tag_ttl"),
        ("listen: 5000", "listen"),
        ("listen: hunter2", "listen"),
        ("listen: {host: hunter2}", "listen"),
        ("admin: {listen: 'localhost:99999'}", "admin.listen"),
        ("log: {level: loud}", "log.level"),
        ("log: {format: xml}", "log.format"),
        ("default_upstream: 5", "default_upstream"),
        ("default_upstream: nowhere", "default_upstream"),
        ("default_upstream: 2024-99-99", ""),
        ("upstreams: {}", "default_upstream"),
        ("upstreams: {ghcr.io: {}, quay.io: {}}", "default_upstream"),
        ("upstreams: [docker.io]", "upstreams"),
        ("upstreams: {ghcr.io: null, quay.io: null}", "default_upstream"),
        ("cache: {path: ''}", "cache.path"),
        ("cache: {path: .}", "cache.path"),
        ("cache: {path: /}", "cache.path"),
        ("cache: {path: null}", "cache.path"),
        ("cache: {max_size: null}", "cache.max_size"),
        ("upstreams: {docker.io: https://hunter2.example}", "upstreams.docker.io"),
        ("upstreams: {docker.io: {}, 'not a host!': {}}", "upstreams"),
        ("upstreams: {docker.io: {endpoints: [ftp://a.example]}}", "upstreams.docker.io.endpoints.0"),
        ("upstreams: {docker.io: {endpoints: ['https://user:hunter2@a.example']}}", "upstreams.docker.io.endpoints.0"),
        ("upstreams: {docker.io: {endpoints: ['https://a.example/Path']}}", "upstreams.docker.io.endpoints.0"),
        ("upstreams: {docker.io: {endpoints: ['https://a.example?x=hunter2']}}", "upstreams.docker.io.endpoints.0"),
        ("upstreams: {docker.io: {endpoints: ['https://a.example:port']}}", "upstreams.docker.io.endpoints.0"),
        ("upstreams: {docker.io: {endpoints: [a.example]}}", "upstreams.docker.io.endpoints.0"),
        ("upstreams: {docker.io: {realms: [hunter2]}}", "upstreams.docker.io.realms.0"),
        ("upstreams: {docker.io: {private_network: perhaps}}", "upstreams.docker.io.private_network"),
        ("upstreams: {docker.io: {serve_private: authenticated}}", "upstreams.docker.io.serve_private"),
        ("upstreams: {docker.io: {aliases: hunter2}}", "upstreams.docker.io.aliases"),
        ("upstreams: {docker.io: {}, a.b: {aliases: [docker.io]}}", "upstreams.a.b.aliases"),
        ("upstreams: {docker.io: {}, a.b: {aliases: [Index.Docker.io]}}", "upstreams.a.b.aliases"),
        ("upstreams: {docker.io: {}, a.b: {aliases: [x]}, c.d: {aliases: [x]}}", "upstreams.c.d.aliases"),
        ("upstreams: {docker.io: {}, Docker.IO: {}}", "upstreams.Docker.IO"),
        ("upstreams: {docker.io: {hosts: [h]}, a.b: {hosts: [H]}}", "upstreams.a.b.hosts"),
        ("listen: 127.0.0.1:1\nlisten: 127.0.0.1:2", ""),
        ("cache: {path: a, path: hunter2}", ""),
        ("{[a]: 1}", ""),
        ("? {a: b}\n: 1", ""),
        ("5", ""),
        ("- listen", ""),
        ("5: 6", ""),
        ("just text", ""),
        ("listen: [", ""),
        ("listen: 'open", ""),
        ("\tlisten: x", ""),
        ("listen: *hunter2", ""),
        ("listen: !!python/object/apply:os.system [hunter2]", ""),
        ("listen: !hunter2 x", ""),
        ("listen: \x00", ""),
        ("listen: 127.0.0.1:1\n---\nlisten: 127.0.0.1:2", ""),
        ("[" * 5000, ""),
        ('"a\\nb": 1', "a"),
        ('"listen\\nhunter": {"a": 1, "a": 2}', ""),
    ],
)
def test_what_is_wrong_is_said_in_one_line(load_text: Load, text: str, key: str) -> None:
    assert refusal(load_text, text).key.startswith(key)


@pytest.mark.parametrize("path", ["./", "./.", "//", "/./", "///"])
def test_however_it_is_written_the_cache_is_a_folder_of_its_own(load_text: Load, path: str) -> None:
    assert refusal(load_text, f"cache: {{path: {path}}}").key == "cache.path"


def test_what_is_named_and_left_empty_has_its_defaults(load_text: Load) -> None:
    config = load_text("admin:\ncache:\nfreshness:\nlog:\nupstreams:\n  docker.io:\n  ghcr.io:\n")
    built_in = load(None)
    for section in ("listen", "admin", "cache", "freshness", "log"):
        assert getattr(config, section) == getattr(built_in, section)
    assert config.upstreams["docker.io"] == built_in.upstreams["docker.io"]
    assert urls(config.upstreams["ghcr.io"]) == [URL("https://ghcr.io")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nope: 1", "nope: unknown key"),
        ("cache: {nope: 1}", "cache.nope: unknown key"),
        ("cache: 5", "cache: fields are expected below this"),
        ("log: [debug]", "log: fields are expected below this"),
        ("upstreams: {docker.io: 5}", "upstreams.docker.io: fields are expected below this"),
        ("upstreams: [docker.io]", "upstreams: names are expected below this, each with its fields"),
        ("cache: {path: 5}", "cache.path: a path is expected"),
        ("warm: {every: 0s}", "warm.every: expected is greater than 0s"),
        ("cache: {path: .}", "cache.path: a folder of the mirror's own is expected"),
        (
            "upstreams: {docker.io: {credentials: {username: x}, serve_private: everyone}}",
            "upstreams.docker.io.credentials.password_file: is needed",
        ),
        (
            "upstreams: {quay.io: {}, ghcr.io: {}}",
            "default_upstream: docker.io is not among the upstreams, which replace the built-in ones:"
            " name it there too, or another one here, such as default_upstream: ghcr.io",
        ),
    ],
)
def test_what_is_wrong_is_said_in_plain_words(load_text: Load, text: str, message: str) -> None:
    assert str(refusal(load_text, text)) == message


LONG = "?" * 129


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ('{match: "v*", ttl: 1d}', ": a list is expected"),
        ('"v*"', ": a list is expected"),
        ("[v*]", ".0: fields are expected below this"),
        ("[{}]", ".0.match: is needed (and 1 more)"),
        ('[{match: "v*"}]', ".0.ttl: is needed"),
        ('[{match: "v*", ttl: 1d, tll: 2d}]', ".0.tll: unknown key; did you mean ttl?"),
        (
            "[{match: 1.20, ttl: 1d}]",
            '.0.match: a glob of tags is expected, in quotes where it looks like a number, as "1.20" does',
        ),
        ('[{match: "", ttl: 1d}]', ".0.match: a glob of tags is expected, for example v*.*.*"),
        (
            '[{match: "v{1,2}", ttl: 1d}]',
            ".0.match: never matches, as tags are letters, digits and . _ - (* ? [a-z] [!a-z] stand for them)",
        ),
        ('[{match: "-*", ttl: 1d}]', ".0.match: never matches, as no tag begins with . or -"),
        (f'[{{match: "{LONG}", ttl: 1d}}]', ".0.match: never matches, as a tag has at most 128 characters"),
        ('[{match: "v[1", ttl: 1d}]', ".0.match: a [ has no ] behind it"),
        (
            "[{match: a, ttl: 5}]",
            ".0.ttl: a duration is a number with a unit, for example 30s, 5m, 1h30m or 7d, or immutable",
        ),
        ("[{match: a, ttl: 1d}, {match: a, ttl: 2d}]", ".1.match: never matches, as tag_rules.0 matches before"),
        (
            '[{match: "b", ttl: 1d}, {match: "v*", ttl: 1d}, {match: "v*.*", ttl: immutable}]',
            ".2.match: never matches, as tag_rules.1 matches before",
        ),
    ],
)
def test_a_rule_for_tags_that_has_no_say_is_refused(load_text: Load, rules: str, message: str) -> None:
    assert str(refusal(load_text, f"freshness: {{tag_rules: {rules}}}")) == f"freshness.tag_rules{message}"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", 0),
        ("keep_deleted: false", 0),
        ("keep_deleted: 0s", 0),
        ("keep_deleted: 30d", 30),
        ('keep_deleted: "1w"', 7),
    ],
)
def test_what_is_deleted_is_kept_for_as_long_as_is_said(load_text: Load, text: str, kept: int) -> None:
    assert load_text(f"freshness: {{{text}}}").freshness.policy.keep_deleted == timedelta(days=kept)


@pytest.mark.parametrize("value", ["true", "null", "30", "for ever", "-1d", "[30d]", "{}"])
def test_to_keep_what_is_deleted_without_end_is_not_to_be_had(load_text: Load, value: str) -> None:
    message = "expected is false, or for how long what upstream has deleted is kept, such as 30d"
    text = f"freshness: {{keep_deleted: {value}}}"
    assert str(refusal(load_text, text)) == f"freshness.keep_deleted: {message}"


def test_there_are_not_more_rules_than_can_be_tried(load_text: Load) -> None:
    rules = [{"match": f"v{number}", "ttl": "1d"} for number in range(1001)]
    text = json.dumps({"freshness": {"tag_rules": rules}})
    assert str(refusal(load_text, text)) == "freshness.tag_rules: at most 1000 are possible"


def test_what_is_judged_by_is_what_is_configured(load_text: Load) -> None:
    policy = load_text(
        """
        freshness:
          tag_ttl: 1m
          stale_while_revalidate: 2m
          stale_if_error: 3m
          tag_rules: [{match: "v*.*.*", ttl: 1d}, {match: "sha-[0-9a-f]*", ttl: immutable}]
        """
    ).freshness.policy
    assert (policy.stale_while_revalidate, policy.stale_if_error) == (timedelta(minutes=2), timedelta(minutes=3))
    ttls = {tag: policy.of(tag).tag_ttl for tag in ("v1.2.3", "sha-1f2e", "latest")}
    assert ttls == {"v1.2.3": timedelta(days=1), "sha-1f2e": IMMUTABLE, "latest": timedelta(minutes=1)}


def test_an_unknown_key_is_told_before_what_it_may_have_been_meant_for(load_text: Load) -> None:
    credentials = {"username": "x", "passwordfile": "y"}
    text = json.dumps({"upstreams": {"docker.io": {"credentials": credentials, "private_network": "perhaps"}}})
    error = refusal(load_text, text)
    assert (
        str(error)
        == "upstreams.docker.io.credentials.passwordfile: unknown key; did you mean password_file? (and 1 more)"
    )
    assert refusal(load_text, "listen: x\ncache: {max_size: 5}\nzzz: 1").key == "zzz"


def test_how_many_more_problems_there_are(load_text: Load) -> None:
    assert "and 2 more" in str(refusal(load_text, "nope: 1\nlisten: x\ncache: {max_size: 5}"))


def test_yaml_errors_name_the_line(load_text: Load) -> None:
    assert "line 2" in str(refusal(load_text, "listen: 127.0.0.1:1\nlisten: 127.0.0.1:2"))


# The file. -------------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.yaml", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read") as raised:
            load(path)
        assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"listen: \xe9"])
def test_a_file_that_is_not_text(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "given.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match="not text"):
        load(tmp_path / "given.yaml")


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "given.yaml").write_text("#" * 2_000_000)
    with pytest.raises(ConfigError, match="larger"):
        load(tmp_path / "given.yaml")


yaml_texts = st.text("abc:{}[],&*!|>-?'\"#%@` \n\t0129.", max_size=40) | st.text(max_size=20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(yaml_texts)
def test_no_text_does_worse_than_be_refused_in_one_line(load_text: Load, text: str) -> None:
    try:
        text.encode()
        load_text(text)
    except UnicodeEncodeError:
        return
    except ConfigError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017  # or nothing is raised


# Credentials. ----------------------------------------------------------------------------------------------


def with_credentials(file: Path, **fields: object) -> str:
    upstream = {"credentials": {"username": "me", "password_file": str(file)}, **fields}
    return json.dumps({"upstreams": {"docker.io": upstream}})


def test_credentials_are_read_from_a_file(load_text: Load, password_file: Path) -> None:
    config = load_text(with_credentials(password_file, serve_private="everyone"))
    [credentials] = config.upstreams["docker.io"].accounts
    assert (credentials.username, credentials.password) == ("me", SECRET)
    for shown in (repr(config), str(config), config.model_dump_json(exclude={"upstreams"}), str(config.model_dump())):
        assert SECRET not in shown


@pytest.mark.parametrize("content", ["pass word \n", "  pass\tword  ", "\u00e9\r\n", "a\nb\n", "hunter2\n\n"])
def test_only_the_line_break_at_the_end_is_no_part_of_a_password(
    load_text: Load, password_file: Path, content: str
) -> None:
    password_file.write_bytes(content.encode())
    config = load_text(with_credentials(password_file, serve_private="everyone"))
    [credentials] = config.upstreams["docker.io"].accounts
    assert credentials.password == content.rstrip("\r\n")


@pytest.mark.parametrize("endpoints", ["http://a.example", ["https://a.example", "http://b.example"]])
def test_credentials_do_not_travel_in_the_clear(load_text: Load, password_file: Path, endpoints: object) -> None:
    fields: dict[str, object] = {"serve_private": "everyone", "endpoints": endpoints}
    error = refusal(load_text, with_credentials(password_file, **fields))
    assert error.key == "upstreams.docker.io.credentials"
    config = load_text(with_credentials(password_file, private_network=True, **fields))
    assert config.upstreams["docker.io"].private_network


@pytest.mark.parametrize(
    ("credentials", "problem"),
    [
        ({}, "username: is needed"),
        ({"password_file": "x"}, "username: is needed"),
        ({"username": "x"}, "password_file: is needed"),
        ({"helper": "ecr-login", "docker_config": "x"}, "helper: give a password file, a docker_config or a helper,"),
        ({"helper": "ecr-login", "username": "x"}, "helper: give a password file, a docker_config or a helper,"),
        ({"docker_config": "x", "password_file": "x"}, "docker_config: give a password file, a docker_config or"),
        ({"helper": ""}, "helper: a helper is named by what follows docker-credential-"),
        ({"helper": "/bin/sh"}, "helper: a helper is named by what follows docker-credential-"),
        ({"helper": "../x"}, "helper: a helper is named by what follows docker-credential-"),
        ({"helper": "x; y"}, "helper: a helper is named by what follows docker-credential-"),
        ({"username": "a:b", "password_file": "x"}, "username: a user name has neither colons nor"),
        ({"username": "", "password_file": "x"}, "username: a user name has neither colons nor"),
        ({"helper": "x\n"}, "helper: a helper is named by what follows docker-credential-"),
        ({"helper": ["x"]}, "helper: expected is a valid string"),
        ({"docker_config": 5}, "docker_config: a path is expected"),
        ({"docker_config": "missing.json"}, "docker_config: missing.json cannot be read: No such file"),
    ],
)
def test_credentials_come_in_one_way(load_text: Load, credentials: dict[str, object], problem: str) -> None:
    error = refusal(load_text, json.dumps({"upstreams": {"docker.io": {"credentials": credentials}}}))
    assert str(error).startswith(f"upstreams.docker.io.credentials.{problem}")


@pytest.mark.parametrize("content", [b"", b"hunter2", b"[]", b"\xff", b"[" * 100_000, b" " * (1024 * 1024 + 1)])
def test_a_docker_configuration_that_is_none(load_text: Load, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    credentials = {"docker_config": str(tmp_path / "config.json")}
    error = refusal(load_text, json.dumps({"upstreams": {"docker.io": {"credentials": credentials}}}))
    assert error.key == "upstreams.docker.io.credentials.docker_config"
    assert "is not a docker configuration" in str(error)


@pytest.mark.parametrize("proxy", ["http://proxy.example:3128", {"url": "https://proxy.example"}])
def test_a_proxy_is_an_address(load_text: Load, proxy: object) -> None:
    config = load_text(json.dumps({"upstreams": {"docker.io": {"proxy": proxy}}})).upstreams["docker.io"]
    assert config.proxy is not None
    assert config.proxy.url.host == "proxy.example"


def test_a_proxy_has_its_password_in_a_file(load_text: Load, password_file: Path) -> None:
    given = {"url": "http://proxy.example", "username": "me", "password_file": str(password_file)}
    config = load_text(json.dumps({"upstreams": {"docker.io": {"proxy": given}}})).upstreams["docker.io"]
    assert config.proxy is not None
    assert config.proxy.password == SECRET
    assert SECRET not in repr(config)


@pytest.mark.parametrize(
    ("proxy", "problem"),
    [
        ("http://me:hunter2@proxy.example", "url: a user name and a password go beside it"),
        ("http://me@proxy.example", "url: a user name and a password go beside it"),
        ("socks5://proxy.example", "url: an address is http(s)://host"),
        ("proxy.example:3128", "url: the scheme is missing"),
        ("http://proxy.example/path", "url: an address is http(s)://host"),
        ("", "url: an address is http(s)://host"),
        (5, "url: the scheme is missing"),
        ({}, "url: is needed"),
        ({"url": "http://p", "username": "me"}, "password_file: is needed"),
        ({"url": "http://p", "password_file": "x"}, "username: is needed"),
        ({"url": "http://p", "password": "hunter2"}, "password: unknown key"),
        (
            {"url": "http://p", "username": "me", "password_file": "missing"},
            "password_file: missing cannot be read: No",
        ),
    ],
)
def test_what_is_no_proxy(load_text: Load, proxy: object, problem: str) -> None:
    error = refusal(load_text, json.dumps({"upstreams": {"docker.io": {"proxy": proxy}}}))
    assert str(error).removeprefix("upstreams.docker.io.proxy").lstrip(".: ").startswith(problem)
    assert error.key.startswith("upstreams.docker.io.proxy")


def test_no_proxy_sees_credentials(load_text: Load, password_file: Path) -> None:
    fields: dict[str, object] = {"proxy": "http://p", "private_network": True, "endpoints": "http://a.example"}
    error = refusal(load_text, with_credentials(password_file, **fields))
    assert str(error).startswith("upstreams.docker.io.proxy: it would see the credentials")
    load_text(with_credentials(password_file, **fields | {"endpoints": "https://a.example"}))


@pytest.mark.parametrize("make", ["missing", "folder", "binary", "empty"])
def test_a_password_that_cannot_be_read(load_text: Load, tmp_path: Path, make: str) -> None:
    file = tmp_path / "password"
    if make == "folder":
        file.mkdir()
    elif make == "binary":
        file.write_bytes(b"\xff\xfe" + SECRET.encode())
    elif make == "empty":
        file.write_bytes(b"\n")
    error = refusal(load_text, with_credentials(file, serve_private="everyone"))
    assert error.key == "upstreams.docker.io.credentials.password_file"


@pytest.mark.parametrize("username", ["", 5, None, "a:b", "a\nb"])
def test_a_user_name_that_basic_authentication_can_carry(
    load_text: Load, password_file: Path, username: object
) -> None:
    credentials = {"username": username, "password_file": str(password_file)}
    text = json.dumps({"upstreams": {"docker.io": {"credentials": credentials, "serve_private": "everyone"}}})
    assert refusal(load_text, text).key == "upstreams.docker.io.credentials.username"


@pytest.mark.parametrize("field", ["listen", "drain_timeout", "cache", "default_upstream", "upstreams", "log"])
def test_a_field_that_is_named_and_left_empty_has_its_default(load_text: Load, field: str) -> None:
    assert load_text(f"{field}:") == Config()


# The environment. ------------------------------------------------------------------------------------------


def test_the_environment_wins(load_text: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIRROR_CACHE__MAX_SIZE", "100GiB")
    config = load_text("cache: {max_size: 1GiB, path: /here}")
    assert (config.cache.max_size, config.cache.path) == (100 * 2**30, Path("/here"))
    assert load(None).cache.max_size == 100 * 2**30


@pytest.mark.parametrize(
    ("name", "value", "read", "expected"),
    [
        ("LISTEN", "[::]:1", lambda config: config.listen, Address("::", 1)),
        ("DRAIN_TIMEOUT", "5m", lambda config: config.drain_timeout, timedelta(minutes=5)),
        ("ADMIN__LISTEN", "0.0.0.0:1", lambda config: config.admin.listen, Address("0.0.0.0", 1)),
        ("CACHE__PATH", "/data", lambda config: config.cache.path, Path("/data")),
        ("FRESHNESS__TAG_TTL", "1h", lambda config: config.freshness.tag_ttl, timedelta(hours=1)),
        ("FRESHNESS__STALE_IF_ERROR", "0s", lambda config: config.freshness.stale_if_error, timedelta(0)),
        (
            "FRESHNESS__TAG_RULES",
            '[{"match": "v*", "ttl": "1d"}]',
            lambda config: [(str(rule.match), rule.ttl) for rule in config.freshness.tag_rules],
            [("v*", timedelta(days=1))],
        ),
        (
            "FRESHNESS__STALE_WHILE_REVALIDATE",
            "0s",
            lambda config: config.freshness.stale_while_revalidate,
            timedelta(0),
        ),
        ("FRESHNESS__KEEP_DELETED", "30d", lambda config: config.freshness.keep_deleted, timedelta(days=30)),
        ("FRESHNESS__KEEP_DELETED", "false", lambda config: config.freshness.keep_deleted, timedelta(0)),
        ("FRESHNESS__NEGATIVE_TTL", "1s", lambda config: config.freshness.negative_ttl, timedelta(seconds=1)),
        ("LOG__LEVEL", "error", lambda config: config.log.level, "error"),
        ("LOG__FORMAT", "json", lambda config: config.log.format, "json"),
    ],
)
def test_each_field_can_be_set_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, read: Callable[[Config], object], expected: object
) -> None:
    monkeypatch.setenv(f"MIRROR_{name}", value)
    assert read(load(None)) == expected


def test_upstreams_of_the_environment_join_those_of_the_file(load_text: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    added = {"ghcr.io": {"private_network": True}, "quay.io": {}}
    monkeypatch.setenv("MIRROR_UPSTREAMS", json.dumps(added))
    config = load_text("upstreams: {docker.io: {hosts: [h]}, ghcr.io: {hosts: [g], private_network: false}}")
    assert config.upstreams.keys() == {"docker.io", "ghcr.io", "quay.io"}
    assert config.upstreams["docker.io"].hosts == ("h",)
    assert config.upstreams["ghcr.io"].hosts == ("g",)
    assert config.upstreams["ghcr.io"].private_network is True


def test_upstreams_of_the_environment_join_the_built_in_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    built_in = load(None).upstreams
    monkeypatch.setenv("MIRROR_UPSTREAMS", '{"ghcr.io": {"hosts": ["g"]}, "registry.example": {}}')
    upstreams = load(None).upstreams
    assert upstreams.keys() == {*built_in, "registry.example"}
    assert upstreams["ghcr.io"].hosts == ("g",)


@pytest.mark.parametrize(
    ("name", "value", "key"),
    [
        ("MIRROR_CACHE__MAX_SIZE", "hunter2", "cache.max_size"),
        ("MIRROR_ADMIN__LISTEN", "hunter2", "admin.listen"),
        ("MIRROR_CACHE__NOPE", "hunter2", "cache.nope"),
        ("MIRROR_CACHE", "hunter2", ""),
        ("MIRROR_UPSTREAMS", "hunter2", ""),
        ("MIRROR_UPSTREAMS", '["hunter2"]', "upstreams"),
        ("MIRROR_UPSTREAMS", '{"docker.io": {"nope": "hunter2"}}', "upstreams.docker.io.nope"),
        ("MIRROR_LISTEN", "hunter2", "listen"),
        ("MIRROR_LOG__LEVEL", "hunter2", "log.level"),
    ],
)
def test_what_is_wrong_in_the_environment_is_said_in_one_line(
    load_text: Load, monkeypatch: pytest.MonkeyPatch, name: str, value: str, key: str
) -> None:
    monkeypatch.setenv(name, value)
    assert refusal(load_text, "").key == key


@pytest.mark.parametrize("value", ["hunter2", "{", "ghcr.io", ""])
def test_what_is_not_json_in_the_environment_is_named(
    load_text: Load, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("MIRROR_UPSTREAMS", value)
    error = refusal(load_text, "")
    assert error.key == ""
    assert str(error).startswith("MIRROR_UPSTREAMS is not JSON")


def test_what_is_not_json_in_the_environment_is_named_by_its_own_variable(
    load_text: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIRROR_FRESHNESS__TAG_RULES", "hunter2")
    assert str(refusal(load_text, "")) == "MIRROR_FRESHNESS__TAG_RULES is not JSON"


@pytest.mark.parametrize("name", ["MIRROR_NOPE__PATH", "MIRROR_CACHES__PATH", "MIRROR_UPSTREAM__X", "MIRROR___X"])
def test_a_section_that_does_not_exist_is_refused_in_the_environment(
    load_text: Load, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "hunter2")
    assert name in str(refusal(load_text, ""))


def test_an_upstream_may_be_added_empty_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIRROR_UPSTREAMS", '{"ghcr.io": null}')
    assert urls(load(None).upstreams["ghcr.io"]) == [URL("https://ghcr.io")]


def test_what_kubernetes_adds_to_the_environment_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    # For a service that is called `mirror`.
    monkeypatch.setenv("MIRROR_PORT", "tcp://10.0.0.1:5000")
    monkeypatch.setenv("MIRROR_SERVICE_HOST", "10.0.0.1")
    assert load(None).listen.port == 5000

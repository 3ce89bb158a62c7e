"""From config.yaml and the environment to a validated configuration, or to one line that says what is wrong."""

from __future__ import annotations

import difflib
import json
import os
import re
import ssl
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_settings import SettingsError

from mirror.config.endpoints import EndpointConfig
from mirror.config.fields import AdminConfig, CacheConfig, Config, LogConfig, ScrubConfig
from mirror.config.freshness import FreshnessConfig, TagRuleConfig
from mirror.config.upstreams import ACCOUNTS, BUILT_IN, CredentialsConfig, LimitsConfig, ProxyConfig, UpstreamConfig
from mirror.config.warm import WarmConfig
from mirror.errors import ConfigError

_PLAINLY = {
    "extra_forbidden": "unknown key",
    "missing": "is needed",
    "model_type": "fields are expected below this",
    "model_attributes_type": "fields are expected below this",
    "dict_type": "names are expected below this, each with its fields",
    "path_type": "a path is expected",
    "tuple_type": "a list is expected",
}

_SECTIONS = {
    "admin": AdminConfig,
    "cache": CacheConfig,
    "scrub": ScrubConfig,
    "freshness": FreshnessConfig,
    "tag_rules": TagRuleConfig,
    "warm": WarmConfig,
    "log": LogConfig,
    "credentials": CredentialsConfig,
    "proxy": ProxyConfig,
    "limits": LimitsConfig,
}

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_SIGN = re.compile(r"'(?:<[a-z ]+>|\\t|.)'")
_NAMED = re.compile(r"(\S+): ")
# A path of fields; other sentences have colons as well.
_TAB = "character '\\t'"

DEFAULT_FILE = Path("config.yaml")
_LARGEST_FILE = 1024 * 1024


def load(path: Path | None) -> Config:
    """Return the configuration from `path`, or from `config.yaml` if there is one, or the built-in one.

    Raises ConfigError, which names the key path and never a value.
    """
    if path is None and not DEFAULT_FILE.exists():
        return _validated({})
    return _validated(_read(path or DEFAULT_FILE))


def _validated(content: dict[str, Any]) -> Config:
    for name in os.environ:
        section = name.removeprefix("MIRROR_").lower().split("__")[0]
        # Others are none of ours: Kubernetes, for one, sets MIRROR_PORT where a service is called mirror.
        if name.startswith("MIRROR_") and "__" in name and section not in Config.model_fields:
            raise ConfigError("", f"{name}: there is no field {section}")
    # Given here and not left to the default, so that the environment is merged with it like with a file.
    if content.get("upstreams") is None:
        content["upstreams"] = dict.fromkeys(BUILT_IN)
    try:
        config = Config(**content)
    except SettingsError as error:
        field = re.search(r'field "(\w+)"', str(error))
        begin = f"MIRROR_{field[1].upper()}" if field else "MIRROR_"
        names = sorted(name for name in os.environ if name.upper().startswith(begin))
        example = ', for example {"ghcr.io": {}}' if begin == "MIRROR_UPSTREAMS" else ""
        raise ConfigError("", f"{' or '.join(names)} is not JSON{example}") from None
    except ValidationError as error:
        raise _first_problem(error) from None
    _check_files(config)
    return config


def _check_files(config: Config) -> None:
    if config.warm.file is not None:
        _check_list("warm.file", config.warm.file)
    for name, upstream in config.upstreams.items():
        for number, credentials in enumerate(upstream.accounts):
            which = f".{number}" if isinstance(upstream.credentials, tuple) else ""
            _check_credentials(f"upstreams.{name}.credentials{which}", credentials)
        if upstream.proxy is not None and upstream.proxy.password_file is not None:
            _check_password(f"upstreams.{name}.proxy.password_file", upstream.proxy)
        for at, endpoint in enumerate(upstream.endpoints):
            if endpoint.ca_file is not None:
                _check_authorities(f"upstreams.{name}.endpoints.{at}.ca_file", endpoint)


def _check_credentials(key: str, credentials: CredentialsConfig) -> None:
    if credentials.password_file is not None:
        _check_password(f"{key}.password_file", credentials)
    if credentials.docker_config is not None:
        _check_docker_config(f"{key}.docker_config", credentials.docker_config)


def _check_list(key: str, file: Path) -> None:
    try:
        file.open("rb").close()
    except OSError as error:
        raise ConfigError(key, f"{file} cannot be read: {error.strerror}") from None


def _check_password(key: str, credentials: CredentialsConfig | ProxyConfig) -> None:
    file = credentials.password_file
    try:
        empty = not credentials.password
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(key, f"{file} cannot be read: {getattr(error, 'strerror', None) or 'not text'}") from None
    if empty:
        raise ConfigError(key, f"{file} is empty")


def _check_docker_config(key: str, file: Path) -> None:
    try:
        content = json.loads(file.read_bytes()) if file.stat().st_size <= _LARGEST_FILE else None
    except OSError as error:
        raise ConfigError(key, f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ConfigError(key, f"{file} is not a docker configuration, such as ~/.docker/config.json")


def _check_authorities(key: str, endpoint: EndpointConfig) -> None:
    file = endpoint.ca_file
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=endpoint.authorities)
    except (ssl.SSLError, ValueError):
        raise ConfigError(key, f"{file} holds no certificate that can be read; it should be in PEM form") from None
    except OSError as error:
        raise ConfigError(key, f"{file} cannot be read: {error.strerror}") from None


def _first_problem(error: ValidationError) -> ConfigError:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    # A key that does not exist is usually why another one is missing.
    problems.sort(key=lambda problem: problem["type"] != "extra_forbidden")
    first = problems[0]
    first["loc"] = _as_written(first["loc"])
    key = ".".join(str(part) for part in first["loc"]).encode("unicode_escape").decode()
    message = _PLAINLY.get(first["type"], first["msg"].removeprefix("Value error, "))
    message = message.replace("Input should be ", "expected is ").replace("datetime.timedelta(0)", "0s")
    if first["type"] == "extra_forbidden":
        message += _meant(first["loc"])
    if first["type"] == "value_error" and (named := _NAMED.match(message)):
        # A rule about several fields names the one at fault itself.
        message = message[named.end() :]
        key = f"{key}.{named[1]}" if key else named[1]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return ConfigError(key, message + _from(first["loc"]) + more)


def _as_written(path: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return the path of a mistake without the words that stand in no file (see upstreams.ACCOUNTS)."""
    match path:
        case ("upstreams", _, "credentials", kind, *_) if kind in ACCOUNTS:
            return (*path[:3], *path[4:])
    return path


def _meant(path: tuple[int | str, ...]) -> str:
    """Return a question whether it is the field beside this unknown one that is called nearly so; empty if none is."""
    match path:
        case (_,):
            fields = Config.model_fields
        case ("upstreams", _, _):
            fields = UpstreamConfig.model_fields
        case ("upstreams", _, "endpoints", _, _):
            fields = EndpointConfig.model_fields
        case (*_, str(section), _) | (*_, str(section), int(), _):
            fields = getattr(_SECTIONS.get(section), "model_fields", {})
    near = difflib.get_close_matches(str(path[-1]), fields, 1)
    return f"; did you mean {near[0]}?" if near else ""


def _from(path: tuple[int | str, ...]) -> str:
    """Return the variable of the environment that sets this very field, if one does."""
    wanted = [str(part) for part in path]
    names = (name for name in os.environ if name.upper().startswith("MIRROR_"))
    named = next((name for name in names if name[len("MIRROR_") :].lower().split("__") == wanted), None)
    return f" (from {named})" if named else ""


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ConfigError("", f"{path} is larger than a configuration can be")
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)  # noqa: S506  # a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("", f"{path} cannot be read: {getattr(error, 'strerror', None) or 'not text'}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        # The parser quotes what it stumbled over, which may be a secret; its own signs are none.
        problem = _QUOTED.sub(_unless_sign, getattr(error, "problem", None) or "not YAML")
        raise ConfigError("", f"{path}{where}: {problem.replace(_TAB, 'a tab')}") from None
    except (ValueError, RecursionError):
        raise ConfigError("", f"{path} is YAML with a value that cannot be read") from None
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError("", f"{path} is not a mapping of fields")
    return content


def _unless_sign(quoted: re.Match[str]) -> str:
    return quoted[0] if _SIGN.fullmatch(quoted[0]) else "…"


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that is given twice; YAML would let the last one win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is a word", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value} is given twice", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)

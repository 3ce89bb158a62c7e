"""config.yaml and the environment, as frozen, validated values. A field that is not here is unknown."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError
from yarl import URL

from mirror.errors import ConfigError
from mirror.proxy.routing import DOCKER_HUB
from mirror.units import Address, parse_duration, parse_size

DEFAULT_FILE = Path("config.yaml")
_LARGEST_FILE = 1024 * 1024


def _address(value: object) -> Address:
    if isinstance(value, Address):
        return value
    return Address.parse(str(value))


def _size(value: object) -> int:
    return parse_size(value)


def _duration(value: object) -> timedelta:
    return value if isinstance(value, timedelta) else parse_duration(value)


def _url(value: object) -> URL:
    try:
        url = URL(str(value))
        usable = url.scheme in ("http", "https") and bool(url.host) and url.port is not None
    except ValueError:
        usable = False
    if not usable or url.user or url.password or url.path not in ("", "/") or url.query_string or url.fragment:
        raise ValueError("an address is http(s)://host[:port], with nothing behind it")
    return url.origin()


ListenAddress = Annotated[Address, BeforeValidator(_address)]
Size = Annotated[int, BeforeValidator(_size)]
Duration = Annotated[timedelta, BeforeValidator(_duration)]
Origin = Annotated[URL, BeforeValidator(_url)]


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True, validate_default=True
    )


class AdminConfig(_Section):
    """The listener for operators."""

    listen: ListenAddress = Address("127.0.0.1", 5001)


class CacheConfig(_Section):
    """The folder everything is kept in."""

    path: Path = Path("./cache")
    max_size: Size = Field(default="50GiB")  # type: ignore[assignment]  # validated like what a user writes


class FreshnessConfig(_Section):
    """How long answers are believed."""

    tag_ttl: Duration = timedelta(minutes=5)
    stale_if_error: Duration = timedelta(days=7)
    negative_ttl: Duration = timedelta(seconds=30)


class CredentialsConfig(_Section):
    """A user name, and the file that holds the password."""

    username: str = Field(min_length=1)
    password_file: Path

    @property
    def password(self) -> str:
        """The content of the file, without the line break at its end; raises OSError or UnicodeDecodeError."""
        return self.password_file.read_text(encoding="utf-8").rstrip("\r\n")


class UpstreamConfig(_Section):
    """One registry; everything but its name has a default."""

    endpoints: tuple[Origin, ...] = ()
    aliases: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    credentials: CredentialsConfig | None = None
    serve_private: Literal["nobody", "everyone"] = "nobody"
    realms: tuple[Origin, ...] = ()
    private_network: bool = False

    @field_validator("endpoints", "realms", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _credentials_are_used_knowingly(self) -> Self:
        if self.credentials is None:
            return self
        if self.serve_private != "everyone":
            raise ValueError(
                "serve_private: with credentials, say `everyone`: whatever they can read,"
                " every client of the mirror will be able to read"
            )
        if not self.private_network and any(url.scheme == "http" for url in self.endpoints):
            raise ValueError("credentials: they are not sent over plain http, except with private_network: true")
        return self


_DOCKER_HUB = UpstreamConfig(
    endpoints=(URL("https://registry-1.docker.io"),), aliases=("index.docker.io", "registry-1.docker.io")
)


class LogConfig(_Section):
    """What is written to standard output."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Config(BaseSettings):
    """The whole configuration; the environment wins over the file."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="MIRROR_",
        env_nested_delimiter="__",
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
    )

    listen: ListenAddress = Address("0.0.0.0", 5000)  # noqa: S104  # a mirror is for others to reach
    drain_timeout: Duration = timedelta(seconds=30)
    admin: AdminConfig = AdminConfig()
    cache: CacheConfig = CacheConfig()
    freshness: FreshnessConfig = FreshnessConfig()
    default_upstream: str = DOCKER_HUB
    upstreams: dict[str, UpstreamConfig] = Field(default_factory=lambda: {DOCKER_HUB: _DOCKER_HUB})
    log: LogConfig = LogConfig()

    @field_validator("upstreams", mode="after")
    @classmethod
    def _complete(cls, upstreams: dict[str, UpstreamConfig]) -> dict[str, UpstreamConfig]:
        return {name: _completed(name, upstream) for name, upstream in upstreams.items()}

    @model_validator(mode="after")
    def _names_are_unambiguous(self) -> Self:
        if self.default_upstream not in self.upstreams:
            raise ValueError(f"default_upstream: {self.default_upstream} is not among the upstreams")
        owners: dict[str, str] = {}
        for name, upstream in self.upstreams.items():
            for alias in (name, *upstream.aliases):
                if owners.setdefault(alias.lower(), name) != name:
                    raise ValueError(f"upstreams.{name}.aliases: {alias} already means {owners[alias.lower()]}")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment first, then the file, whose content is what the class is made with."""
        return env_settings, init_settings


def _completed(name: str, upstream: UpstreamConfig) -> UpstreamConfig:
    usual = _DOCKER_HUB if name == DOCKER_HUB else UpstreamConfig()
    update: dict[str, Any] = {}
    if not upstream.endpoints:
        update["endpoints"] = usual.endpoints or (_url(f"https://{name}"),)
    if "aliases" not in upstream.model_fields_set:
        update["aliases"] = usual.aliases
    return upstream.model_copy(update=update)


def load(path: Path | None) -> Config:
    """Return the configuration from `path`, or from `config.yaml` if there is one, or the built-in one.

    Raises ConfigError, which names the key path and never a value.
    """
    if path is None and not DEFAULT_FILE.exists():
        return _validated({})
    return _validated(_read(path or DEFAULT_FILE))


def _validated(content: dict[str, Any]) -> Config:
    try:
        config = Config(**content)
    except SettingsError as error:
        raise ConfigError("", f"environment: {error}") from None
    except ValidationError as error:
        raise _first_problem(error) from None
    _check_files(config)
    return config


def _check_files(config: Config) -> None:
    for name, upstream in config.upstreams.items():
        if upstream.credentials is not None:
            try:
                upstream.credentials.password  # noqa: B018  # whether it can be read is all that matters here
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "not text"
                key = f"upstreams.{name}.credentials.password_file"
                raise ConfigError(key, f"{upstream.credentials.password_file} cannot be read: {reason}") from None


def _first_problem(error: ValidationError) -> ConfigError:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    first = problems[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "unknown key"
    elif first["type"] == "value_error" and ": " in message:
        # A rule about several fields names the one at fault itself.
        field, _, message = message.partition(": ")
        key = f"{key}.{field}" if key else field
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return ConfigError(key, message + more)


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
        raise ConfigError("", f"{path}{where}: {getattr(error, 'problem', None) or 'not YAML'}") from None
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError("", f"{path} is not a mapping of fields")
    return content


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that is given twice; YAML would let the last one win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value} is given twice", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)

"""The fields of config.yaml, their defaults and the rules between them. A field that is not here is unknown."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict
from yarl import URL

from mirror.config.units import Address, parse_duration, parse_size
from mirror.oci.reference import is_registry
from mirror.proxy.routing import DOCKER_HUB


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


def _content(file: Path | None) -> str:
    return "" if file is None else file.read_text(encoding="utf-8").rstrip("\r\n")


ListenAddress = Annotated[Address, NoDecode, BeforeValidator(_address)]
Size = Annotated[int, BeforeValidator(_size)]
Duration = Annotated[timedelta, BeforeValidator(_duration)]
Origin = Annotated[URL, BeforeValidator(_url)]

_USERNAME = r"^[^:\x00-\x1f\x7f]+$"


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
    min_free: Size = Field(default="1GiB")  # type: ignore[assignment]

    @field_validator("path", mode="before")
    @classmethod
    def _is_named(cls, value: object) -> object:
        if value == "" or (isinstance(value, str) and os.path.normpath(value) in (".", "/", "//")):
            raise ValueError("a folder of the mirror's own is expected")
        return value


class ScrubConfig(_Section):
    """How often every stored byte is verified in the background, and with how many bytes a second at most."""

    every: Duration | None = timedelta(days=7)
    bandwidth: Size = Field(default="32MiB", gt=0)  # type: ignore[assignment]


class FreshnessConfig(_Section):
    """How long answers are believed."""

    tag_ttl: Duration = timedelta(minutes=5)
    stale_if_error: Duration = timedelta(days=7)
    negative_ttl: Duration = timedelta(seconds=30)


class CredentialsConfig(_Section):
    """A user name and the file that holds the password; or a docker configuration; or a docker credential helper."""

    username: str | None = Field(default=None, pattern=_USERNAME)
    password_file: Path | None = None
    docker_config: Path | None = None
    helper: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        others = [name for name in ("docker_config", "helper") if getattr(self, name) is not None]
        if not others and (self.username is None or self.password_file is None):
            raise ValueError(f"{'username' if self.username is None else 'password_file'}: is needed")
        if len(others) > 1 or (others and (self.username is not None or self.password_file is not None)):
            raise ValueError(f"{others[-1]}: give a password file, a docker_config or a helper, not several")
        return self

    @property
    def password(self) -> str:
        """The content of the file, without the line break at its end; raises OSError or UnicodeDecodeError."""
        return _content(self.password_file)


class ProxyConfig(_Section):
    """An http(s) proxy, and the user name and the file with the password that it wants, if any."""

    url: Origin
    username: str | None = Field(default=None, pattern=_USERNAME)
    password_file: Path | None = None

    @field_validator("url", mode="before")
    @classmethod
    def _has_no_secret(cls, value: object) -> object:
        if "@" in str(value):
            raise ValueError("a user name and a password go beside it, as username and password_file")
        return value

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.username is None) != (self.password_file is None):
            raise ValueError(f"{'username' if self.username is None else 'password_file'}: is needed")
        return self

    @property
    def password(self) -> str:
        """The content of the file; raises as that of credentials does."""
        return _content(self.password_file)


class UpstreamConfig(_Section):
    """One registry; everything but its name has a default."""

    endpoints: tuple[Origin, ...] = ()
    aliases: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    credentials: CredentialsConfig | None = None
    serve_private: Literal["nobody", "everyone"] = "nobody"
    auth_ttl: Duration = timedelta(minutes=5)
    proxy: ProxyConfig | None = None
    realms: tuple[Origin, ...] = ()
    private_network: bool = False

    @field_validator("endpoints", "realms", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @field_validator("proxy", mode="before")
    @classmethod
    def _an_address_is_enough(cls, value: object) -> object:
        return {"url": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _credentials_stay_secret(self) -> Self:
        if self.credentials is None or all(url.scheme == "https" for url in self.endpoints):
            return self
        if not self.private_network:
            raise ValueError("credentials: they are not sent over plain http, except with private_network: true")
        if self.proxy is not None:
            raise ValueError("proxy: it would see the credentials, which go to an endpoint on plain http")
        return self


_DOCKER_HUB = UpstreamConfig(
    endpoints=(URL("https://registry-1.docker.io"),), aliases=("index.docker.io", "registry-1.docker.io")
)

BUILT_IN = (DOCKER_HUB, "ghcr.io", "quay.io", "gcr.io", "registry.k8s.io", "public.ecr.aws", "mcr.microsoft.com")
"""The upstreams of a configuration that names none."""


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
    scrub: ScrubConfig = ScrubConfig()
    freshness: FreshnessConfig = FreshnessConfig()
    default_upstream: str = DOCKER_HUB
    upstreams: dict[str, UpstreamConfig] = Field(default_factory=lambda: dict.fromkeys(BUILT_IN, UpstreamConfig()))
    log: LogConfig = LogConfig()

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_the_default(cls, content: dict[str, Any]) -> dict[str, Any]:
        """What is named and left empty, `ghcr.io:` for one, has its defaults."""
        filled = {key: value for key, value in content.items() if value is not None}
        if isinstance(upstreams := filled.get("upstreams"), dict):
            filled["upstreams"] = {name: {} if value is None else value for name, value in upstreams.items()}
        return filled

    @field_validator("upstreams", mode="after")
    @classmethod
    def _complete(cls, upstreams: dict[str, UpstreamConfig]) -> dict[str, UpstreamConfig]:
        for name in upstreams:
            if not is_registry(name):
                raise ValueError("an upstream is called like its registry, host or host:port")
        return {name: _completed(name, upstream) for name, upstream in upstreams.items()}

    @model_validator(mode="after")
    def _names_are_unambiguous(self) -> Self:
        if self.default_upstream not in self.upstreams:
            raise ValueError(
                f"default_upstream: {self.default_upstream} is not among the upstreams, which replace the built-in"
                " ones: name it there too, or another one here"
            )
        _refuse_twice("aliases", {name: (name, *upstream.aliases) for name, upstream in self.upstreams.items()})
        _refuse_twice("hosts", {name: upstream.hosts for name, upstream in self.upstreams.items()})
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


def _refuse_twice(field: str, names: dict[str, tuple[str, ...]]) -> None:
    owners: dict[str, str] = {}
    for owner, meant in names.items():
        for name in meant:
            if owners.setdefault(name.lower(), owner) != owner:
                raise ValueError(f"upstreams.{owner}.{field}: {name} already means {owners[name.lower()]}")


def _completed(name: str, upstream: UpstreamConfig) -> UpstreamConfig:
    usual = _DOCKER_HUB if name == DOCKER_HUB else UpstreamConfig()
    update: dict[str, Any] = {}
    if not upstream.endpoints:
        update["endpoints"] = usual.endpoints or (_url(f"https://{name}"),)
    if "aliases" not in upstream.model_fields_set:
        update["aliases"] = usual.aliases
    return upstream.model_copy(update=update)

"""The fields of config.yaml, their defaults and the rules between them. A field that is not here is unknown."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from mirror.config.section import Duration, ListenAddress, Section, Size
from mirror.config.units import Address
from mirror.config.upstreams import BUILT_IN, UpstreamConfig, completed
from mirror.errors import ConfigError
from mirror.oci.reference import is_registry
from mirror.proxy.routing import DOCKER_HUB

_SMALLEST = 1024 * 1024
# Less is a mistake, and would empty a cache that is there.


class AdminConfig(Section):
    """The listener for operators."""

    listen: ListenAddress = Address("127.0.0.1", 5001)
    token_file: Path | None = None

    @property
    def token(self) -> str | None:
        """The content of the file, without the white space around it; raises ConfigError."""
        if self.token_file is None:
            return None
        try:
            token = self.token_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not ASCII text"
            raise ConfigError("admin.token_file", f"cannot be read: {reason}") from None
        if not token or not token.isprintable() or " " in token:
            raise ConfigError("admin.token_file", "a token is one word on one line")
        return token


class CacheConfig(Section):
    """The folder everything is kept in."""

    path: Path = Path("./cache")

    max_size: Size = Field(default="50GiB")  # type: ignore[assignment]  # validated like what a user writes
    min_free: Size = Field(default="1GiB")  # type: ignore[assignment]
    blob_ttl: Duration | None = Field(default=timedelta(days=30), gt=timedelta())

    @field_validator("max_size")
    @classmethod
    def _holds_something(cls, size: int) -> int:
        if size < _SMALLEST:
            raise ValueError("at least 1MiB is needed, for what does not fit is evicted")
        return size

    @field_validator("path", mode="before")
    @classmethod
    def _is_named(cls, value: object) -> object:
        if value == "" or (isinstance(value, str) and os.path.normpath(value) in (".", "/", "//")):
            raise ValueError("a folder of the mirror's own is expected")
        return value


class ScrubConfig(Section):
    """How often every stored byte is verified in the background, and with how many bytes a second at most."""

    every: Duration | None = timedelta(days=7)
    bandwidth: Size = Field(default="32MiB", gt=0)  # type: ignore[assignment]


class FreshnessConfig(Section):
    """How long answers are believed."""

    tag_ttl: Duration = timedelta(minutes=5)
    stale_if_error: Duration = timedelta(days=7)
    negative_ttl: Duration = timedelta(seconds=30)


class LogConfig(Section):
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
        return {name: completed(name, upstream) for name, upstream in upstreams.items()}

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

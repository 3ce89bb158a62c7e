"""The fields of config.yaml, their defaults and the rules between them. A field that is not here is unknown."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from mirror.config.freshness import FreshnessConfig
from mirror.config.section import Duration, ListenAddress, Patience, Section, Size, Workers
from mirror.config.units import Address
from mirror.config.upstreams import BUILT_IN, UpstreamConfig, completed
from mirror.config.warm import WarmConfig
from mirror.errors import ConfigError
from mirror.oci.image_name import ImageName
from mirror.oci.reference import is_registry
from mirror.proxy.freshness import FreshnessPolicy
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
    workers: Workers = 1
    worker_timeout: Patience = timedelta(seconds=30)
    drain_timeout: Duration = timedelta(seconds=30)
    offline: bool = False
    admin: AdminConfig = AdminConfig()
    cache: CacheConfig = CacheConfig()
    scrub: ScrubConfig = ScrubConfig()
    freshness: FreshnessConfig = FreshnessConfig()
    default_upstream: str = DOCKER_HUB
    upstreams: dict[str, UpstreamConfig] = Field(default_factory=lambda: dict.fromkeys(BUILT_IN, UpstreamConfig()))
    warm: WarmConfig = WarmConfig()
    log: LogConfig = LogConfig()

    @property
    def policy(self) -> FreshnessPolicy:
        """What tags and lists are judged by, online or offline."""
        return self.freshness.policy.offline() if self.offline else self.freshness.policy

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_the_default(cls, content: dict[str, Any]) -> dict[str, Any]:
        """What is named and left empty, `ghcr.io:` for one, has its defaults."""
        filled = {key: value for key, value in content.items() if value is not None}
        if isinstance(upstreams := filled.get("upstreams"), dict):
            filled["upstreams"] = {name: {} if value is None else value for name, value in upstreams.items()}
            if len(upstreams) == 1:
                # There is no other that a name without a registry could mean.
                filled.setdefault("default_upstream", next(iter(upstreams)))
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
        if not self.upstreams:
            raise ValueError("default_upstream: there are no upstreams; without the field there are the built-in ones")
        if self.default_upstream not in self.upstreams:
            raise ValueError(
                f"default_upstream: {self.default_upstream} is not among the upstreams, which replace the built-in"
                f" ones: name it there too, or another one here, such as default_upstream: {min(self.upstreams)}"
            )
        own = [(f"upstreams.{name}", name, name) for name in self.upstreams]
        _refuse_twice([*own, *_claims("aliases", self.upstreams)])
        _refuse_twice(_claims("hosts", self.upstreams))
        return self

    @model_validator(mode="after")
    def _what_is_warmed_is_mirrored(self) -> Self:
        known = {name.lower() for owner, one in self.upstreams.items() for name in (owner, *one.aliases)}
        for image in self.warm.images:
            registry = ImageName.parse(image).name.registry
            if registry is not None and registry not in known:
                raise ValueError(f"warm.images: {image} is of {registry}, which is not among the upstreams")
        return self

    @model_validator(mode="after")
    def _listeners_are_apart(self) -> Self:
        public, admin = self.listen, self.admin.listen
        is_one_family = (":" in public.host) == (":" in admin.host)
        is_one_host = public.host == admin.host or not {public.host, admin.host}.isdisjoint({"0.0.0.0", "::"})  # noqa: S104
        if public.port and public.port == admin.port and is_one_family and is_one_host:
            raise ValueError(f"admin.listen: {public} is what clients pull from (listen); give it another port")
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


def _claims(field: str, upstreams: Mapping[str, UpstreamConfig]) -> Iterator[tuple[str, str, str]]:
    """Yield each name that a field of an upstream claims: the field, the upstream, the name."""
    for owner, upstream in upstreams.items():
        for name in getattr(upstream, field):
            yield f"upstreams.{owner}.{field}", owner, name


def _refuse_twice(claims: Iterable[tuple[str, str, str]]) -> None:
    """Raise ValueError for a name that another upstream has claimed before."""
    owners: dict[str, str] = {}
    for field, owner, name in claims:
        if owners.setdefault(name.lower(), owner) != owner:
            raise ValueError(f"{field}: {name} already means {owners[name.lower()]}")

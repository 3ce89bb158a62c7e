"""The fields of an upstream: where it is, who asks there, who may have what comes of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, field_validator, model_validator
from yarl import URL

from mirror.config.endpoints import EndpointConfig
from mirror.config.section import Duration, Origin, PullReserve, Section, Size, parse_origin
from mirror.proxy.fills.turns import MOST_AT_ONCE
from mirror.proxy.rate_limit import Reserve
from mirror.proxy.routing import DOCKER_HUB

_USER_NAME = re.compile(r"[^:\x00-\x1f\x7f]+")
_LEAST_BANDWIDTH = 64 * 1024
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def _user_name(value: str) -> str:
    if not _USER_NAME.fullmatch(value):
        raise ValueError("a user name has neither colons nor control characters")
    return value


def _helper(value: str) -> str:
    if not _HELPER.fullmatch(value):
        raise ValueError("a helper is named by what follows docker-credential-, for example ecr-login")
    return value


def _origin(url: URL) -> tuple[str, str | None, int | None]:
    return url.scheme, url.host, url.port


def _content(file: Path | None) -> str:
    return "" if file is None else file.read_text(encoding="utf-8").rstrip("\r\n")


class CredentialsConfig(Section):
    """A user name and the file that holds the password; or a docker configuration; or a docker credential helper."""

    username: Annotated[str, AfterValidator(_user_name)] | None = None
    password_file: Path | None = None
    docker_config: Path | None = None
    helper: Annotated[str, AfterValidator(_helper)] | None = None

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


def _some(accounts: tuple[CredentialsConfig, ...]) -> tuple[CredentialsConfig, ...]:
    if not accounts:
        raise ValueError("a list has the credentials of at least one account; null for none")
    return accounts


ACCOUNTS = ("one", "several")
"""What tells in the path of a mistake whether it is in the credentials of one account or of several."""

_Accounts = Annotated[
    Annotated[CredentialsConfig, Tag(ACCOUNTS[0])]
    | Annotated[tuple[CredentialsConfig, ...], AfterValidator(_some), Tag(ACCOUNTS[1])],
    Discriminator(lambda value: ACCOUNTS[isinstance(value, list | tuple)]),
]


class ProxyConfig(Section):
    """An http(s) proxy, and the user name and the file with the password that it wants, if any."""

    url: Origin
    username: Annotated[str, AfterValidator(_user_name)] | None = None
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


class LimitsConfig(Section):
    """What is taken from an upstream at most: by so many `fills` at a time, so many bytes a second by all of them."""

    fills: int = Field(default=MOST_AT_ONCE, ge=1, le=1024, strict=True)
    bandwidth: Size | None = None

    @field_validator("bandwidth")
    @classmethod
    def _brings_something(cls, bandwidth: int | None) -> int | None:
        if bandwidth is not None and bandwidth < _LEAST_BANDWIDTH:
            raise ValueError("so many bytes a second, 64KiB at least: with less, clients would give up")
        return bandwidth


class UpstreamConfig(Section):
    """One registry; everything but its name has a default."""

    endpoints: tuple[EndpointConfig, ...] = ()
    aliases: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    credentials: _Accounts | None = None
    pull_reserve: PullReserve = Reserve(share=0.1)
    serve_private: Literal["nobody", "everyone"] = "nobody"
    auth_ttl: Duration = timedelta(minutes=5)
    proxy: ProxyConfig | None = None
    realms: tuple[Origin, ...] = ()
    private_network: bool = False
    limits: LimitsConfig = LimitsConfig()
    read_ahead: bool = True

    @field_validator("endpoints", "realms", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return [value] if isinstance(value, str | Mapping) else value

    @field_validator("proxy", mode="before")
    @classmethod
    def _an_address_is_enough(cls, value: object) -> object:
        return {"url": value} if isinstance(value, str | int) else value

    @property
    def reads_ahead(self) -> bool:
        """Whether anything is begun before a client asks: bandwidth that is limited is for what is waited for."""
        return self.read_ahead and self.limits.bandwidth is None

    @property
    def accounts(self) -> tuple[CredentialsConfig, ...]:
        """The credentials of each account; empty where nobody in particular asks."""
        if self.credentials is None:
            return ()
        return self.credentials if isinstance(self.credentials, tuple) else (self.credentials,)

    def accounts_at(self, endpoint: URL) -> tuple[CredentialsConfig, ...]:
        """The credentials that an endpoint may see.

        A user name and a password are for the registry, which is the last endpoint, and for `realms`; where the others
        come from, they are asked for by host.
        """
        known = {_origin(self.endpoints[-1].url), *map(_origin, self.realms)}
        return tuple(one for one in self.accounts if one.username is None or _origin(endpoint) in known)

    @model_validator(mode="after")
    def _credentials_stay_secret(self) -> Self:
        if self.credentials is None or all(endpoint.url.scheme == "https" for endpoint in self.endpoints):
            return self
        if not self.private_network:
            raise ValueError("credentials: they are not sent over plain http, except with private_network: true")
        if self.proxy is not None:
            raise ValueError("proxy: it would see the credentials, which go to an endpoint on plain http")
        return self

    @model_validator(mode="after")
    def _secrets_are_for_whom_is_known(self) -> Self:
        for at, endpoint in enumerate(self.endpoints):
            if endpoint.verify:
                continue
            if self.credentials is not None and not self.private_network:
                raise ValueError(
                    f"endpoints.{at}.verify: anybody could get the credentials; give it a ca_file, or say"
                    " private_network: true"
                )
            if self.proxy is not None and self.proxy.url.scheme == "https":
                raise ValueError(f"endpoints.{at}.verify: the proxy would not be verified either; give it a ca_file")
        return self


_DOCKER_HUB = UpstreamConfig(
    endpoints=(EndpointConfig(url=URL("https://registry-1.docker.io")),),
    aliases=("index.docker.io", "registry-1.docker.io"),
)

BUILT_IN = (DOCKER_HUB, "ghcr.io", "quay.io", "gcr.io", "registry.k8s.io", "public.ecr.aws", "mcr.microsoft.com")
"""The upstreams of a configuration that names none."""


def completed(name: str, upstream: UpstreamConfig) -> UpstreamConfig:
    """Return the upstream with what its name tells of it; raises ValueError if that is no address."""
    usual = _DOCKER_HUB if name == DOCKER_HUB else UpstreamConfig()
    update: dict[str, Any] = {}
    if not upstream.endpoints:
        update["endpoints"] = usual.endpoints or (EndpointConfig(url=parse_origin(f"https://{name}")),)
    if "aliases" not in upstream.model_fields_set:
        update["aliases"] = usual.aliases
    return upstream.model_copy(update=update)

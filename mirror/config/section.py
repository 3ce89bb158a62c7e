"""What the fields of a section are made of: addresses, sizes and durations as people write them."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic_settings import NoDecode
from yarl import URL

from mirror.config.units import Address, parse_duration, parse_reserve, parse_size
from mirror.oci.reference import is_registry
from mirror.proxy.rate_limit import Reserve

_MOST_WORKERS = 64
# More than the cores of nearly all machines; each takes as much memory as a mirror.

_LEAST_PATIENCE = timedelta(seconds=1)
# What a busy machine may take is no reason to end a process.


def _address(value: object) -> Address:
    if isinstance(value, Address):
        return value
    return Address.parse(str(value))


def _size(value: object) -> int:
    return parse_size(value)


def _duration(value: object) -> timedelta:
    return value if isinstance(value, timedelta) else parse_duration(value)


def _reserve(value: object) -> Reserve:
    return value if isinstance(value, Reserve) else parse_reserve(value)


def _workers(value: object) -> int | str:
    if value == "auto":
        return "auto"
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= _MOST_WORKERS:
        raise ValueError(f"a number of processes is expected, 1 to {_MOST_WORKERS}, or auto for one a core")
    return number


def _patience(value: object) -> timedelta:
    patience = _duration(value)
    if timedelta() < patience < _LEAST_PATIENCE:
        raise ValueError("a worker is given a second at least; 0s for as long as it takes")
    return patience


def parse_origin(value: object) -> URL:
    """Return the address of a service; raises ValueError for anything that is more, or less."""
    try:
        url = URL(str(value))
        usable = url.scheme in ("http", "https") and bool(url.host) and url.port is not None
    except ValueError:
        usable = False
    if is_registry(str(value)):
        raise ValueError("the scheme is missing, http:// or https://")
    if not usable or url.user or url.password or url.path not in ("", "/") or url.query_string or url.fragment:
        raise ValueError("an address is http(s)://host[:port], with nothing behind it")
    return url.origin()


ListenAddress = Annotated[Address, NoDecode, BeforeValidator(_address)]
Workers = Annotated[int | str, NoDecode, BeforeValidator(_workers)]
Size = Annotated[int, BeforeValidator(_size)]
Duration = Annotated[timedelta, BeforeValidator(_duration)]
Patience = Annotated[timedelta, BeforeValidator(_patience)]
PullReserve = Annotated[Reserve, BeforeValidator(_reserve)]
Origin = Annotated[URL, BeforeValidator(parse_origin)]


class Section(BaseModel):
    """Some fields that belong together; frozen, and unknown keys are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True, validate_default=True
    )

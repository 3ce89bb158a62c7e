"""What a client has to know of a mirror: where it is, and which registries it answers for. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from yarl import URL

from mirror.config import Config
from mirror.config.units import Address
from mirror.oci.reference import is_registry, split_registry

_URL = re.compile(r"https?://(?:(?P<address>\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?)|(?P<registry>[^/@?#\[\]]+))/?")
_ANY = {"0.0.0.0": "127.0.0.1", "::": "localhost"}  # noqa: S104  # where what listens everywhere is reached


@dataclass(frozen=True, slots=True)
class Site:
    """A mirror as its clients see it.

    `registries` are the names that images of its upstreams begin with; `default` is the one that is meant where a
    request names none.
    """

    url: URL
    registries: tuple[str, ...]
    default: str

    @property
    def authority(self) -> str:
        """The mirror as `host[:port]`."""
        return self.url.raw_authority

    @property
    def is_plain(self) -> bool:
        """Whether it is asked without TLS."""
        return self.url.scheme == "http"

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        host = self.url.host or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


def site_of(config: Config, url: URL) -> Site:
    """Return what clients see of the mirror that is configured like this and reached at `url`."""
    registries = [registry for upstream in config.upstreams if (registry := _spoken(config, upstream))]
    default = _spoken(config, config.default_upstream)
    return Site(url, tuple(registries), default or config.default_upstream)


def mirror_url(given: str | None, listen: Address) -> URL:
    """Return how clients reach the mirror: as given, else what listens there as this machine sees it.

    Raises ValueError for what is no such address, and where only the running mirror knows its port.
    """
    if given is None:
        if listen.port == 0:
            raise ValueError("`listen` leaves the port open: say where clients reach the mirror")
        return URL(f"http://{Address(_ANY.get(listen.host, listen.host), listen.port)}")
    match = _URL.fullmatch(given)
    if match is None or not (match["address"] or is_registry(match["registry"])):
        raise ValueError("the address of a mirror is http(s)://host[:port], with nothing behind it")
    return URL(given).origin()


def _spoken(config: Config, upstream: str) -> str | None:
    """Return what images of an upstream begin with: its name, or an alias if no image can begin with that."""
    names = (upstream, *config.upstreams[upstream].aliases)
    return next((name for name in names if split_registry(f"{name}/image")[0] is not None), None)

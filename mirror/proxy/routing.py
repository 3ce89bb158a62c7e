"""Which upstream a request is for: namespace, host, path prefix, or the default."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mirror.errors import UnknownRegistry
from mirror.oci.paths import Name
from mirror.oci.reference import Repository, is_registry

DOCKER_HUB = "docker.io"

_LONGEST = 253
# Characters of a host's name.


@dataclass(frozen=True, slots=True)
class UpstreamNames:
    """What an upstream is called: its name, other registry names for it, and Host headers that mean it."""

    name: str
    aliases: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """A repository of one upstream: what access is granted for, and what a tag belongs to."""

    upstream: str
    repository: Repository

    def __str__(self) -> str:
        return f"{self.upstream}/{self.repository}"


class Routing:
    """The closed table of configured upstreams; nothing outside it is ever contacted."""

    def __init__(self, upstreams: Iterable[UpstreamNames], default: str) -> None:
        self._by_registry: dict[str, str] = {}
        self._by_host: dict[str, str] = {}
        self._default = default
        for upstream in upstreams:
            for registry in (upstream.name, *upstream.aliases):
                self._by_registry[registry.lower()] = upstream.name
            for host in upstream.hosts:
                self._by_host[host.lower()] = upstream.name

    def route(self, name: Name, namespace: str | None, host: str) -> Route:
        """Return where `name` leads for a request with this `?ns=` and Host header.

        Raises UnknownRegistry for a registry that is not configured, InvalidName for a name that is none once
        its registry is known.
        """
        if namespace is not None:
            return self._to(self._configured(namespace), name.whole)
        if by_host := self._by_host.get(host.lower()) or self._by_host.get(_without_port(host)):
            return self._to(by_host, name.whole)
        if name.registry is not None:
            return self._to(self._configured(name.registry), name.rest)
        return self._to(self._default, name.whole)

    def _configured(self, registry: str) -> str:
        upstream = self._by_registry.get(registry.lower())
        if upstream is None:
            # The client's own word, and repeated only if it is one.
            named = registry if is_registry(registry) and len(registry) <= _LONGEST else "this registry"
            raise UnknownRegistry(f"{named} is not among the mirror's upstreams; to mirror it, name it under upstreams")
        return upstream

    @staticmethod
    def _to(upstream: str, repository: str) -> Route:
        # Docker Hub keeps its official images under library/; docker and podman say so themselves, others do not.
        if upstream == DOCKER_HUB and "/" not in repository:
            repository = f"library/{repository}"
        return Route(upstream, Repository(repository))


def _without_port(host: str) -> str:
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdigit() else host.lower()

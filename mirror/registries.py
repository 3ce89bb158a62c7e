"""The upstreams, built from their configuration; a part of the composition root."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mirror.config import UpstreamConfig
from mirror.proxy.events import Observer
from mirror.proxy.visibility import Views
from mirror.upstream.auth import AuthPolicy, Credential
from mirror.upstream.client import RegistryClient
from mirror.upstream.egress import Egress
from mirror.upstream.endpoint import Endpoint
from mirror.upstream.tokens import TokenServices
from mirror.upstream.viewer import RegistryViewer


@dataclass(frozen=True, slots=True)
class Outside:
    """What all clients of registries share."""

    egress: Egress
    tokens: TokenServices
    observer: Observer


def clients(upstreams: Mapping[str, UpstreamConfig], outside: Outside) -> dict[str, RegistryClient]:
    """Return a client of each upstream, with its credentials if it has any."""
    return {name: _client(name, upstream, outside) for name, upstream in upstreams.items()}


def views(
    upstreams: Mapping[str, UpstreamConfig], own: Mapping[str, RegistryClient], outside: Outside
) -> dict[str, Views]:
    """Return how the upstreams that serve private content to nobody are seen, without credentials and with."""
    return {
        name: Views(
            RegistryViewer(_client(name, upstream.model_copy(update={"credentials": None}), outside)),
            RegistryViewer(own[name]),
            upstream.auth_ttl,
        )
        for name, upstream in upstreams.items()
        if upstream.serve_private == "nobody"
    }


def _client(name: str, upstream: UpstreamConfig, outside: Outside) -> RegistryClient:
    credentials = upstream.credentials
    credential = Credential(credentials.username, credentials.password) if credentials else None
    endpoints = []
    for url in upstream.endpoints:
        policy = AuthPolicy(name, url, credential, frozenset(upstream.realms), upstream.private_network)
        endpoints.append(Endpoint(url, policy, outside.egress, outside.tokens, outside.observer))
    return RegistryClient(name, endpoints, outside.observer)

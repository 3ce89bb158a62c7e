"""The upstreams, built from their configuration; a part of the composition root."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from yarl import URL

from mirror.config import Config, CredentialsConfig, ProxyConfig, UpstreamConfig
from mirror.proxy.events import Observer
from mirror.proxy.routing import Routing, UpstreamNames
from mirror.proxy.tasks import Tasks
from mirror.proxy.visibility import View
from mirror.upstream.auth import AuthPolicy
from mirror.upstream.client import RegistryClient
from mirror.upstream.credential_helper import CredentialHelper
from mirror.upstream.credentials import Credentials, CredentialSource, PasswordFile
from mirror.upstream.docker_config import DockerConfig, server_name
from mirror.upstream.egress import Egress
from mirror.upstream.endpoint import Endpoint
from mirror.upstream.findings import Sample, Witness
from mirror.upstream.origin import origin_of
from mirror.upstream.probe import Probe
from mirror.upstream.proxy import Proxy
from mirror.upstream.tokens import TokenServices
from mirror.upstream.viewer import RegistryViewer


@dataclass(frozen=True, slots=True)
class Outside:
    """What all clients of registries share."""

    egress: Egress
    tokens: TokenServices
    tasks: Tasks
    observer: Observer


def clients(upstreams: Mapping[str, UpstreamConfig], outside: Outside) -> dict[str, RegistryClient]:
    """Return a client of each upstream, with its credentials if it has any."""
    return {name: _client(name, upstream, outside) for name, upstream in upstreams.items()}


def views(upstreams: Mapping[str, UpstreamConfig], outside: Outside) -> dict[str, View]:
    """Return how anybody, without credentials, sees the upstreams that serve private content to nobody."""
    return {
        name: View(
            RegistryViewer(_client(name, upstream.model_copy(update={"credentials": None}), outside)),
            upstream.auth_ttl,
        )
        for name, upstream in upstreams.items()
        if upstream.serve_private == "nobody"
    }


def probe(name: str, upstream: UpstreamConfig, url: URL, sample: Sample | None, outside: Outside) -> Probe:
    """Return what tries this endpoint of an upstream, with its credentials if it has any."""
    witness = Witness()
    policy = _policy(name, upstream, url, replace(outside, observer=witness))
    return Probe(policy, sample, outside.egress, outside.tokens, witness)


def routing(config: Config) -> Routing:
    """Return which upstream a name means."""
    names = (UpstreamNames(name, upstream.aliases, upstream.hosts) for name, upstream in config.upstreams.items())
    return Routing(names, config.default_upstream)


def _client(name: str, upstream: UpstreamConfig, outside: Outside) -> RegistryClient:
    endpoints = []
    for url in upstream.endpoints:
        policy = _policy(name, upstream, url, outside)
        endpoints.append(Endpoint(url, policy, outside.egress, outside.tokens, outside.observer))
    return RegistryClient(name, endpoints, outside.observer)


def _policy(name: str, upstream: UpstreamConfig, url: URL, outside: Outside) -> AuthPolicy:
    credentials = None
    if upstream.credentials is not None:
        source = _source(upstream.credentials, url)
        credentials = Credentials(name, source, outside.tasks, outside.observer)
    proxy = _proxy(name, upstream.proxy, outside)
    return AuthPolicy(name, url, credentials, frozenset(upstream.realms), upstream.private_network, proxy)


def _proxy(name: str, config: ProxyConfig | None, outside: Outside) -> Proxy | None:
    if config is None:
        return None
    if config.username is None:
        return Proxy(config.url)
    source = PasswordFile(config.username, lambda: config.password)
    return Proxy(config.url, Credentials(name, source, outside.tasks, outside.observer))


def _source(config: CredentialsConfig, endpoint: URL) -> CredentialSource:
    """Return where the credential for this very endpoint is kept."""
    host = origin_of(endpoint).authority
    if config.docker_config is not None:
        return DockerConfig(config.docker_config, host)
    if config.helper is not None:
        return CredentialHelper(config.helper, server_name(host))
    return PasswordFile(config.username or "", lambda: config.password)

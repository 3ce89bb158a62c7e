"""The upstreams, built from their configuration; a part of the composition root."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from yarl import URL

from mirror.config import Config, CredentialsConfig, EndpointConfig, ProxyConfig, UpstreamConfig
from mirror.proxy.events import EndpointUnverified, Observer
from mirror.proxy.routing import Routing, UpstreamNames
from mirror.proxy.tasks import Tasks
from mirror.proxy.visibility import View
from mirror.upstream.auth import AuthPolicy
from mirror.upstream.base_url import BaseUrl
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
from mirror.upstream.trust import Trust
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


def unverified(upstreams: Mapping[str, UpstreamConfig]) -> Iterator[EndpointUnverified]:
    """Yield what is to be told of each endpoint whose certificate may be anybody's."""
    for name, upstream in upstreams.items():
        for endpoint in upstream.endpoints:
            if not endpoint.verify:
                yield EndpointUnverified(name, str(endpoint.url))


def probe(
    name: str, upstream: UpstreamConfig, endpoint: EndpointConfig, sample: Sample | None, outside: Outside
) -> Probe:
    """Return what tries this endpoint of an upstream, with its credentials if it has any."""
    witness = Witness()
    policy = _policy(name, upstream, endpoint, replace(outside, observer=witness))
    return Probe(policy, sample, outside.egress, outside.tokens, witness)


def routing(config: Config) -> Routing:
    """Return which upstream a name means."""
    names = (UpstreamNames(name, upstream.aliases, upstream.hosts) for name, upstream in config.upstreams.items())
    return Routing(names, config.default_upstream)


def _client(name: str, upstream: UpstreamConfig, outside: Outside) -> RegistryClient:
    endpoints = [_endpoint(name, upstream, endpoint, outside) for endpoint in upstream.endpoints]
    return RegistryClient(name, endpoints, outside.observer)


def _endpoint(name: str, upstream: UpstreamConfig, endpoint: EndpointConfig, outside: Outside) -> Endpoint:
    base, policy = BaseUrl(endpoint.url), _policy(name, upstream, endpoint, outside)
    timeout = None if endpoint.timeout is None else endpoint.timeout.total_seconds()
    return Endpoint(base, policy, outside.egress, outside.tokens, outside.observer, timeout)


def _policy(name: str, upstream: UpstreamConfig, endpoint: EndpointConfig, outside: Outside) -> AuthPolicy:
    credentials = None
    if upstream.credentials is not None:
        source = _source(upstream.credentials, endpoint.url)
        credentials = Credentials(name, source, outside.tasks, outside.observer)
    proxy = _proxy(name, upstream.proxy, outside)
    trust = Trust(endpoint.authorities, None if endpoint.verify else origin_of(endpoint.url))
    return AuthPolicy(
        name, endpoint.url, credentials, frozenset(upstream.realms), upstream.private_network, proxy, trust
    )


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

"""The upstreams, built from their configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from yarl import URL

from mirror.config import Config, CredentialsConfig, EndpointConfig, ProxyConfig, UpstreamConfig
from mirror.proxy.events.observer import Observer
from mirror.proxy.events.upstreams import EndpointUnverified
from mirror.proxy.interfaces.clock import Clock
from mirror.proxy.limits.budgets import Budgets
from mirror.proxy.listing import ListingUpstream
from mirror.proxy.offline import OfflineUpstream
from mirror.proxy.routing import DOCKER_HUB, Routing, UpstreamNames
from mirror.proxy.tasks import Tasks
from mirror.proxy.visibility import View
from mirror.upstream.auth.account import Account
from mirror.upstream.auth.authenticator import AuthPolicy
from mirror.upstream.auth.credential_helper import CredentialHelper
from mirror.upstream.auth.credentials import Credentials, CredentialSource, OrAnybody, PasswordFile
from mirror.upstream.auth.docker_config import DockerConfig, server_name
from mirror.upstream.auth.tokens import TokenServices
from mirror.upstream.base_url import BaseUrl
from mirror.upstream.client import RegistryClient
from mirror.upstream.egress import Egress
from mirror.upstream.endpoint import Endpoint
from mirror.upstream.endpoints import Candidate, Endpoints
from mirror.upstream.health.health import Health
from mirror.upstream.origin import origin_of
from mirror.upstream.probing.findings import Sample, Witness
from mirror.upstream.probing.probe import Probe
from mirror.upstream.proxy import Proxy
from mirror.upstream.trust import Trust
from mirror.upstream.viewer import RegistryViewer

_OWN_HOSTS = {DOCKER_HUB: ("registry-1.docker.io",)}
# Where a registry is that is not found at its name.

SPARES = 4
"""Connections that are opened while a manifest is fetched: engines ask for its configuration and three layers."""


@dataclass(frozen=True, slots=True)
class Outside:
    """What all clients of registries share."""

    egress: Egress
    tokens: TokenServices
    tasks: Tasks
    observer: Observer
    budgets: Budgets
    health: Health


def clients(config: Config, outside: Outside) -> dict[str, ListingUpstream]:
    """Return a client of each upstream, with its credentials if it has any; if the mirror is offline, of none."""
    if config.offline:
        return dict.fromkeys(config.upstreams, OfflineUpstream())
    return {name: _client(name, one, one.accounts, outside, _spares(one)) for name, one in config.upstreams.items()}


def budgets(upstreams: Mapping[str, UpstreamConfig], clock: Clock, observer: Observer) -> Budgets:
    """Return what is left of the limits of all upstreams, of which nothing is known yet."""
    return Budgets({name: upstream.pull_reserve for name, upstream in upstreams.items()}, clock, observer)


def views(config: Config, outside: Outside) -> dict[str, View]:
    """Return how anybody, without credentials, sees the upstreams that serve private content to nobody."""
    guarded = {name: one for name, one in config.upstreams.items() if one.serve_private == "nobody"}
    if config.offline:
        return {name: View(OfflineUpstream(), one.auth_ttl) for name, one in guarded.items()}
    return {name: View(RegistryViewer(_client(name, one, (), outside)), one.auth_ttl) for name, one in guarded.items()}


def endpoints(upstreams: Mapping[str, UpstreamConfig]) -> list[tuple[str, str]]:
    """Return the endpoints there are, each behind the name of its upstream."""
    return [(name, str(endpoint.url)) for name, upstream in upstreams.items() for endpoint in upstream.endpoints]


def unverified(upstreams: Mapping[str, UpstreamConfig]) -> Iterator[EndpointUnverified]:
    """Yield what is to be told of each endpoint whose certificate may be anybody's."""
    for name, upstream in upstreams.items():
        for endpoint in upstream.endpoints:
            if not endpoint.verify:
                yield EndpointUnverified(name, str(endpoint.url))


def probe(
    name: str,
    upstream: UpstreamConfig,
    endpoint: EndpointConfig,
    sample: Sample | None,
    given: CredentialsConfig | None,
    outside: Outside,
) -> Probe:
    """Return what tries this endpoint of an upstream, with the credentials that are given."""
    witness = Witness()
    policy = _policy(name, upstream, endpoint, given, replace(outside, observer=witness))
    return Probe(_base(name, upstream, endpoint), policy, sample, outside.egress, outside.tokens, witness)


def routing(config: Config) -> Routing:
    """Return which upstream a name means."""
    names = (UpstreamNames(name, upstream.aliases, upstream.hosts) for name, upstream in config.upstreams.items())
    return Routing(names, config.default_upstream)


def _spares(upstream: UpstreamConfig) -> int:
    # As read-ahead: half of what may be at work is for what clients have asked for.
    return min(SPARES, upstream.limits.fills // 2) if upstream.reads_ahead else 0


def _client(
    name: str, upstream: UpstreamConfig, credentials: Sequence[CredentialsConfig], outside: Outside, spares: int = 0
) -> RegistryClient:
    """Return a client that asks with one of these credentials, or without any if there are none."""
    registry = upstream.endpoints[-1]
    candidates = []
    for config in upstream.endpoints:
        endpoint = _endpoint(name, upstream, config, credentials, outside)
        pulse = outside.health.pulse(name, config.url, endpoint.ping, is_registry=config.url == registry.url)
        candidates.append(Candidate(endpoint, pulse))
    return RegistryClient(name, Endpoints(candidates, outside.health.budget(name)), outside.observer, spares)


def _endpoint(
    name: str,
    upstream: UpstreamConfig,
    endpoint: EndpointConfig,
    credentials: Sequence[CredentialsConfig],
    outside: Outside,
) -> Endpoint:
    accounts = _accounts(name, upstream, endpoint, credentials, outside)
    timeout = None if endpoint.timeout is None else endpoint.timeout.total_seconds()
    return Endpoint(_base(name, upstream, endpoint), accounts, outside.egress, outside.observer, timeout)


def _accounts(
    name: str,
    upstream: UpstreamConfig,
    endpoint: EndpointConfig,
    credentials: Sequence[CredentialsConfig],
    outside: Outside,
) -> list[Account]:
    accounts = []
    # Nobody pays as anybody who need not: where there are credentials, that account only sees what is public.
    pays = len(credentials) == len(upstream.accounts)
    credentials = [given for given in upstream.accounts_at(endpoint.url) if given in credentials]
    owner = ("the mirror's address", "the mirror's account", "each of the mirror's accounts")[min(2, len(credentials))]
    for number, given in enumerate(credentials or [None]):
        account = "anybody" if given is None else str(number)
        purse = outside.budgets.purse(name, str(endpoint.url), account, owner, pays=pays)
        policy = _policy(name, upstream, endpoint, given, outside)
        accounts.append(Account(policy, outside.tokens, outside.observer, purse))
    return accounts


def _base(name: str, upstream: UpstreamConfig, endpoint: EndpointConfig) -> BaseUrl:
    """Return where to ask; an endpoint that is not the registry itself is told which one is meant, as by containerd.

    A path has said that already: to a mirror, `ghcr.io` before the names is the registry as well.
    """
    own = {name, *upstream.aliases, *_OWN_HOSTS.get(name, ())}
    is_other = origin_of(endpoint.url).authority not in {host.lower() for host in own}
    return BaseUrl(endpoint.url, name if is_other and endpoint.url.path == "/" else None)


def _policy(
    name: str, upstream: UpstreamConfig, endpoint: EndpointConfig, given: CredentialsConfig | None, outside: Outside
) -> AuthPolicy:
    credentials = None
    if given is not None:
        source = _source(given, endpoint.url)
        if endpoint.url != upstream.endpoints[-1].url:
            source = OrAnybody(source)
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
    # As it is written: yarl's `authority` adds the usual port, and no docker configuration has that.
    host = origin_of(endpoint).raw_authority
    if config.docker_config is not None:
        return DockerConfig(config.docker_config, host)
    if config.helper is not None:
        return CredentialHelper(config.helper, server_name(host))
    return PasswordFile(config.username or "", lambda: config.password)

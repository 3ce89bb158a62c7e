"""The registries that are mirrored without configuration: where they are asked, and whose tokens they take."""

from __future__ import annotations

import pytest
from yarl import URL

from mirror import __version__
from mirror.config import Config
from mirror.oci.paths import Name
from mirror.proxy.routing import Routing, UpstreamNames
from mirror.telemetry.metrics.page import Metrics
from mirror.upstream.auth.authenticator import AuthPolicy

UPSTREAMS = Config().upstreams

ENDPOINTS = {
    "docker.io": "https://registry-1.docker.io",
    "ghcr.io": "https://ghcr.io",
    "quay.io": "https://quay.io",
    "gcr.io": "https://gcr.io",
    "registry.k8s.io": "https://registry.k8s.io",
    "public.ecr.aws": "https://public.ecr.aws",
    "mcr.microsoft.com": "https://mcr.microsoft.com",
}

# What each says in its challenge; registry.k8s.io and mcr.microsoft.com have none.
REALMS = {
    "docker.io": "https://auth.docker.io/token",
    "ghcr.io": "https://ghcr.io/token",
    "quay.io": "https://quay.io/v2/auth",
    "gcr.io": "https://gcr.io/v2/token",
    "public.ecr.aws": "https://public.ecr.aws/token/",
}


def test_there_are_seven() -> None:
    assert {name: [str(endpoint.url) for endpoint in upstream.endpoints] for name, upstream in UPSTREAMS.items()} == {
        name: [endpoint] for name, endpoint in ENDPOINTS.items()
    }


@pytest.mark.parametrize("upstream", ENDPOINTS)
def test_each_is_found_by_namespace_and_by_prefix(upstream: str) -> None:
    names = (UpstreamNames(name, section.aliases, section.hosts) for name, section in UPSTREAMS.items())
    routing = Routing(names, Config().default_upstream)
    expected = f"{upstream}/owner/app"
    assert str(routing.route(Name.parse("owner/app"), upstream, "mirror:5000")) == expected
    assert str(routing.route(Name.parse(f"{upstream}/owner/app"), None, "mirror:5000")) == expected


@pytest.mark.parametrize(("upstream", "realm"), REALMS.items())
def test_the_token_service_of_each_may_see_its_credentials(upstream: str, realm: str) -> None:
    policy = AuthPolicy(upstream, UPSTREAMS[upstream].endpoints[0].url)
    assert policy.binds(URL(realm))
    others = {other for name, other in REALMS.items() if name != upstream}
    assert not any(policy.binds(URL(other)) for other in others)


def test_each_is_counted_from_zero() -> None:
    metrics = Metrics(UPSTREAMS, __version__, 1)
    for upstream in ENDPOINTS:
        labels = {"upstream": upstream, "kind": "manifest", "outcome": "hit"}
        assert metrics.registry.get_sample_value("mirror_requests_total", labels) == 0

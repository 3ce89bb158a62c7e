"""What `mirror check` tries: each endpoint with a manifest that is known to be there, or the images it is given."""

from __future__ import annotations

from collections.abc import Sequence

from mirror.composition.checking import Target
from mirror.composition.registries import routing
from mirror.config import Config
from mirror.oci.image_name import ImageName
from mirror.oci.reference import Repository, Tag
from mirror.upstream.probing.findings import Sample

WELL_KNOWN = {
    "https://registry-1.docker.io": Sample(Repository("library/alpine"), Tag("latest")),
    "https://ghcr.io": Sample(Repository("containerd/busybox"), Tag("latest")),
    "https://quay.io": Sample(Repository("prometheus/busybox"), Tag("latest")),
    "https://gcr.io": Sample(Repository("distroless/static"), Tag("latest")),
    "https://registry.k8s.io": Sample(Repository("pause"), Tag("3.9")),
    "https://public.ecr.aws": Sample(Repository("docker/library/alpine"), Tag("latest")),
    "https://mcr.microsoft.com": Sample(Repository("hello-world"), Tag("latest")),
}
"""Small public images, one of each built-in registry; a HEAD for one counts as no pull."""


def all_endpoints(config: Config) -> list[Target]:
    """Return every endpoint, with an image where one is known to be there."""
    return [
        Target(name, endpoint, WELL_KNOWN.get(str(endpoint.url)))
        for name, upstream in config.upstreams.items()
        for endpoint in upstream.endpoints
    ]


def endpoints_of(config: Config, images: Sequence[str]) -> list[Target]:
    """Return the endpoints that these images come from; raises RequestError for what names none."""
    ways = routing(config)
    named = [ImageName.parse(image) for image in images]
    routes = [(ways.route(image.name, None, ""), image.reference) for image in named]
    return [
        Target(route.upstream, endpoint, Sample(route.repository, reference))
        for route, reference in routes
        for endpoint in config.upstreams[route.upstream].endpoints
    ]

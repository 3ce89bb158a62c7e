"""Red Hat's registries (go-containerregistry 617; containerd's getManifestMediaType)."""

from __future__ import annotations

from tests.dialects.dialect import Dialect
from tests.dialects.site import Site
from tests.fakes.answer import Answer
from tests.fakes.cdn import FakeCDN
from tests.fakes.registry import FakeRegistry
from tests.fakes.request import Request


class Untyped(FakeRegistry):
    """Says of manifests that they are text."""

    def reply(self, request: Request) -> Answer:
        """As described."""
        answer = super().reply(request)
        found = answer.status == 200 and "/manifests/" in request.path
        return answer.with_header("Content-Type", "text/plain; charset=utf-8") if found else answer


class Access(Dialect):
    """registry.access.redhat.com: open to everybody."""

    title = "registry.access.redhat.com"
    challenge = "none"
    quirks = "manifests as text/plain"
    upstream = "registry.access.redhat.com"
    private = ""

    def build(self, site: Site) -> None:
        """The registry and where its blobs are."""
        self.registry = site.host(self.upstream, Untyped)
        self.registry.redirect_blobs(site.host("cdn01.quay.io", FakeCDN))

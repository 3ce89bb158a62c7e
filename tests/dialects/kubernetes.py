"""registry.k8s.io (kubernetes/registry.k8s.io, request-handling.md; promo-tools 1945)."""

from __future__ import annotations

import re

from tests.dialects.dialect import Dialect
from tests.dialects.site import Site
from tests.fakes import faults
from tests.fakes.answer import Answer
from tests.fakes.cdn import FakeCDN
from tests.fakes.redirects import Redirect
from tests.fakes.registry import FakeRegistry
from tests.fakes.request import Request
from tests.fakes.script import Fault

BACKEND = "europe-west3-docker.pkg.dev"
BUCKET = "prod-registry-k8s-io-eu-central-1.s3.dualstack.eu-central-1.amazonaws.com"
_CONTENT = re.compile(r"/v2/(.+/(?:manifests|tags|blobs)/.+)")


class Front(FakeRegistry):
    """Holds nothing: sends clients on, for another repository of another host, HEAD as well as GET."""

    def reply(self, request: Request) -> Answer:
        """A redirect for everything but referrers, of which it knows nothing."""
        wanted = _CONTENT.fullmatch(request.raw_path)
        if wanted is None:
            return super().reply(request)
        query = f"?{request.query}" if request.query else ""
        location = f"https://{BACKEND}/v2/k8s-artifacts-prod/images/{wanted[1]}{query}"
        return Answer(307, (("Location", location),))


class Kubernetes(Dialect):
    """No accounts and no tokens; the host that content comes from calls it by another name.

    That the backend wants no token of who was sent there is assumed; it is so for clients, which send none.
    """

    title = "registry.k8s.io"
    challenge = "none"
    quirks = "manifests, lists and blobs redirected to another name at another host, referrers 404"
    upstream = "registry.k8s.io"
    private = ""

    def build(self, site: Site) -> None:
        """The front, what is behind it, and a bucket."""
        self._front = site.host("registry.k8s.io", Front)
        self.registry = site.host(BACKEND, FakeRegistry)
        self.registry.redirect_blobs(site.host(BUCKET, FakeCDN), Redirect(status=307))
        self._front.supports_referrers = False

    @property
    def front(self) -> FakeRegistry:
        """Another host than the one that holds anything."""
        return self._front

    def hold(self, repository: str) -> None:
        """Under the name that the backend knows it by."""
        super().hold(f"k8s-artifacts-prod/images/{repository}")
        self.registry.absent("/v2/k8s-artifacts-prod/images/no/such/*")
        self._front.repositories = {repository: self.registry.repositories[f"k8s-artifacts-prod/images/{repository}"]}
        self._front.absent("/v2/no/such/*")

    def throttled(self) -> Fault:
        """Plain text (assumed)."""
        return faults.answer_with(429, b"Too Many Requests\n", "text/plain; charset=utf-8")

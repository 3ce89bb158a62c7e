"""Quay (quay PR 1906 and 4133; docker-registry-proxy PR 33)."""

from __future__ import annotations

from tests.dialects.dialect import SECRET, Dialect
from tests.dialects.house import House
from tests.dialects.site import Site
from tests.fakes import faults
from tests.fakes.auth import TokenAuth
from tests.fakes.cdn import FakeCDN
from tests.fakes.redirects import Redirect
from tests.fakes.script import Fault

_PAGE = b"<html><head><title>429 Too Many Requests</title></head><body><center>nginx</center></body></html>"


class Quay(Dialect):
    """Challenges on one line, Basic first; robots are called `owner+name`; signed addresses live for ten minutes.

    What does not exist is a 401, and being throttled a page of its front server (assumed).
    """

    title = "quay.io"
    challenge = "Basic, Bearer"
    tokens_from = "itself, /v2/auth"
    quirks = "two challenges in a line, robots named a+b, single-use CDN addresses, 429 in HTML"
    upstream = "quay.io"
    user = "team+ci"
    may_see = ("quay.io/v2/auth",)
    unknown = (403, "DENIED")

    def build(self, site: Site) -> None:
        """The registry and where its blobs are."""
        self.registry = house = site.host("quay.io", House)
        house.tokens.path = "/v2/auth"
        house.tokens.accounts = {self.user: SECRET}
        house.tokens.restrict(self.private, self.user)
        house.tokens.restrict("no/such")
        house.auth = TokenAuth(
            house.tokens,
            challenge='Basic realm="quay.io", Bearer realm="{realm}",service="{service}",scope="{scope}"',
        )
        cdn = site.host("cdn01.quay.io", FakeCDN)
        cdn.single_use = True
        house.redirect_blobs(cdn, Redirect(status=302))

    def throttled(self) -> Fault:
        """A page, and no Retry-After."""
        return faults.answer_with(429, _PAGE, "text/html")

"""Harbor, and Tencent Cloud, which is made of it (goharbor/harbor 20764 and 22609; Harbor's adapter for Tencent)."""

from __future__ import annotations

import re
import ssl

from tests.dialects.dialect import SECRET, Dialect, Referrers
from tests.dialects.house import House
from tests.dialects.site import Site
from tests.fakes import faults
from tests.fakes.answer import Answer, error
from tests.fakes.cdn import FakeCDN
from tests.fakes.journal import Journal
from tests.fakes.redirects import Redirect
from tests.fakes.request import Request
from tests.fakes.script import Fault

_OFFICIAL = re.compile(r"/v2/(dockerhub)/([^/]+)/((?:manifests|blobs|tags|referrers)/.+)")
_BLOB = re.compile(r"/v2/.+/blobs/.+")


class ProxyProject(House):
    """A Harbor whose projects mirror others.

    A blob that it has not fetched yet is a 404 to HEAD and there for GET; the names of official images are completed
    by a redirect; what is not there has a code of its own.
    """

    def __init__(self, journal: Journal, name: str, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(journal, name, tls)
        self.fetched: set[str] = set()

    def reply(self, request: Request) -> Answer:
        """As described."""
        if official := _OFFICIAL.fullmatch(request.raw_path):
            return Answer(301, (("Location", f"/v2/{official[1]}/library/{official[2]}/{official[3]}"),))
        answer = super().reply(request)
        if answer.status == 200 and _BLOB.fullmatch(request.path):
            if request.method == "HEAD" and request.path not in self.fetched:
                return error(404, "NOT_FOUND", "resource not found")
            self.fetched.add(request.path)
        return answer


class Harbor(Dialect):
    """Robots are called `robot$name`; tokens come from a path of its own."""

    title = "Harbor"
    challenge = "Bearer"
    tokens_from = "itself, /service/token"
    quirks = "robot$ users, HEAD 404 for blobs not fetched yet, 301 to library/, code NOT_FOUND"
    upstream = "harbor.example.com"
    repository = "dockerhub/library/app"
    private = "team/private"
    user = "robot$ci"
    may_see = ("harbor.example.com/service/token",)
    referrers = Referrers.API
    unknown = (403, "DENIED")

    def build(self, site: Site) -> None:
        """One host."""
        self.registry = house = self.house = site.host(self.upstream, ProxyProject)
        house.tokens.path = "/service/token"
        house.tokens.service = "harbor-registry"
        house.tokens.accounts = {self.user: SECRET}
        house.tokens.restrict(self.private, self.user)
        house.tokens.restrict("no/such")

    def throttled(self) -> Fault:
        """Its upstream is throttled, and it says so (assumed)."""
        return faults.answer_with(429, b'{"errors":[{"code":"TOOMANYREQUESTS","message":"http status code: 429"}]}')


class Tencent(Harbor):
    """Tencent Cloud: users are numbers, blobs are in buckets."""

    title = "Tencent Cloud"
    quirks = "a Harbor; numbers for users, blobs 307 to a bucket"
    upstream = "example.tencentcloudcr.com"
    repository = "team/app"
    user = "100012345678"
    may_see = ("example.tencentcloudcr.com/service/token",)

    def build(self, site: Site) -> None:
        """With a bucket."""
        super().build(site)
        bucket = site.host("example-1300000000.cos.ap-guangzhou.myqcloud.com", FakeCDN)
        self.registry.redirect_blobs(bucket, Redirect(status=307))

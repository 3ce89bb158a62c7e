"""Alibaba Cloud (challenges as quoted in public repositories; protocol.md, 1.13 and 1.14)."""

from __future__ import annotations

from tests.dialects.dialect import SECRET, Dialect
from tests.dialects.site import Site
from tests.fakes.auth import TokenAuth
from tests.fakes.cdn import FakeCDN
from tests.fakes.redirects import Redirect
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService


class Alibaba(Dialect):
    """Tokens come from `dockerauth` of the same region; the service holds colons.

    A token without the right to pull for what is not there, as the distribution project's registry, is assumed.
    """

    title = "Alibaba Cloud"
    challenge = "Bearer"
    tokens_from = "dockerauth.<region>.aliyuncs.com (built in)"
    quirks = "colons in the service, tokens from another host"
    upstream = host = "registry.cn-hangzhou.aliyuncs.com"
    region = "cn-hangzhou"
    user = "team@example"
    may_see = ("dockerauth.cn-hangzhou.aliyuncs.com/auth",)
    unknown = (403, "DENIED")

    def build(self, site: Site) -> None:
        """Three hosts."""
        self.tokens = site.host("dockerauth.cn-hangzhou.aliyuncs.com", FakeTokenService)
        self.tokens.service = f"registry.aliyuncs.com:{self.region}:26842"
        self.tokens.path = "/auth"
        self.tokens.accounts = {self.user: SECRET}
        self.tokens.restrict(self.private, self.user)
        self.tokens.restrict("no/such")
        self.registry = site.host(self.host, FakeRegistry)
        self.registry.auth = TokenAuth(self.tokens)
        bucket = site.host("aliregistry.oss-cn-hangzhou.aliyuncs.com", FakeCDN)
        self.registry.redirect_blobs(bucket, Redirect(status=307))


class PersonalEdition(Alibaba):
    """A host of one's own in one region, tokens from another one: that has to be said in `realms`."""

    title = "Alibaba Cloud, personal"
    tokens_from = "dockerauth.<other region>.aliyuncs.com (realms)"
    quirks = "tokens from another region"
    upstream = host = "crpi-example.cn-beijing.personal.cr.aliyuncs.com"
    region = "cn-beijing"

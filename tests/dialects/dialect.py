"""What a dialect is: a registry with its habits, what the mirror is told of it, and who may see its secret."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, quote_plus

from tests.dialects.examples import example
from tests.dialects.site import Site
from tests.fakes import content, faults
from tests.fakes.content import FakeImage, FakeIndex
from tests.fakes.credentials import basic_credentials
from tests.fakes.journal import Entry
from tests.fakes.registry import FakeRegistry
from tests.fakes.script import Fault

PUBLIC = content.index(content.image(1, seed="dialects/amd64"), content.image(1, seed="dialects/arm64"))
OTHER = content.image(2, seed="dialects/other", docker=True)
PRIVATE = content.image(1, seed="dialects/private")
SIGNATURE = content.image(1, seed="dialects/signature", subject=PUBLIC.manifest)
PLAIN_SIGNATURE = content.image(1, seed="dialects/signature")
SECRET, WRONG = "canary-5ecret/+=", "canary-wr0ng"

TOO_MANY = '{"errors":[{"code":"TOOMANYREQUESTS","message":"%s"}]}'


class Referrers(StrEnum):
    """How a registry tells what refers to an image."""

    API = "api"
    TAG = "tag"
    NONE = "not at all"


class Dialect(ABC):
    """One row of the table. Everything here is what most registries do; the rest is what each is for.

    `title`, `challenge`, `tokens_from` and `quirks` are for people. `upstream` is the registry's name, `repository`
    what everybody may read, `private` what only `user` may, empty where the registry has nothing like it. `may_see` are
    the places (host and path, patterns) that get the secret; no other does. `unknown` is how the mirror answers for a
    repository that does not exist.
    """

    title: ClassVar[str]
    challenge: ClassVar[str]
    tokens_from: ClassVar[str] = "-"
    quirks: ClassVar[str]

    upstream: ClassVar[str]
    repository: ClassVar[str] = "team/app"
    private: ClassVar[str] = "team/private"
    user: ClassVar[str] = "ci"
    may_see: ClassVar[tuple[str, ...]] = ()
    referrers: ClassVar[Referrers] = Referrers.TAG
    unknown: ClassVar[tuple[int, str]] = (404, "MANIFEST_UNKNOWN")

    registry: FakeRegistry

    @property
    def front(self) -> FakeRegistry:
        """The host that the mirror asks first."""
        return self.registry

    def __init__(self, site: Site, folder: Path) -> None:
        self.folder = folder
        self.build(site)
        for name in filter(None, (self.repository, self.private)):
            self.hold(name)

    @abstractmethod
    def build(self, site: Site) -> None:
        """Make the hosts, `registry` among them, and their rules."""

    def throttled(self) -> Fault:
        """Return what becomes of an answer of a registry that has had enough."""
        return faults.status(429)

    def hold(self, repository: str) -> None:
        """Have the registry hold two images and a signature of one."""
        self.registry.add_image(repository, "1.0", PUBLIC)
        self.registry.add_image(repository, "2.0", OTHER)
        self.registry.supports_referrers = self.referrers is Referrers.API
        if self.referrers is Referrers.API:
            self.registry.add_image(repository, None, SIGNATURE)
        elif self.referrers is Referrers.TAG:
            self.registry.add_image(repository, fallback_tag(PUBLIC), content.index(PLAIN_SIGNATURE))
        self.registry.absent(f"/v2/{repository}/manifests/*")
        self.registry.absent("/v2/no/such/*")

    # What the mirror is told.

    def configured(self, secret: str | None) -> dict[str, Any]:
        """Return the fields of the upstream: those of the example in config.yaml, with this secret or none."""
        fields = example(self.upstream)
        recommended = fields.pop("credentials", None)
        fields["private_network"] = True
        fields["read_ahead"] = False
        if secret is not None:
            fields["credentials"] = self.credentials(secret)
            fields["serve_private"] = "everyone"
            assert recommended is None or set(recommended) == set(fields["credentials"])
        return fields

    def credentials(self, secret: str) -> dict[str, str]:
        """Return the `credentials` field, and see to it that they are there."""
        file = self.folder / "password"
        file.write_text(f"{secret}\n")
        return {"username": self.user, "password_file": str(file)}

    # What is told of them.

    def is_private(self, repository: str) -> bool:
        """Tell whether this repository shows nothing to who has no account."""
        return repository == self.private

    def is_secret_for(self, entry: Entry) -> bool:
        """Tell whether this request went to where the secret may go."""
        return any(fnmatchcase(f"{entry.host}{entry.path}", pattern) for pattern in self.may_see)


def fallback_tag(image: FakeImage | FakeIndex) -> str:
    """Return the tag under which signatures are found where there is no API for them."""
    return image.digest.replace(":", "-")


def shows(entry: Entry, *secrets: str) -> bool:
    """Tell whether a request holds one of these in any form."""
    user, password = basic_credentials(entry.header("Authorization")) or ("", "")
    everything = [user, password, entry.path, entry.query, entry.body.decode(), *(value for _, value in entry.headers)]
    encoded = {quoted for secret in secrets for quoted in _spellings(secret)}
    return any(secret in part for secret in encoded for part in everything)


def _spellings(secret: str) -> set[str]:
    return {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}

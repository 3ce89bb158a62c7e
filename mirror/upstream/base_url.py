"""The base URL of an endpoint: an origin, and a path that goes before the names of its repositories. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from yarl import URL

from mirror.errors import InvalidName, UpstreamInvalid
from mirror.oci.reference import Repository
from mirror.upstream.origin import origin_of


@dataclass(frozen=True, slots=True)
class BaseUrl:
    """`https://harbor.example/hub`, for one: there, library/alpine is called hub/library/alpine.

    `namespace` is the registry that is meant, where the endpoint may serve several: it is told with each request.
    """

    url: URL
    namespace: str | None = None

    @property
    def origin(self) -> URL:
        """What credentials are bound to."""
        return origin_of(self.url)

    def named(self, repository: Repository) -> Repository:
        """Return what a repository is called here; raises UpstreamInvalid if that is too long for a name."""
        prefix = self.url.raw_path.strip("/")
        if not prefix:
            return repository
        try:
            return Repository(f"{prefix}/{repository}")
        except InvalidName as error:
            raise UpstreamInvalid(f"the path of the endpoint makes the name too long: {error}") from None

    def target(self, path: str, query: str = "") -> URL:
        """Return the address of a path below `/v2/`; of a namespace in the query, this one is what counts."""
        if self.namespace is not None:
            rest = [part for part in query.split("&") if part and part.partition("=")[0] != "ns"]
            query = "&".join((*rest, f"ns={quote(self.namespace, safe='')}"))
        url = self.origin.with_path(f"/v2/{path}", encoded=True)
        return URL(f"{url}?{query}", encoded=True) if query else url

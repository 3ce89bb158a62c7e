"""The host that blobs are redirected to: signed addresses, no registry headers, no credentials wanted."""

import ssl
from dataclasses import dataclass
from zlib import crc32

from tests.fakes.answer import Answer, error
from tests.fakes.journal import Journal
from tests.fakes.origin import Origin
from tests.fakes.ranges import ranged
from tests.fakes.redirects import Redirect
from tests.fakes.request import Request

PREFIX = "/objects/"


@dataclass(frozen=True, slots=True)
class Document:
    """Content as a CDN knows it."""

    data: bytes
    media_type: str


class FakeCDN(Origin):
    """Serves what registries published, at addresses they signed; anything with Authorization gets 400.

    Attributes to set: `supports_ranges`; `allows_head`; `single_use` (each address expires once its content was sent).
    """

    def __init__(self, journal: Journal | None = None, name: str = "cdn", tls: ssl.SSLContext | None = None) -> None:
        super().__init__(name, journal, tls)
        self.supports_ranges = True
        self.allows_head = True
        self.single_use = False
        self._documents: dict[str, Document] = {}
        self._signatures: dict[str, Redirect] = {}
        self._issued: set[str] = set()
        self._serial = 0

    def publish(self, key: str, document: Document, redirect: Redirect) -> str:
        """Take the document and sign an address for it: a path with a query."""
        self._documents[key] = document
        self._serial += 1
        # Percent signs that a client must hand back as they are: re-quoting breaks a real signature too.
        signature = f"s%2Fg%2B{self._serial}%3D"
        self._signatures[signature] = redirect
        self._issued.add(signature)
        return f"{PREFIX}{key}?sig={signature}&hops={redirect.further}"

    def expire_signatures(self) -> None:
        """Addresses given out so far answer 403 from now on."""
        self._signatures.clear()

    def reply(self, request: Request) -> Answer:
        if request.header("Authorization") is not None:
            self.journal.object(self.name, request, "Authorization must not travel here")
            return error(400, "DENIED", "only one auth mechanism allowed")
        return self.serve(request)

    def serve(self, request: Request) -> Answer:
        """The document at a signed address, or the next hop towards it."""
        key = request.path.removeprefix(PREFIX)
        document = self._documents.get(key)
        if document is None or request.method not in {"GET", "HEAD"}:
            return self.unknown()
        query = dict(part.partition("=")[::2] for part in request.query.split("&"))
        redirect = self._signatures.get(query.get("sig", ""))
        if redirect is None or (request.method == "HEAD" and not self.allows_head):
            return self._refused(request, query.get("sig", ""))
        if query["hops"] != "0":
            return self._next_hop(request, query, redirect)
        if self.single_use:
            del self._signatures[query["sig"]]
        return self._content(document, request)

    def _content(self, document: Document, request: Request) -> Answer:
        etag = f'"cdn-{len(document.data)}-{crc32(document.data):x}"'
        headers = (("Content-Type", document.media_type), ("ETag", etag), ("Accept-Ranges", "bytes"))
        answer = Answer(200, headers, document.data)
        return ranged(answer, request) if self.supports_ranges else answer

    def _next_hop(self, request: Request, query: dict[str, str], redirect: Redirect) -> Answer:
        left = query["hops"] if query["hops"] == "endless" else str(int(query["hops"]) - 1)
        location = f"{self.url}{request.raw_path}?sig={query['sig']}&hops={left}"
        return Answer(redirect.status, (("Location", location),))

    def _refused(self, request: Request, signature: str) -> Answer:
        if signature not in self._issued:
            self.journal.object(self.name, request, "the signed address was altered on the way")
        return Answer(403, (("Content-Type", "application/xml"),), b"<Error><Code>AccessDenied</Code></Error>")

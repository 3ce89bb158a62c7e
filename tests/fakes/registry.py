"""A fake registry: the distribution API over content held in memory, with one way in for each trouble."""

import re
import ssl
from fnmatch import fnmatchcase
from typing import Literal

from tests.fakes.accept import negotiate
from tests.fakes.answer import JSON, Answer, error
from tests.fakes.auth import Anonymous, Auth
from tests.fakes.cdn import PREFIX, Document, FakeCDN
from tests.fakes.content import FakeBlob, FakeImage, FakeIndex, FakeManifest
from tests.fakes.journal import Journal
from tests.fakes.listing import Pages, referrers_page, tag_page
from tests.fakes.origin import Origin
from tests.fakes.pull_limit import ADDRESS, PullLimit
from tests.fakes.ranges import ranged, unmodified
from tests.fakes.redirects import Redirect
from tests.fakes.repository import FakeRepository
from tests.fakes.request import Request

Kind = Literal["manifests", "blobs"]
_TARGET = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs|referrers|tags)/(?P<reference>[^/]+)")


class FakeRegistry(Origin):
    """Holds what tests add, answers as a registry does, and objects to all it was not prepared for.

    Attributes to set: `auth`; `headers` (sent with every manifest and blob answer, for example rate
    limits); `etags`, what its entity tags have before the digest; `supports_ranges`; `supports_referrers`;
    `pages`, how lists are cut; `pull_limit`, who may have how much.
    """

    def __init__(
        self,
        journal: Journal | None = None,
        auth: Auth | None = None,
        name: str = "registry",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(name, journal, tls)
        self.auth: Auth = auth if auth is not None else Anonymous()
        self.headers: dict[str, str] = {}
        self.etags = ""
        self.supports_ranges = True
        self.supports_referrers = True
        self.pages = Pages()
        self.pull_limit: PullLimit | None = None
        self.repositories: dict[str, FakeRepository] = {}
        self._absent: list[str] = []
        self._redirects: dict[Kind, tuple[FakeCDN, Redirect]] = {}

    # Content

    def add_image(self, repository: str, tag: str | None, content: FakeImage | FakeIndex) -> None:
        """Add an image or index with all it names, under a tag if one is given."""
        held = self._repository(repository)
        held.add(content)
        if tag is not None:
            held.tags[tag] = content.digest

    def move_tag(self, repository: str, tag: str, content: FakeImage | FakeIndex) -> None:
        self.add_image(repository, tag, content)

    def remove_tag(self, repository: str, tag: str) -> None:
        """Delete a tag; a request for it is no surprise from now on."""
        del self._repository(repository).tags[tag]
        self.absent(f"/v2/{repository}/manifests/{tag}")

    def remove_repository(self, repository: str) -> None:
        del self.repositories[repository]
        self.absent(f"/v2/{repository}/*")

    def put_blob(self, repository: str, blob: FakeBlob) -> None:
        self._repository(repository).blobs[blob.digest] = blob

    def put_manifest(self, repository: str, manifest: FakeManifest, tag: str | None = None) -> None:
        """Add a bare manifest (one that lies about its digest, or names blobs nobody has)."""
        held = self._repository(repository)
        held.manifests[manifest.digest] = manifest
        if tag is not None:
            held.tags[tag] = manifest.digest

    def remove_blob(self, repository: str, digest: str) -> None:
        del self._repository(repository).blobs[digest]
        self.absent(f"/v2/{repository}/blobs/{digest}")

    def absent(self, path: str) -> None:
        """Declare that 404 for this path (a pattern) is what the test wants."""
        self._absent.append(path)

    # Ways of serving

    def redirect_blobs(self, cdn: FakeCDN, redirect: Redirect | None = None) -> None:
        """Serve blobs by a redirect to this CDN."""
        self._redirects["blobs"] = (cdn, redirect or Redirect())

    def redirect_manifests(self, cdn: FakeCDN, redirect: Redirect | None = None) -> None:
        self._redirects["manifests"] = (cdn, redirect or Redirect())

    def revoke_tokens(self) -> None:
        """Live tokens get 401 invalid_token from now on."""
        self.auth.revoke()

    # Requests

    def reply(self, request: Request) -> Answer:
        if request.path.startswith(PREFIX):
            return self._object(request)
        return self._api(request).with_header("Docker-Distribution-Api-Version", "registry/2.0")

    def _api(self, request: Request) -> Answer:
        target = _TARGET.fullmatch(request.path)
        if target is None and request.path != "/v2/":
            return self.unknown()
        refusal = self.auth.refusal(request, target["name"] if target else None)
        if refusal is not None:
            return refusal
        if request.method not in {"GET", "HEAD"}:
            return self.unknown("UNSUPPORTED", 405)
        return self._found(request, target) if target else Answer(200, (("Content-Type", JSON),), b"{}")

    def spoilable(self, request: Request, answer: Answer) -> bool:
        """A challenge is a step of the protocol: it uses up no fault."""
        return answer.header("WWW-Authenticate") is None

    def _found(self, request: Request, target: re.Match[str]) -> Answer:
        repository = self.repositories.get(target["name"])
        if repository is None:
            return self._missing(request, "NAME_UNKNOWN" if target["kind"] == "tags" else None)
        match target["kind"]:
            case "manifests":
                return self._manifest(request, repository, target["reference"])
            case "blobs":
                return self._blob(request, repository, target["reference"])
            case "referrers":
                return self._referrers(request, repository, target["reference"])
            case _:
                return tag_page(target["name"], list(repository.tags), request, self.pages, self.url)

    def _manifest(self, request: Request, repository: FakeRepository, reference: str) -> Answer:
        found = repository.find_manifest(reference)
        if found is None:
            return self._missing(request)
        chosen = negotiate(found, repository, request, by_tag=reference in repository.tags)
        if chosen is None:
            return self.unknown("MANIFEST_INVALID")
        if isinstance(chosen, Answer):
            return chosen
        document = Document(chosen.data, chosen.media_type)
        moved = self._moved("manifests", request, chosen.digest, document)
        answer = moved or unmodified(self._content(chosen.digest, document), request)
        if self.pull_limit is None:
            return answer
        return self.pull_limit.judge(request, self.auth.account(request) or ADDRESS, answer)

    def _blob(self, request: Request, repository: FakeRepository, digest: str) -> Answer:
        found = repository.blobs.get(digest)
        if found is None:
            return self._missing(request)
        document = Document(found.data, "application/octet-stream")
        if moved := self._moved("blobs", request, digest, document):
            return moved
        answer = self._content(digest, document)
        if not self.supports_ranges:
            return unmodified(answer, request)
        answer = unmodified(answer.with_header("Accept-Ranges", "bytes"), request)
        return ranged(answer, request) if answer.status == 200 else answer

    def _referrers(self, request: Request, repository: FakeRepository, digest: str) -> Answer:
        if not self.supports_referrers:
            return Answer(404, (("Content-Type", "text/plain; charset=utf-8"),), b"404 page not found\n")
        referrers = {str(one["digest"]): one for one in repository.referrers(digest)}
        return referrers_page(referrers, request, self.pages, self.url)

    def _content(self, digest: str, document: Document) -> Answer:
        headers = (
            ("Content-Type", document.media_type),
            ("Docker-Content-Digest", digest),
            ("ETag", f'"{self.etags}{digest}"'),
            *self.headers.items(),
        )
        return Answer(200, headers, document.data)

    def _moved(self, kind: Kind, request: Request, digest: str, document: Document) -> Answer | None:
        if kind not in self._redirects:
            return None
        cdn, redirect = self._redirects[kind]
        path = cdn.publish(digest, document, redirect)
        origins = {"absolute": cdn.url, "network": f"//{cdn.host}", "relative": ""}
        location = origins[redirect.form] + path
        if redirect.location is not None:
            location = redirect.location.replace("{path}", request.raw_path)
        answer = Answer(redirect.status, tuple(self.headers.items()))
        return answer if redirect.missing else answer.with_header("Location", location)

    def _object(self, request: Request) -> Answer:
        """An object at this registry's own address: where relative redirects lead."""
        for cdn, redirect in self._redirects.values():
            if redirect.form == "relative":
                return cdn.serve(request)
        return self.unknown()

    def _missing(self, request: Request, code: str | None = None) -> Answer:
        code = code or ("BLOB_UNKNOWN" if "/blobs/" in request.path else "MANIFEST_UNKNOWN")
        if any(fnmatchcase(request.path, pattern) for pattern in self._absent):
            return error(404, code, "not in this registry")
        return self.unknown(code)

    def _repository(self, name: str) -> FakeRepository:
        return self.repositories.setdefault(name, FakeRepository())

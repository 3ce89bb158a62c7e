"""One request and the answer to it: what handlers read, annotate and build responses with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web

from mirror.errors import PreconditionFailed
from mirror.oci.digest import Digest
from mirror.oci.error_codes import ErrorCode, error_body
from mirror.proxy.cache_status import CacheStatus, Outcome
from mirror.proxy.events.requests import RequestFinished
from mirror.server.conditions import Verdict, etag_of, judge


def _common_headers() -> dict[str, str]:
    return {
        "Docker-Distribution-Api-Version": "registry/2.0",
        "X-Content-Type-Options": "nosniff",
        "Server": "mirror",
    }


_OF_THE_BODY = ("Content-Type", "Accept-Ranges")


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request, the note that will be counted and logged, and headers that every answer to it carries."""

    request: web.BaseRequest
    note: RequestFinished
    headers: dict[str, str] = field(default_factory=_common_headers)

    @property
    def path(self) -> str:
        """The path as it stood in the request line."""
        return self.request.raw_path.partition("?")[0]

    @property
    def query(self) -> str:
        """What stood behind the path, empty without a question mark."""
        return self.request.raw_path.partition("?")[2]

    @property
    def is_head(self) -> bool:
        """Tell whether only the head of the answer is wanted."""
        return self.request.method == "HEAD"

    def record(self, status: CacheStatus) -> None:
        """Note what the cache did, for the client and for the operator."""
        self.headers["Cache-Status"] = str(status)
        self.note.outcome, self.note.detail = status.outcome, status.detail
        self.note.source = "upstream" if status.outcome in (Outcome.MISS, Outcome.COLLAPSED) else "cache"

    def respond(self, body: bytes, headers: Mapping[str, str], status: int = 200) -> web.Response:
        """Return a complete answer; aiohttp leaves the body of an answer to HEAD out, and its length in."""
        self.note.sent = 0 if self.is_head else len(body)
        return web.Response(status=status, body=body, headers={**self.headers, **headers})

    def respond_unless_held(self, body: bytes, headers: Mapping[str, str]) -> web.Response:
        """Return a complete answer, or a 304 where the client has it; raises PreconditionFailed if it is unwanted.

        What is told beside the body is a part of what the client has: there may be a next page since.
        """
        etag = etag_of(Digest.of(body + headers.get("Link", "").encode()))
        tagged = {**headers, "ETag": etag}
        verdict = judge(self.request.headers, etag)
        return self.respond(body, tagged) if verdict is Verdict.SEND else self.respond_without(verdict, tagged)

    def respond_without(self, verdict: Verdict, headers: Mapping[str, str]) -> web.Response:
        """Return a 304 where what would be sent with these headers is held; raises PreconditionFailed if unwanted."""
        if verdict is Verdict.UNWANTED:
            raise PreconditionFailed("the content is not what If-Match names")
        told = {name: value for name, value in headers.items() if name not in _OF_THE_BODY}
        return web.Response(status=304, headers={**self.headers, **told})

    def respond_json(self, body: bytes, status: int = 200) -> web.Response:
        """Return a complete answer in JSON."""
        return self.respond(body, {"Content-Type": "application/json"}, status)

    def refuse(self, status: int, code: ErrorCode, message: str) -> web.Response:
        """Return an answer whose body is the spec's error document."""
        self.headers.setdefault("Cache-Status", "mirror")
        return self.respond_json(error_body(code, message), status)

    def stream(self, headers: Mapping[str, str]) -> web.StreamResponse:
        """Return an answer whose body is sent separately."""
        return web.StreamResponse(headers={**self.headers, **headers})

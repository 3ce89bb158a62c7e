"""A registry as a client: manifests, blobs and lists from one upstream (see listing.ListingUpstream)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import aiohttp

from mirror.errors import (
    BlobUnknown,
    DigestMismatch,
    ManifestUnknown,
    NameUnknown,
    ReferrersUnknown,
    UpstreamInvalid,
)
from mirror.oci.descriptor import Descriptor, Manifest
from mirror.oci.digest import Digest
from mirror.oci.media_types import MANIFEST_TYPES, MAX_MANIFEST, OCI_INDEX, manifest_type, without_parameters
from mirror.oci.reference import Reference, Repository, Tag, Variant
from mirror.oci.referrers import parse_referrers
from mirror.oci.tags import in_order, parse_tags
from mirror.proxy.cache_status import Kind
from mirror.proxy.deadline import answer_within
from mirror.proxy.events.fills import DigestMismatched
from mirror.proxy.events.observer import Observer
from mirror.proxy.events.upstreams import UpstreamReceived
from mirror.proxy.interfaces.upstream import WHOLE, Rest
from mirror.upstream.answers import RegistryRequest, declared_digest, is_page, read_capped
from mirror.upstream.endpoints import Candidate, Endpoints
from mirror.upstream.pages import Walk
from mirror.upstream.resume import range_headers, resumed_size
from mirror.upstream.transfer import ResponseTransfer

T = TypeVar("T")

MAX_TAGS = 8 * 1024 * 1024
"""Largest list of tags, in bytes of all its pages: 100,000 tags of usual length take a quarter of it."""

_PAGE = "n=1000"
# As many as any registry gives at a time; those with a smaller limit give as many as they like.

# Some registries know no HEAD for manifests; a GET tells as much.
_HEAD_ANSWERS = frozenset({200, 405})

# Artifactory says the latter of an API that it does not have (go-containerregistry#1962).
_NO_SUCH_LIST = frozenset({404, 406})

# The whole where the range was ignored or the object is another one, a part, or that there is no such part.
_RANGE_ANSWERS = frozenset({200, 206, 416})


class RegistryClient:
    """One upstream: its endpoints are tried in order until one answers; a further attempt begins with the next.

    Beside the request for a manifest, `spares` connections are opened for its blobs.
    """

    def __init__(self, name: str, endpoints: Endpoints, observer: Observer, spares: int = 0) -> None:
        self._name = name
        self._endpoints = endpoints
        self._observer = observer
        self._spares = spares

    async def head_manifest(self, repository: Repository, reference: Reference) -> Descriptor | None:
        """Ask what the reference points to, which costs no pull on Docker Hub."""

        async def told(response: aiohttp.ClientResponse) -> Descriptor | None:
            return _described(response, reference)

        found = await self._ask(_manifest("HEAD", repository, reference, _HEAD_ANSWERS), told)
        if found is None and isinstance(reference, Digest):
            # That it knows no HEAD is not a yes, nor is a page to log in on; whether it has the manifest here, and
            # gives it, a GET must tell.
            return (await self.get_manifest(repository, reference)).descriptor
        return found

    async def get_manifest(self, repository: Repository, reference: Reference) -> Manifest:
        """Fetch a manifest; by digest, its bytes have it, and by tag, they have what upstream declared."""

        async def verified(response: aiohttp.ClientResponse) -> Manifest:
            data = await read_capped(response, MAX_MANIFEST)
            self._received(len(data))
            declared = declared_digest(response)
            expected = reference if isinstance(reference, Digest) else declared or Digest.of(data)
            if not expected.verifies(data):
                self._observer.notify(DigestMismatched(self._name, expected))
                raise DigestMismatch("upstream sent a manifest that does not have its digest")
            return Manifest(expected, manifest_type(response.headers.get("Content-Type", ""), data), data)

        request = replace(_manifest("GET", repository, reference), spares=self._spares)
        return await self._ask(request, verified)

    async def head_blob(self, repository: Repository, digest: Digest) -> int | None:
        """Ask for the size of a blob; a page for people, or another digest, is no answer.

        A 404 is not believed at once: Harbor has it for HEAD where a blob is still to be fetched, and the blob for GET.
        """

        async def told(response: aiohttp.ClientResponse) -> int | None:
            response.release()
            declared = declared_digest(response)
            differs = declared is not None and declared.algorithm == digest.algorithm and declared != digest
            if differs or is_page(response):
                raise UpstreamInvalid("upstream answers with something else than the blob")
            return response.content_length

        try:
            return await self._ask(_blob("HEAD", repository, digest), told)
        except BlobUnknown:
            return await self._ask(_blob("GET", repository, digest), told)

    async def get_blob(self, repository: Repository, digest: Digest, rest: Rest = WHOLE) -> ResponseTransfer:
        """Begin to fetch a blob, or the rest of it; where upstream has no sensible rest to give, the whole again.

        Always asked through the registry: the signed address it led to before may have expired.
        """
        request = _blob("GET", repository, digest)

        async def begun(candidate: Candidate, seconds: float) -> ResponseTransfer:
            async with answer_within(seconds):
                is_whole = not rest.start and rest.stop is None
                resumed = None if is_whole else await self._resume(candidate, request, rest)
                if resumed is not None:
                    return resumed
                response = await candidate.endpoint.request(request)
                return self._transfer(candidate, response, 0, response.content_length)

        return await self._endpoints.ask(begun, rest.attempt, is_retry=rest.is_retry)

    async def _resume(self, candidate: Candidate, request: RegistryRequest, rest: Rest) -> ResponseTransfer | None:
        before = rest.validator
        # The same bytes have another tag elsewhere; that they are the same, the digest will tell.
        tag = before.tag if before is not None and before.endpoint == candidate.pulse.endpoint else None
        conditional = replace(request, headers=range_headers(rest.start, tag, rest.stop), accepted=_RANGE_ANSWERS)
        response = await candidate.endpoint.request(conditional)
        if response.status == 200:
            return self._transfer(candidate, response, 0, response.content_length)
        size = resumed_size(response, rest.start, tag, rest.stop) if response.status == 206 else None
        if size is None:
            response.release()
            return None
        stop = None if rest.stop is None or rest.stop >= size else rest.stop
        return self._transfer(candidate, response, rest.start, size, stop)

    async def find_tag(self, repository: Repository) -> Tag | None:
        """Return one of the tags, None if there is none; a GET, because distribution knows no HEAD for lists."""

        async def first(response: aiohttp.ClientResponse) -> Tag | None:
            tags = parse_tags(await read_capped(response, MAX_TAGS))
            return Tag(tags[0]) if tags else None

        return await self._ask(_tags(repository, "n=1"), first)

    async def list_tags(self, repository: Repository) -> tuple[str, ...]:
        """Fetch all pages of the list of tags."""
        return in_order(await self._walk(_tags(repository, _PAGE), MAX_TAGS, lambda _, data: parse_tags(data)))

    async def list_referrers(self, repository: Repository, digest: Digest) -> tuple[str, ...]:
        """Fetch all pages of the list of referrers, unfiltered: not every registry filters."""
        path = f"referrers/{digest}"
        request = RegistryRequest(
            "GET", Kind.REFERRERS, repository, path, ReferrersUnknown, OCI_INDEX, absent=_NO_SUCH_LIST
        )
        return tuple(await self._walk(request, MAX_MANIFEST, parse_referrers))

    async def _walk(self, request: RegistryRequest, limit: int, parse: Callable[[str, bytes], list[str]]) -> list[str]:
        """Fetch all pages of a list from one endpoint: the next one knows nothing of where this one was."""

        async def listed(candidate: Candidate, seconds: float) -> list[str]:
            return await Walk(seconds, limit, parse, self._received).through(candidate.endpoint, request)

        return await self._endpoints.ask(listed)

    async def _ask(self, request: RegistryRequest, read: Callable[[aiohttp.ClientResponse], Awaitable[T]]) -> T:
        """Return what `read` makes of the first answer that it can make something of."""

        async def asked(candidate: Candidate, seconds: float) -> T:
            async with answer_within(seconds):
                return await read(await candidate.endpoint.request(request))

        return await self._endpoints.ask(asked)

    def _received(self, size: int) -> None:
        self._observer.notify(UpstreamReceived(self._name, size))

    def _transfer(
        self,
        candidate: Candidate,
        response: aiohttp.ClientResponse,
        start: int,
        size: int | None,
        stop: int | None = None,
    ) -> ResponseTransfer:
        return ResponseTransfer(response, candidate.pulse, self._observer, start, size, stop)


def _described(response: aiohttp.ClientResponse, reference: Reference) -> Descriptor | None:
    """Return what a HEAD says of a manifest, None if it does not say."""
    response.release()
    digest = declared_digest(response)
    if digest is None and is_page(response):
        raise UpstreamInvalid("upstream answers with a page for people")
    if response.status == 405 or digest is None:
        return None
    if isinstance(reference, Digest) and digest.algorithm == reference.algorithm and digest != reference:
        raise UpstreamInvalid("upstream answers with another manifest than was asked for")
    media_type = without_parameters(response.headers.get("Content-Type", ""))
    return Descriptor(media_type, digest, response.content_length or 0)


def _manifest(
    method: str, repository: Repository, reference: Reference, accepted: frozenset[int] = frozenset({200})
) -> RegistryRequest:
    # Never a client's own words: what goes upstream, and so what is kept, is made of types that the mirror knows.
    name, types = (reference.tag, reference.types) if isinstance(reference, Variant) else (reference, MANIFEST_TYPES)
    path, accept = f"manifests/{name}", ", ".join(types)
    return RegistryRequest(method, Kind.MANIFEST, repository, path, ManifestUnknown, accept, accepted)


def _tags(repository: Repository, query: str) -> RegistryRequest:
    return RegistryRequest("GET", Kind.TAGS, repository, "tags/list", NameUnknown, query=query)


def _blob(method: str, repository: Repository, digest: Digest) -> RegistryRequest:
    return RegistryRequest(method, Kind.BLOB, repository, f"blobs/{digest}", BlobUnknown)

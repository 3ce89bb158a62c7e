"""Puts images into a registry through the distribution API, as the smallest possible client."""

from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from .http_client import Answer, ask
from .images import Content, Image, Index


class PushError(Exception):
    """The registry did not take a blob or a manifest."""


def push(
    registry: str,
    repository: str,
    tag: str,
    image: Image | Index,
    headers: Mapping[str, str] | None = None,
) -> str:
    """Pushes all of an image, gives it the tag, and returns the digest the tag now means."""
    target = f"{registry}/v2/{repository}"
    for blob in image.blobs:
        _put_blob(registry, target, blob, headers or {})
    for manifest in image.manifests:
        _put_manifest(target, manifest.digest, manifest, headers or {})
    _put_manifest(target, tag, image.manifest, headers or {})
    return image.manifest.digest


def _put_blob(registry: str, target: str, blob: Content, headers: Mapping[str, str]) -> None:
    opened = _expect(202, ask("POST", f"{target}/blobs/uploads/", headers=headers))
    place = urlsplit(opened.headers["Location"])
    url = f"{registry}{place.path}?{place.query}&digest={quote(blob.digest)}"
    _expect(201, ask("PUT", url, blob.data, {**headers, "Content-Type": "application/octet-stream"}))


def _put_manifest(target: str, reference: str, manifest: Content, headers: Mapping[str, str]) -> None:
    url = f"{target}/manifests/{reference}"
    answer = ask("PUT", url, manifest.data, {**headers, "Content-Type": manifest.media_type})
    _expect(201, answer)


def _expect(status: int, answer: Answer) -> Answer:
    if answer.status != status:
        raise PushError(f"expected {status}, got {answer.status}: {answer.body[:500]!r}")
    return answer

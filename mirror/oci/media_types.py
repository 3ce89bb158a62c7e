"""Media types of manifests, and what a document must look like to be stored as one."""

from __future__ import annotations

import re

from mirror.errors import UpstreamInvalid
from mirror.oci.documents import parse_object

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_V1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
DOCKER_V1 = "application/vnd.docker.distribution.manifest.v1+json"

MANIFEST_TYPES = (
    OCI_INDEX,
    OCI_MANIFEST,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_ARTIFACT,
    DOCKER_V1_SIGNED,
    DOCKER_V1,
)

MAX_MANIFEST = 4 * 1024 * 1024
"""Largest manifest, in bytes (distribution-spec: at least 4 MiB must be taken; registries refuse more)."""

_GRAMMAR = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")
# Registries that do not know a manifest's type send one of these (Red Hat's, plain object stores).
_VAGUE = {"", "text/plain", "application/json", "application/octet-stream"}


def without_parameters(content_type: str) -> str:
    """Return the bare, lower-case media type of a Content-Type header, empty if it is malformed."""
    bare = content_type.partition(";")[0].strip().lower()
    return bare if _GRAMMAR.fullmatch(bare) else ""


def manifest_type(content_type: str, data: bytes) -> str:
    """Return the media type under which a manifest is kept and served.

    The header decides, and the document must agree (CVE-2021-41190); a header that says nothing leaves it to
    the document's own `mediaType`. Raises UpstreamInvalid for what is not one manifest of a known type.
    """
    declared = without_parameters(content_type)
    document = parse_object(data, "a manifest")
    inner = document.get("mediaType", "")
    kind = inner if declared in _VAGUE else declared
    if kind not in MANIFEST_TYPES:
        raise UpstreamInvalid("upstream sent something that is not a manifest")
    if inner not in ("", kind):
        raise UpstreamInvalid("upstream's Content-Type and the manifest's mediaType differ")
    if "manifests" in document and ("layers" in document or "fsLayers" in document):
        raise UpstreamInvalid("upstream sent a document that is both an index and a manifest")
    return str(kind)

"""What a registry of the distribution project answers to an Accept header that lacks the stored type."""

from tests.fakes.answer import Answer, error
from tests.fakes.content import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, FakeManifest
from tests.fakes.repository import FakeRepository
from tests.fakes.request import Request

_NAMES = {OCI_MANIFEST: "OCI manifest", OCI_INDEX: "OCI index"}


def accepted_types(request: Request) -> set[str]:
    """The types named, without parameters. `*/*` counts for nothing, as in the real registry."""
    return {part.partition(";")[0].strip() for part in (request.header("Accept") or "").split(",")}


def negotiate(
    found: FakeManifest, repository: FakeRepository, request: Request, by_tag: bool
) -> FakeManifest | Answer | None:
    """The manifest to send, or a refusal; None for what would need a schema 1 conversion."""
    accepted = accepted_types(request)
    if found.media_type in accepted:
        return found
    if found.media_type in _NAMES:
        name = _NAMES[found.media_type]
        plural = f"{name}s" if name.endswith("t") else "OCI indexes"
        message = f"{name} found, but accept header does not support {plural}"
        return error(404, "MANIFEST_UNKNOWN", message)
    if by_tag and found.media_type == DOCKER_LIST:
        child = repository.amd64_child(found)
        return child if child is not None and child.media_type in accepted else None
    return None if by_tag and found.media_type == DOCKER_MANIFEST else found

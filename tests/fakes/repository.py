"""What one repository of a fake holds. Blobs are known per repository, as in a real registry."""

import json
from dataclasses import dataclass, field

from tests.fakes.content import DOCKER_LIST, FakeBlob, FakeImage, FakeIndex, FakeManifest


@dataclass(slots=True)
class FakeRepository:
    """Tags, manifests and blobs of one name."""

    tags: dict[str, str] = field(default_factory=dict)
    manifests: dict[str, FakeManifest] = field(default_factory=dict)
    blobs: dict[str, FakeBlob] = field(default_factory=dict)

    def add(self, content: FakeImage | FakeIndex) -> None:
        self.manifests[content.digest] = content.manifest
        if isinstance(content, FakeIndex):
            for image in content.images:
                self.add(image)
        else:
            self.blobs.update({blob.digest: blob for blob in content.blobs})

    def find_manifest(self, reference: str) -> FakeManifest | None:
        return self.manifests.get(self.tags.get(reference, reference))

    def amd64_child(self, manifest: FakeManifest) -> FakeManifest | None:
        """The manifest a Docker list names first: what a client that knows no lists is given."""
        if manifest.media_type != DOCKER_LIST:
            return None
        return self.manifests.get(json.loads(manifest.data)["manifests"][0]["digest"])

    def referrers(self, digest: str) -> list[dict[str, object]]:
        """Descriptors of the manifests whose subject is this digest."""
        return [_referrer(one) for one in self.manifests.values() if _subject(one) == digest]


def _subject(manifest: FakeManifest) -> str | None:
    try:
        subject = json.loads(manifest.data).get("subject")
    except (ValueError, AttributeError):
        return None
    return str(subject["digest"]) if subject else None


def _referrer(manifest: FakeManifest) -> dict[str, object]:
    document = json.loads(manifest.data)
    described: dict[str, object] = {
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": manifest.size,
        "artifactType": document.get("artifactType") or document.get("config", {}).get("mediaType"),
        "annotations": document.get("annotations"),
    }
    return {name: value for name, value in described.items() if value is not None}

from __future__ import annotations

import dataclasses

import pytest

from mirror.oci.descriptor import Descriptor, Manifest
from mirror.oci.digest import Digest
from mirror.oci.media_types import OCI_MANIFEST


def test_a_manifest_describes_its_bytes() -> None:
    data = b'{"schemaVersion": 2}'
    manifest = Manifest(Digest.of(data), OCI_MANIFEST, data)
    assert manifest.descriptor == Descriptor(OCI_MANIFEST, Digest.of(data), len(data))


def test_a_descriptor_is_a_value() -> None:
    one, same = (Descriptor(OCI_MANIFEST, Digest.of(b""), 0) for _ in range(2))
    assert one == same
    assert hash(one) == hash(same)
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.size = 1  # type: ignore[misc]

"""What an operator sees of real pulls: the metrics and the memory."""

from pathlib import Path

import pytest

from .hub import Hub
from .images import Image
from .mirror_process import MirrorProcess, StartMirror
from .skopeo import Skopeo


@pytest.fixture
def mirror(hub: Hub, start_mirror: StartMirror) -> MirrorProcess:
    """A mirror of the hub."""
    return start_mirror({"upstreams": {"docker.io": hub.upstream}})


def test_metrics_tell_hits_from_misses(
    hub: Hub, mirror: MirrorProcess, skopeo_client: Skopeo, small_oci: Image, tmp_path: Path
) -> None:
    hub.registry.fill("library/small", "latest", small_oci)
    hits = []
    for copy in ("cold", "warm"):
        skopeo_client.copy(f"docker://127.0.0.1:{mirror.port}/library/small", f"dir:{tmp_path}/{copy}")
        hits.append(mirror.metric("mirror_requests_total", kind="blob", outcome="hit"))
    size = sum(len(content.data) for content in (*small_oci.manifests, *small_oci.blobs))
    # Once somebody has come for a layer, those above it may be here before anybody comes for them.
    assert mirror.metric("mirror_requests_total", kind="blob", outcome="miss") >= 1
    assert hits[1] - hits[0] == len(small_oci.blobs)
    assert mirror.metric("mirror_requests_total", kind="blob") == 2 * len(small_oci.blobs)
    assert mirror.metric("mirror_upstream_bytes_total") == size
    assert mirror.metric("mirror_response_bytes_total", upstream="docker.io") == 2 * size
    assert mirror.metric("mirror_cache_bytes") == size


def test_nothing_that_went_well_is_counted_as_an_error(
    hub: Hub, mirror: MirrorProcess, skopeo_client: Skopeo, small_oci: Image, tmp_path: Path
) -> None:
    hub.registry.fill("library/small", "latest", small_oci)
    skopeo_client.copy(f"docker://127.0.0.1:{mirror.port}/library/small", f"dir:{tmp_path}/copy")
    assert mirror.metric("mirror_requests_total", outcome="error") == 0


def test_memory_does_not_grow_with_a_blob(
    hub: Hub, mirror: MirrorProcess, skopeo_client: Skopeo, big: Image, tmp_path: Path
) -> None:
    hub.registry.fill("library/big", "latest", big)
    before = mirror.rss()
    for copy in ("cold", "warm"):
        skopeo_client.copy(f"docker://127.0.0.1:{mirror.port}/library/big", f"dir:{tmp_path}/{copy}")
    assert mirror.peak_rss() - before < 32 * 2**20

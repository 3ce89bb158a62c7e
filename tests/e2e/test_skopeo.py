"""Skopeo through the mirror, from a registry with a password; and skopeo on the mirror's cache folder itself."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .http_client import basic
from .images import Content, Image, Index
from .mirror_process import MirrorProcess, StartMirror
from .registry import READER, RealRegistry
from .skopeo import Skopeo

SMALL = "library/small"
OTHER = "registry.example.test"  # an upstream that clients name in the path


@pytest.fixture
def mirror(
    private_registry: RealRegistry, start_mirror: StartMirror, small_oci: Image, multi: Index, tmp_path: Path
) -> MirrorProcess:
    """A mirror that knows the password of its two upstreams, which are the same registry."""
    private_registry.fill(SMALL, "latest", small_oci)
    private_registry.fill("team/multi", "1.0", multi)
    password = tmp_path / "password"
    password.write_text(f"{READER.password}\n")
    upstream = {
        "endpoints": [private_registry.url],
        "private_network": True,
        "credentials": {"username": READER.username, "password_file": str(password)},
        "serve_private": "everyone",
    }
    return start_mirror({"upstreams": {"docker.io": upstream, OTHER: upstream}})


def assert_copied(directory: Path, image: Image) -> None:
    """`dir:` has the manifest under its own name and each blob under its digest."""
    assert (directory / "manifest.json").read_bytes() == image.manifest.data
    for blob in image.blobs:
        assert (directory / hex_of(blob)).read_bytes() == blob.data


def assert_layout(directory: Path, image: Image | Index) -> None:
    """An OCI image layout has each manifest and blob under its digest."""
    for content in (*image.manifests, *image.blobs):
        assert (directory / "blobs" / "sha256" / hex_of(content)).read_bytes() == content.data


def hex_of(content: Content) -> str:
    return content.digest.removeprefix("sha256:")


def test_copies_to_a_folder_and_to_a_layout(
    mirror: MirrorProcess, skopeo_client: Skopeo, small_oci: Image, tmp_path: Path
) -> None:
    source = f"docker://127.0.0.1:{mirror.port}/{SMALL}"
    skopeo_client.copy(source, f"dir:{tmp_path}/dir")
    skopeo_client.copy(source, f"oci:{tmp_path}/oci:latest")
    assert_copied(tmp_path / "dir", small_oci)
    assert_layout(tmp_path / "oci", small_oci)
    assert skopeo_client.inspect(source)["Digest"] == small_oci.manifest.digest


def test_copies_without_upstream(
    mirror: MirrorProcess,
    private_registry: RealRegistry,
    skopeo_client: Skopeo,
    small_oci: Image,
    tmp_path: Path,
) -> None:
    source = f"docker://127.0.0.1:{mirror.port}/{SMALL}"
    skopeo_client.copy(source, f"dir:{tmp_path}/cold")
    private_registry.stop()
    skopeo_client.copy(source, f"dir:{tmp_path}/warm")
    assert_copied(tmp_path / "warm", small_oci)


def test_tags_are_listed_cold_warm_and_without_upstream(
    mirror: MirrorProcess, private_registry: RealRegistry, skopeo_client: Skopeo, small_oci: Image
) -> None:
    for tag in ("Beta", "1.0"):
        private_registry.fill(SMALL, tag, small_oci)
    source = f"docker://127.0.0.1:{mirror.port}/{SMALL}"
    for _ in ("cold", "warm"):
        assert skopeo_client.list_tags(source) == ["1.0", "Beta", "latest"]
        assert skopeo_client.inspect(source)["RepoTags"] == ["1.0", "Beta", "latest"]
    private_registry.stop()
    assert skopeo_client.list_tags(source) == ["1.0", "Beta", "latest"]
    told = skopeo_client.inspect(source)
    assert (told["Digest"], told["RepoTags"]) == (small_oci.manifest.digest, ["1.0", "Beta", "latest"])


def test_the_path_may_name_the_upstream(
    mirror: MirrorProcess,
    private_registry: RealRegistry,
    skopeo_client: Skopeo,
    multi: Index,
    tmp_path: Path,
) -> None:
    source = f"docker://127.0.0.1:{mirror.port}/{OTHER}/team/multi:1.0"
    skopeo_client.copy(source, f"oci:{tmp_path}/cold:1.0", "--all")
    private_registry.stop()
    skopeo_client.copy(source, f"oci:{tmp_path}/warm:1.0", "--all")
    assert_layout(tmp_path / "cold", multi)
    assert_layout(tmp_path / "warm", multi)


def test_many_copies_at_once_take_each_blob_from_upstream_once(
    mirror: MirrorProcess,
    private_registry: RealRegistry,
    skopeo_client: Skopeo,
    small_oci: Image,
    tmp_path: Path,
) -> None:
    source = f"docker://127.0.0.1:{mirror.port}/{SMALL}"
    targets = [tmp_path / f"copy{number}" for number in range(6)]
    with ThreadPoolExecutor(len(targets)) as pool:
        list(pool.map(lambda target: skopeo_client.copy(source, f"dir:{target}"), targets))
    for target in targets:
        assert_copied(target, small_oci)
    sent = [request.path for request in private_registry.journal() if request.method == "GET"]
    for blob in small_oci.blobs:
        assert sent.count(f"/v2/{SMALL}/blobs/{blob.digest}") == 1


def test_the_cache_folder_is_an_image_layout(
    mirror: MirrorProcess, skopeo_client: Skopeo, small_oci: Image, tmp_path: Path
) -> None:
    skopeo_client.copy(f"docker://127.0.0.1:{mirror.port}/{SMALL}", f"dir:{tmp_path}/pulled")
    assert mirror.stop() == 0
    skopeo_client.copy(f"oci:{mirror.cache}:docker.io/{SMALL}:latest", f"dir:{tmp_path}/read")
    assert_copied(tmp_path / "read", small_oci)


def test_the_cache_folder_holds_whole_indexes(
    mirror: MirrorProcess, skopeo_client: Skopeo, multi: Index, tmp_path: Path
) -> None:
    name = f"{OTHER}/team/multi:1.0"
    skopeo_client.copy(f"docker://127.0.0.1:{mirror.port}/{name}", f"oci:{tmp_path}/pulled:1.0", "--all")
    assert mirror.stop() == 0
    skopeo_client.copy(f"oci:{mirror.cache}:{name}", f"oci:{tmp_path}/read:1.0", "--all")
    assert_layout(tmp_path / "read", multi)


def test_the_password_is_nowhere(mirror: MirrorProcess, skopeo_client: Skopeo, tmp_path: Path) -> None:
    skopeo_client.copy(f"docker://127.0.0.1:{mirror.port}/{SMALL}", f"dir:{tmp_path}/pulled")
    metrics = mirror.metrics()
    assert mirror.stop() == 0
    encoded = basic(READER.username, READER.password)["Authorization"].removeprefix("Basic ")
    written = [metrics.encode(), *(file.read_bytes() for file in mirror.directory.rglob("*") if file.is_file())]
    for secret in (READER.password, encoded):
        assert not any(secret.encode() in data for data in written)

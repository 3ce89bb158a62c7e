"""curl and Skopeo on the same tags: types asked for and not, and entity tags that are compared."""

from pathlib import Path

import pytest

from . import curl as tool
from .conftest import require
from .curl import curl
from .images import Flavour, Index, build_index
from .mirror_process import MirrorProcess, StartMirror
from .registry import RealRegistry
from .skopeo import Skopeo

OLD_TYPE = f"Accept: {Flavour.DOCKER.value[0]}"


@pytest.fixture
def listed() -> Index:
    """A Docker list of two images."""
    return build_index([1000], "listed", Flavour.DOCKER)


@pytest.fixture
def mirror(open_registry: RealRegistry, start_mirror: StartMirror, multi: Index, listed: Index) -> MirrorProcess:
    """A mirror of an OCI index and a Docker list."""
    require(tool.why_not())
    for tag, content in (("index", multi), ("list", listed)):
        open_registry.fill("library/app", tag, content)
    upstream = {"endpoints": [open_registry.url], "private_network": True}
    return start_mirror({"upstreams": {"docker.io": upstream}})


def test_types_that_are_asked_for_and_entity_tags_that_are_compared(
    mirror: MirrorProcess, skopeo_client: Skopeo, multi: Index, listed: Index, tmp_path: Path
) -> None:
    output, etag = tmp_path / "output", tmp_path / "etag"
    url = f"{mirror.url}/v2/library/app"
    # The distribution project's registry: a Docker list becomes its first image, an OCI index becomes nothing.
    assert curl(f"{url}/manifests/list", "--header", OLD_TYPE, output=output) == 200
    assert output.read_bytes() == listed.image_for("amd64").manifest.data
    assert curl(f"{url}/manifests/index", "--header", OLD_TYPE, output=output) == 404
    for tag, content in (("list", listed), ("index", multi)):
        assert curl(f"{url}/manifests/{tag}", "--header", "Accept:", output=output) == 200
        assert output.read_bytes() == content.manifest.data
        assert skopeo_client.raw(f"docker://127.0.0.1:{mirror.port}/library/app:{tag}") == content.manifest.data

    for path in ("manifests/list", f"manifests/{multi.manifest.digest}", f"blobs/{multi.blobs[0].digest}"):
        assert curl(f"{url}/{path}", "--etag-save", str(etag)) == 200
        for options in ((), ("--head",)):
            assert curl(f"{url}/{path}", "--etag-compare", str(etag), *options) == 304

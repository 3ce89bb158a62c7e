"""Content discovery: lists of tags, and of what refers to a manifest."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.conformance.site import Reply, Site
from tests.fakes import content
from tests.fakes.content import OCI_CONFIG, OCI_INDEX, FakeImage, FakeManifest
from tests.fakes.listing import Pages
from tests.integration.asking import error_code

pytestmark = pytest.mark.asyncio(loop_scope="module")

TAGS = ["1.0", "2.0", "Beta", "edge", "latest"]
IMAGE = content.image(layers=1, seed="listed")
ABSENT = "sha256:" + "0" * 64


def tagged(site: Site) -> None:
    """Have upstream hold the tags."""
    for tag in reversed(TAGS):
        site.add(IMAGE, tag)


async def tags(site: Site, query: str = "") -> list[str]:
    """The tags of an answer that must be a list."""
    reply = await site.get(f"tags/list{query}")
    assert reply.status == 200
    listed: list[str] = json.loads(reply.body)["tags"]
    return listed


async def test_support_of_discovery(site: Site) -> None:
    tagged(site)
    for path in ("tags/list", f"referrers/{IMAGE.digest}"):
        for method in ("GET", "HEAD"):
            assert (await site.get(path, method)).status == 200


# Listing tags. -------------------------------------------------------------------------------------------


async def test_tags_of_a_known_repository_are_200(site: Site) -> None:
    tagged(site)
    assert (await site.get("tags/list")).status == 200
    # And of one that is not known, they are a 404.
    unknown = await site.with_repository(f"{site.repository}/unknown").get("tags/list")
    assert (unknown.status, error_code(unknown.body)) == (404, "NAME_UNKNOWN")


async def test_tags_are_in_order(site: Site) -> None:
    tagged(site)
    # Lexical is without regard to case, says the spec.
    assert await tags(site) == TAGS


async def test_tags_have_the_format(site: Site) -> None:
    tagged(site)
    reply = await site.get("tags/list")
    assert json.loads(reply.body) == {"name": site.repository, "tags": TAGS}
    assert reply.headers["content-type"] == "application/json"


async def test_tags_n_gives_so_many(site: Site) -> None:
    tagged(site)
    assert [len(await tags(site, f"?n={number}")) for number in (1, 3, 5, 6)] == [1, 3, 5, 5]


async def test_tags_link_leads_to_the_next(site: Site) -> None:
    tagged(site)
    link = (await site.get("tags/list?n=3")).headers["link"]
    found = re.fullmatch(r'<(/v2/[^<>]+)>; rel="next"', link)
    assert found is not None
    following = await site.ask(found[1])
    assert json.loads(following.body)["tags"] == TAGS[3:]
    assert "link" not in following.headers


async def test_tags_n_of_zero_is_empty(site: Site) -> None:
    tagged(site)
    assert await tags(site, "?n=0") == []


async def test_tags_n_of_zero_has_no_link(site: Site) -> None:
    tagged(site)
    assert "link" not in (await site.get("tags/list?n=0")).headers


async def test_tags_with_n_are_in_order(site: Site) -> None:
    tagged(site)
    assert await tags(site, "?n=4") == TAGS[:4]


async def test_tags_last_is_no_index(site: Site) -> None:
    tagged(site)
    assert await tags(site, "?last=1") == TAGS


async def test_tags_last_is_a_tag(site: Site) -> None:
    tagged(site)
    assert await tags(site, "?last=2.0") == TAGS[2:]


async def test_tags_with_last_are_in_order(site: Site) -> None:
    tagged(site)
    assert await tags(site, "?last=Beta&n=2") == ["edge", "latest"]


# Listing referrers. --------------------------------------------------------------------------------------


def referrer(kind: str | None, media_type: str = content.OCI_MANIFEST) -> FakeManifest:
    """A manifest that refers to the image, of this artifact type or of that of its config."""
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "subject": content.descriptor(IMAGE.manifest, IMAGE.manifest.media_type),
        "annotations": {"who": "tests"},
    }
    empty: dict[str, object] = {"manifests": []} if media_type == OCI_INDEX else image_of_nothing()
    return content.manifest(document | empty | ({"artifactType": kind} if kind else {}), media_type)


def image_of_nothing() -> dict[str, object]:
    return {"config": content.descriptor(content.blob(2), OCI_CONFIG), "layers": []}


SIGNATURE, CONFIGURED, INDEX = referrer("a/signature"), referrer(None), referrer(None, OCI_INDEX)


async def listed(site: Site, query: str = "", image: FakeImage = IMAGE) -> Reply:
    """The answer about what refers to the image, with all three that do at upstream."""
    for added in (IMAGE, SIGNATURE, CONFIGURED, INDEX):
        site.add(added)
    reply = await site.get(f"referrers/{image.digest}{query}")
    assert reply.status == 200
    return reply


def descriptors(reply: Reply) -> dict[str, dict[str, Any]]:
    """The descriptors of an index, by their digests."""
    return {one["digest"]: one for one in json.loads(reply.body)["manifests"]}


async def test_referrers_of_a_known_repository_are_200(site: Site) -> None:
    site.add(IMAGE)
    for digest in (IMAGE.digest, ABSENT):
        assert (await site.get(f"referrers/{digest}")).status == 200


async def test_referrers_are_never_404(site: Site) -> None:
    site.add(IMAGE)
    site.registry.supports_referrers = False
    try:
        for digest in (IMAGE.digest, ABSENT):
            assert (await site.get(f"referrers/{digest}")).status == 200
    finally:
        site.registry.supports_referrers = True


async def test_referrers_of_an_invalid_digest_are_400(site: Site) -> None:
    for digest in ("latest", "sha256:0", f"sha256:{'G' * 64}"):
        reply = await site.get(f"referrers/{digest}")
        assert (reply.status, error_code(reply.body)) == (400, "DIGEST_INVALID")


async def test_referrers_are_an_index(site: Site) -> None:
    document = json.loads((await listed(site)).body)
    assert (document["schemaVersion"], document["mediaType"]) == (2, OCI_INDEX)
    for one in document["manifests"]:
        assert {"mediaType", "digest", "size"} <= set(one)


async def test_referrers_have_the_type_of_an_index(site: Site) -> None:
    assert (await listed(site)).headers["content-type"] == OCI_INDEX


async def test_referrers_have_artifact_types(site: Site) -> None:
    assert descriptors(await listed(site))[SIGNATURE.digest]["artifactType"] == "a/signature"


async def test_referrers_have_the_type_of_the_config(site: Site) -> None:
    assert descriptors(await listed(site))[CONFIGURED.digest]["artifactType"] == OCI_CONFIG


async def test_referrers_of_an_index_may_have_no_type(site: Site) -> None:
    assert "artifactType" not in descriptors(await listed(site))[INDEX.digest]


async def test_referrers_have_annotations(site: Site) -> None:
    assert all(one["annotations"] == {"who": "tests"} for one in descriptors(await listed(site)).values())


async def test_referrers_none_is_an_empty_list(site: Site) -> None:
    reply = await listed(site, image=content.image(layers=1, seed="unsigned"))
    assert json.loads(reply.body)["manifests"] == []


async def test_referrers_link_where_there_is_more(site: Site) -> None:
    # What upstream has on several pages fits into one answer of the mirror: it takes no more than that.
    site.registry.pages = Pages(size=1)
    try:
        reply = await listed(site)
    finally:
        site.registry.pages = Pages()
    assert len(descriptors(reply)) == 3
    assert "link" not in reply.headers


async def test_referrers_can_be_filtered(site: Site) -> None:
    assert set(descriptors(await listed(site, "?artifactType=a/signature"))) == {SIGNATURE.digest}


async def test_referrers_filter_is_told(site: Site) -> None:
    assert (await listed(site, "?artifactType=a/signature")).headers["oci-filters-applied"] == "artifactType"
    assert "oci-filters-applied" not in (await listed(site)).headers


async def by_tag(site: Site, *names: str) -> Reply:
    """The answer about the image, where upstream knows no API and has these under the referrers' tag."""
    site.add(IMAGE)
    manifests = [{"mediaType": "x", "digest": name, "size": 1} for name in names]
    if manifests:
        document: dict[str, object] = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
        site.add(content.manifest(document, OCI_INDEX), IMAGE.digest.replace(":", "-"))
    site.registry.supports_referrers = False
    try:
        return await site.get(f"referrers/{IMAGE.digest}")
    finally:
        site.registry.supports_referrers = True


async def test_referrers_fall_back_to_the_tag(site: Site) -> None:
    reply = await by_tag(site, "sha256:1", "sha256:2")
    assert reply.status == 200
    assert list(descriptors(reply)) == ["sha256:1", "sha256:2"]


async def test_referrers_may_be_assumed_none(site: Site) -> None:
    reply = await by_tag(site)
    assert (reply.status, descriptors(reply)) == (200, {})

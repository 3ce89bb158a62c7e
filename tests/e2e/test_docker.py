"""Docker pulls through the mirror: cold, warm, with Docker Hub gone in two ways, and after a restart."""

import time
from collections.abc import Callable

import pytest

from .hub import Hub
from .images import Image, Index
from .process import wait_until
from .site import StartSite
from .token_service import TokenRequest

SMALL = "library/small"
MULTI = "library/multi"
LATEST = f"/v2/{SMALL}/manifests/latest"

GONE = pytest.mark.parametrize("disappear", [Hub.refuse, Hub.hang], ids=["refusing", "hanging"])


def test_a_cold_pull_takes_each_blob_from_upstream_once(start_site: StartSite, small: Image) -> None:
    site = start_site({})
    site.pull(SMALL, small)
    journal = site.hub.registry.journal()
    sent = [request.path for request in journal if request.method == "GET" and request.status in (200, 206)]
    for blob in small.blobs:
        assert sent.count(f"/v2/{SMALL}/blobs/{blob.digest}") == 1
    assert sum(path.startswith(f"/v2/{SMALL}/manifests/") for path in sent) == 1


def test_tokens_are_asked_for_pull_only_and_kept(start_site: StartSite, small: Image) -> None:
    site = start_site({})
    site.pull(SMALL, small)
    asked = site.hub.tokens.journal()
    assert set(asked) == {TokenRequest((f"repository:{SMALL}:pull",), "", 200)}
    assert len(asked) == 1


def test_a_warm_pull_asks_upstream_nothing(start_site: StartSite, small: Image) -> None:
    site = start_site({})
    site.pull(SMALL, small)
    asked = site.hub.journals()
    site.pull(SMALL, small)
    assert site.hub.journals() == asked


@GONE
def test_a_fresh_image_needs_no_upstream(start_site: StartSite, small: Image, disappear: Callable[[Hub], None]) -> None:
    site = start_site({})
    site.pull(SMALL, small)
    disappear(site.hub)
    site.pull(SMALL, small)
    assert "hit" in site.mirror.cache_status(LATEST)


@GONE
def test_a_stale_image_is_served_while_upstream_is_gone(
    start_site: StartSite, small: Image, disappear: Callable[[Hub], None]
) -> None:
    site = start_site({"tag_ttl": "1s", "stale_while_revalidate": "0s"})
    site.pull(SMALL, small)
    disappear(site.hub)
    time.sleep(1.5)
    site.pull(SMALL, small)
    assert "fwd=stale" in site.mirror.cache_status(LATEST)


@GONE
def test_a_restart_keeps_the_cache(start_site: StartSite, small: Image, disappear: Callable[[Hub], None]) -> None:
    site = start_site({})
    site.pull(SMALL, small)
    disappear(site.hub)
    site.mirror.restart()
    site.pull(SMALL, small)
    assert "hit" in site.mirror.cache_status(LATEST)


def test_a_crash_keeps_the_cache(start_site: StartSite, small: Image) -> None:
    site = start_site({})
    site.pull(SMALL, small)
    site.hub.refuse()
    site.mirror.kill()
    site.mirror.start()
    site.pull(SMALL, small)


def test_a_changed_tag_is_seen_after_its_ttl(start_site: StartSite, small: Image, multi: Index) -> None:
    site = start_site({"tag_ttl": "1s", "stale_while_revalidate": "0s"})
    site.pull(SMALL, small)
    site.hub.registry.fill(SMALL, "latest", multi)
    time.sleep(1.5)
    site.pull(SMALL, multi)


def test_an_image_for_several_architectures(start_site: StartSite, multi: Index) -> None:
    site = start_site({})
    site.pull(MULTI, multi)
    site.hub.refuse()
    site.pull(MULTI, multi)


@GONE
def test_upstream_comes_back(
    start_site: StartSite, small: Image, multi: Index, disappear: Callable[[Hub], None]
) -> None:
    site = start_site({"tag_ttl": "1s", "stale_while_revalidate": "0s"})
    site.pull(SMALL, small)
    disappear(site.hub)
    time.sleep(1.5)
    site.pull(SMALL, small)
    site.hub.come_back()
    wait_until(lambda: site.mirror.ask("HEAD", f"/v2/{MULTI}/manifests/latest").status == 200)
    site.pull(MULTI, multi)

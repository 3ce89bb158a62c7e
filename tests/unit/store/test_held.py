"""What pins hold, and what goes all the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mirror.errors import StoreFailed
from mirror.oci.descriptor import Manifest
from mirror.oci.digest import Digest
from mirror.oci.media_types import OCI_MANIFEST
from mirror.oci.reference import Tag, Variant
from mirror.proxy.freshness import TagRecord
from mirror.proxy.operations.naming import FullName
from tests.unit.proxy.doubles import HUB
from tests.unit.store.cabinet import Cabinet

TAG = Tag("3.20")
VARIANT = Variant(TAG, ("a/b", "c/d"))
NAME = FullName(HUB, TAG)


async def image(cabinet: Cabinet, name: bytes, tag: Tag | Variant) -> set[Digest]:
    """Store a manifest with one layer of 100 bytes, which is what the tag points to; return both."""
    layer = await cabinet.store(name * 100)
    data = json.dumps({"layers": [{"digest": str(layer)}]}).encode()
    await cabinet.manifests.put(Manifest(Digest.of(data), OCI_MANIFEST, data))
    await cabinet.records.put_tag(HUB, tag, TagRecord(Digest.of(data), 0.0))
    return {Digest.of(data), layer}


async def left(cabinet: Cabinet) -> set[Digest]:
    """What has not gone once all that may go has."""
    cabinet.room.limits = type(cabinet.room.limits)(1)
    await cabinet.room.tidy()
    return {digest for digest, _ in cabinet.index.first_to_go()}


async def test_a_pinned_tag_holds_what_it_is_to_every_client(tmp_path: Path) -> None:
    async with Cabinet(tmp_path) as cabinet:
        held = await image(cabinet, b"a", TAG) | await image(cabinet, b"b", VARIANT)
        await image(cabinet, b"c", Tag("3.2"))
        await image(cabinet, b"d", Variant(Tag("3.200"), VARIANT.types))
        await cabinet.pins.change(lambda pins: pins.update({NAME: None}))
        assert await left(cabinet) == held


async def test_a_pinned_tag_holds_what_it_was_before_it_was_deleted(tmp_path: Path) -> None:
    async with Cabinet(tmp_path) as cabinet:
        held = await image(cabinet, b"a", TAG)
        await cabinet.pins.change(lambda pins: pins.update({NAME: None}))
        await cabinet.room.tidy()
        await cabinet.records.forget_tag(HUB, TAG)
        assert await left(cabinet) == held


async def test_pins_that_cannot_be_read_hold_what_they_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_: object) -> None:
        raise StoreFailed("the table is locked")

    async with Cabinet(tmp_path) as cabinet:
        held = await image(cabinet, b"a", TAG)
        await cabinet.pins.change(lambda pins: pins.update({NAME: None}))
        await cabinet.room.tidy()
        for look in ("some", "beginning"):
            monkeypatch.setattr(cabinet.rows, look, refuse)
        assert await left(cabinet) == held

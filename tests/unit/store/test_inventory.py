from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import AsyncIterator

import pytest

from mirror.errors import StoreFailed
from mirror.oci.descriptor import Manifest
from mirror.oci.digest import Digest
from mirror.oci.media_types import OCI_MANIFEST
from mirror.proxy.cache_status import Kind
from mirror.proxy.scrubbing.scrub import Leftover
from mirror.store.inventory import StoredInventory
from tests.unit.proxy.doubles import HUB, OTHER
from tests.unit.store.cabinet import Cabinet
from tests.unit.store.rot import DATA, DIGEST, inventory_of, refuse


@pytest.fixture
def inventory(cabinet: Cabinet) -> StoredInventory:
    return inventory_of(cabinet)


@pytest.fixture
async def beside(cabinet: Cabinet) -> AsyncIterator[Cabinet]:
    """Another process on the folder of the first."""
    async with Cabinet(cabinet.path) as opened:
        yield opened


async def test_files_come_in_the_order_of_their_digests(cabinet: Cabinet, inventory: StoredInventory) -> None:
    digests = [await cabinet.store(data) for data in (b"a", b"bb", b"ccc")]
    found = await inventory.files()
    assert [str(file.digest) for file in found] == sorted(map(str, digests))
    assert {file.digest: file.size for file in found} == dict(zip(digests, (1, 2, 3), strict=True))


async def test_both_algorithms_and_both_kinds_are_listed(cabinet: Cabinet, inventory: StoredInventory) -> None:
    long = Digest("sha512", hashlib.sha512(DATA).hexdigest())
    partial = await cabinet.claim(long)
    await partial.append(DATA)
    await partial.commit()
    await partial.close()
    manifest = Manifest(Digest.of(b"{}"), OCI_MANIFEST, b"{}")
    await cabinet.manifests.put(manifest)
    kinds = {file.digest: file.kind for file in await inventory.files()}
    assert kinds == {long: Kind.BLOB, manifest.digest: Kind.MANIFEST}


async def test_an_empty_cache_has_no_files(inventory: StoredInventory) -> None:
    assert await inventory.files() == []
    assert await inventory.unfinished() == []
    assert await inventory.strangers() == []


async def test_names_that_are_no_regular_files_are_not_listed(cabinet: Cabinet, inventory: StoredInventory) -> None:
    folder = cabinet.path / "blobs" / "sha256"
    os.mkfifo(folder / ("1" * 64))
    (folder / ("2" * 64)).symlink_to(cabinet.path / "oci-layout")
    (folder / ("3" * 64)).mkdir()
    (folder / "not a digest").write_bytes(b"")
    assert await inventory.files() == []


async def test_a_list_that_the_disk_does_not_give_is_a_failure(
    inventory: StoredInventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, os, "scandir", errno.EIO)
    with pytest.raises(StoreFailed, match="Input/output error"):
        await inventory.files()


async def test_routes_are_those_with_a_grant(cabinet: Cabinet, inventory: StoredInventory) -> None:
    await cabinet.records.grant(HUB, DIGEST)
    await cabinet.records.grant(OTHER, Digest.of(b"another"))
    assert await inventory.routes(DIGEST) == [HUB]


async def test_partial_files_are_told_with_whether_they_are_written(
    cabinet: Cabinet, inventory: StoredInventory, beside: Cabinet
) -> None:
    await cabinet.leave(b"hal", b"half")
    partial = await beside.claim(DIGEST)
    await partial.append(DATA[:100])
    (cabinet.path / "partial" / "a stranger").write_bytes(b"")
    left = Leftover(f"sha256-{Digest.of(b'half').encoded}", 3, is_written=False)
    written = Leftover(f"sha256-{DIGEST.encoded}", 100, is_written=True)
    assert await inventory.unfinished() == sorted([left, written], key=lambda leftover: leftover.name)
    await partial.close()

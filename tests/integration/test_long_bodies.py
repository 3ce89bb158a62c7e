"""Blobs of many pieces through the whole mirror, from plain and from encrypted upstreams."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes import content, faults
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.command import configuration, serving
from tests.integration.tls import server_context, trusting

IMAGE = content.image(layers=2, size=(9_000_000, 5_000_000))
CUT = 4_321_987


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
async def test_long_bodies_arrive_whole_and_leave_their_connection_for_the_next(
    journal: Journal, token_service: FakeTokenService, tmp_path: Path, encrypted: bool
) -> None:
    tls = server_context(tmp_path)
    async with FakeRegistry(journal, name="upstream", tls=tls if encrypted else None) as registry:
        registry.add_image("library/alpine", "3.20", IMAGE)
        async with serving(configuration(registry, token_service, tmp_path), tmp_path, trusting(tmp_path)) as mirror:
            for layer in IMAGE.layers:
                response, body = await mirror.get(f"/v2/library/alpine/blobs/{layer.digest}")
                assert (response.status, body == layer.data) == (200, True)
                assert registry.connections == 1


async def test_what_a_cut_left_in_the_middle_of_a_piece_is_not_fetched_again(
    journal: Journal, registry: FakeRegistry, token_service: FakeTokenService, tmp_path: Path
) -> None:
    layer = IMAGE.layers[0]
    registry.add_image("library/alpine", "3.20", IMAGE)
    path = f"/v2/library/alpine/blobs/{layer.digest}"
    registry.fault(path, faults.cut_at(CUT))
    async with serving(configuration(registry, token_service, tmp_path), tmp_path) as mirror:
        response, body = await mirror.get(path)
    assert (response.status, body == layer.data) == (200, True)
    asked = [(entry.range, entry.sent) for entry in journal.select(path=path) if entry.status in {200, 206}]
    assert asked == [(None, CUT), (f"bytes={CUT}-", len(layer.data) - CUT)]

"""The dashboard: a real Prometheus scrapes a mirror at work, and every panel has something to show."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.e2e.conftest import require
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.conftest import StartMirror, start_mirror

from . import dashboard
from .prometheus import Prometheus, Series
from .workload import Day, scraped, seen

__all__ = ["start_mirror"]

CONSTANT = {
    ("Version", "{{version}}"): "what runs is the same for as long as it runs",
    ("Cache size", "limit"): "a field of the configuration",
    ("Workers", "{{instance}}"): "a single process here",
    ("Blobs in parts", "{{outcome}}"): "no blob here is large enough",
    ("Workers replaced", "{{reason}}"): "nobody replaces a single process",
    ("Connections", "limit"): "follows the limit on open files, which was there before",
}
"""What shows a value that does not change, and why."""


def changed(series: Series) -> bool:
    """Whether one of the lines has another value at one time than at another."""
    return any(len(set(map(str, values))) > 1 for values in series.values())


def has_data(series: Series) -> bool:
    """Whether there is a number anywhere."""
    return any(not math.isnan(value) for values in series.values() for value in values)


async def test_every_panel_shows_what_a_mirror_at_work_does(
    registry: FakeRegistry,
    other_registry: FakeRegistry,
    token_service: FakeTokenService,
    start_mirror: StartMirror,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require(None if shutil.which("prometheus") else "prometheus is not installed")
    monkeypatch.setattr("mirror.proxy.scrubbing.patrol.LOOK_SECONDS", 0.2)
    monkeypatch.setattr("mirror.proxy.warming.hot.LOOK_SECONDS", 0.1)
    monkeypatch.setattr("mirror.proxy.warming.hot.SHORTEST_TTL", 1.0)
    day = Day(registry, other_registry, token_service, tmp_path)
    async with start_mirror(**day.configuration()) as mirror:
        prometheus = Prometheus(tmp_path / "prometheus", mirror.mirror.admin.address)
        await asyncio.to_thread(prometheus.start)
        await scraped(prometheus, 4)
        await day.goes_by(mirror, prometheus)
        await scraped(prometheus, 3)
        last = await day.ends(mirror, prometheus)
    try:
        await last
        await seen(prometheus, "up", 0)
        shown = {query: prometheus.since_start(query.expression) for query in dashboard.filled(prometheus)}
    finally:
        prometheus.stop()
    report(shown)
    assert [query for query, series in shown.items() if not has_data(series)] == []
    still = {(query.panel, query.name) for query, series in shown.items() if not changed(series)}
    assert still == CONSTANT.keys()


def report(shown: dict[dashboard.Query, Series]) -> None:
    """Print what each query of each panel had to show; pytest's -rP shows it."""
    for query, series in shown.items():
        data = "returned data" if has_data(series) else "NO DATA"
        change = "changed" if changed(series) else CONSTANT.get((query.panel, query.name), "DID NOT CHANGE")
        print(f"{query.panel:46} {query.name:22} {data}, {change}")


def test_grafanas_own_reader_knows_every_key_of_the_dashboard() -> None:
    register_default_plugins()  # the panels of each type have options of their own
    kept = json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard.document())))
    assert list(lost(dashboard.document(), kept)) == []


def lost(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """What a reader has not taken over from a document, by its path."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            yield from lost(value, after[key], f"{path}/{key}") if key in after else [f"{path}/{key}"]
    elif isinstance(before, list) and isinstance(after, list):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{path}/{number}")
    elif before != after:
        yield path


def test_panels_have_a_name_a_place_a_unit_and_say_what_to_do() -> None:
    titles, ids, cells = set(), set(), set()
    for panel in dashboard.panels():
        titles.add(panel["title"])
        ids.add(panel["id"])
        place = panel["gridPos"]
        cells |= {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert len(panel["description"]) > 30
    assert len(titles) == len(ids) == len(dashboard.panels())
    assert len(cells) == sum(panel["gridPos"]["w"] * panel["gridPos"]["h"] for panel in dashboard.panels())


def test_every_query_is_about_the_mirrors_that_were_chosen() -> None:
    assert [query for query in dashboard.queries() if '{instance=~"$instance"' not in query.expression] == []

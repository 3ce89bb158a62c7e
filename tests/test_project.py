"""What is shipped beside the code says the same as the code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mirror import __version__
from mirror.config import Config, load
from mirror.telemetry.metrics.page import Metrics

ROOT = Path(__file__).parent.parent
LOCK_FILES = sorted((ROOT / "requirements").glob("*.txt"))


def test_the_shipped_configuration_is_the_built_in_one() -> None:
    assert load(ROOT / "config.yaml") == Config()


def test_the_shipped_configuration_names_every_field() -> None:
    content = yaml.safe_load((ROOT / "config.yaml").read_text())
    for section, fields in content.items():
        model = Config.model_fields[section].annotation
        if section == "upstreams":
            model, fields = type(Config().upstreams["docker.io"]), fields["docker.io"]  # noqa: PLW2901
        if isinstance(fields, dict):
            assert set(fields) == set(getattr(model, "model_fields", {})), section
    assert set(content) == set(Config.model_fields)


def test_the_example_for_a_local_registry_loads() -> None:
    upstream = load(ROOT / "deploy/local-registry.yaml").upstreams["docker.io"]
    assert [str(endpoint.url) for endpoint in upstream.endpoints] == ["http://127.0.0.1:5500"]
    assert upstream.private_network
    assert upstream.aliases == ("index.docker.io", "registry-1.docker.io")


def dashboard_queries() -> list[str]:
    """Every PromQL expression of the dashboard."""
    dashboard: dict[str, Any] = json.loads((ROOT / "grafana/mirror.json").read_text())
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    return panels + [variable["query"] for variable in dashboard["templating"]["list"]]


def alert_expressions() -> list[str]:
    """Every PromQL expression of the alerts."""
    [group] = yaml.safe_load((ROOT / "deploy/alerts.yml").read_text())["groups"]
    return [rule["expr"] for rule in group["rules"]]


@pytest.mark.parametrize("queries", [dashboard_queries, alert_expressions])
def test_every_metric_that_is_asked_for_exists(queries: Callable[[], list[str]]) -> None:
    metrics = Metrics(["docker.io"], __version__, 1)
    exported = {sample.name for family in metrics.registry.collect() for sample in family.samples}
    exported |= {f"{family.name}{suffix}" for family in metrics.registry.collect() for suffix in suffixes(family.type)}
    used = set(re.findall(r"\bmirror_\w+", " ".join(queries())))
    assert len(used) >= 9
    assert used <= exported


def test_every_metric_has_a_panel() -> None:
    shown = set(re.findall(r"\bmirror_\w+", " ".join(dashboard_queries())))
    families = Metrics(["docker.io"], __version__, 1).registry.collect()
    unseen = {f.name for f in families if not shown & {f"{f.name}{suffix}" for suffix in suffixes(f.type)}}
    assert unseen == set()


def suffixes(kind: str) -> list[str]:
    """What Prometheus appends to the name of a metric family of this type."""
    return {"histogram": ["_bucket", "_sum", "_count"], "counter": ["_total"]}.get(kind, [""])


@pytest.mark.parametrize("lock", LOCK_FILES, ids=lambda path: path.name)
def test_a_lock_file_pins_by_hash_and_names_no_index(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert "--index-url" not in text
    requirements = re.findall(r"^[a-z0-9].*?(?=^[a-z0-9]|\Z)", text, re.MULTILINE | re.DOTALL)
    assert requirements
    for requirement in requirements:
        assert "==" in requirement
        assert "--hash=sha256:" in requirement


@pytest.mark.parametrize(
    "page", ["README.md", "CHANGELOG.md", "docs/decisions.md", "docs/conformance.md", "docs/performance.md"]
)
def test_links_between_files_lead_to_them(page: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text())
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


def test_decisions_are_numbered_without_gaps_and_referred_to_by_numbers_that_exist() -> None:
    text = (ROOT / "docs/decisions.md").read_text()
    numbers = [int(number) for number in re.findall(r"^\*\*(\d+)\. ", text, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert {int(number) for number in re.findall(r"\((?:see )?(\d+)\)", text)} <= set(numbers)


def test_the_changelog_knows_this_version() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()

"""What is in deploy/: each file judged by the tool that it is for, and none at odds with another."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from mirror.config import Config
from mirror.config.units import parse_duration
from tests.e2e.conftest import require

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
UNIT = DEPLOY / "mirror.service"
EXPOSURE = 15  # tenths; systemd calls up to 20 "OK", and what is left here is the network


def run(*command: str | Path) -> str:
    """What a tool prints; fails with that if the tool is not content."""
    require(None if shutil.which(command[0]) else f"{command[0]} is not installed")
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def beside_python(program: str) -> Path:
    """A program of the virtual environment."""
    return Path(sys.executable).with_name(program)


# Compose. ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    """The services of the compose file, as Docker Compose understands them."""
    printed = run(beside_python("docker-compose"), "--file", DEPLOY / "compose.yaml", "config", "--format", "json")
    return cast(dict[str, dict[str, Any]], json.loads(printed)["services"])


def test_compose_starts_what_is_needed_and_starts_it_again(services: dict[str, dict[str, Any]]) -> None:
    assert set(services) == {"mirror", "prometheus", "grafana"}
    for name, service in services.items():
        assert service["restart"] == "unless-stopped", name
        assert int(service["mem_limit"]) <= 2**30, name
        assert service["pids_limit"], name
        # The mirror's image brings its own.
        assert (name == "mirror") == ("healthcheck" not in service)


def test_compose_gives_no_more_than_is_needed(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert all(volume["read_only"] for volume in service["volumes"] if volume["type"] == "bind"), name


def test_compose_names_the_version_of_every_image(services: dict[str, dict[str, Any]]) -> None:
    for service in services.values():
        assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+", service["image"])
    assert services["mirror"]["image"] == f"mirror:{VERSION}"
    assert services["mirror"]["build"]["args"] == {"VERSION": VERSION}


def test_compose_shows_others_nothing_but_the_registry(services: dict[str, dict[str, Any]]) -> None:
    published = [port for service in services.values() for port in service["ports"]]
    assert [port["target"] for port in published if port.get("host_ip") != "127.0.0.1"] == [5000]
    assert sorted(port["target"] for port in published) == [3000, 5000, 5001, 9090]


def test_compose_mounts_files_that_are_there(services: dict[str, dict[str, Any]]) -> None:
    bound = [volume for service in services.values() for volume in service["volumes"] if volume["type"] == "bind"]
    assert [volume["source"] for volume in bound if not Path(volume["source"]).exists()] == []


def test_grafana_finds_its_data_and_its_dashboard(services: dict[str, dict[str, Any]]) -> None:
    provisioning = ROOT / "grafana" / "provisioning"
    [source] = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    [provider] = yaml.safe_load((provisioning / "dashboards/mirror.yaml").read_text())["providers"]
    mounted = {volume["target"] for volume in services["grafana"]["volumes"]}
    assert f"{provider['options']['path']}/mirror.json" in mounted
    scraped = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraped


# Prometheus. ---------------------------------------------------------------------------------------------


def test_prometheus_takes_its_configuration_and_its_rules() -> None:
    assert "1 rule files found" in run("promtool", "check", "config", DEPLOY / "prometheus.yml")
    run("promtool", "check", "rules", "--lint=all", "--lint-fatal", DEPLOY / "alerts.yml")


def test_alerts_fire_when_something_is_wrong_and_not_otherwise() -> None:
    run("promtool", "test", "rules", Path(__file__).with_name("alerts.yml"))


def test_every_alert_is_tested_and_says_what_to_do() -> None:
    [group] = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    tests = Path(__file__).with_name("alerts.yml").read_text()
    for rule in group["rules"]:
        assert f'alertname="{rule["alert"]}"' in tests
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"].keys() == {"summary", "description"}


# Kubernetes. ---------------------------------------------------------------------------------------------


@pytest.fixture
def pod() -> dict[str, Any]:
    """What the Deployment makes pods of."""
    manifests = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    [deployment] = [manifest for manifest in manifests if manifest["kind"] == "Deployment"]
    return cast(dict[str, Any], deployment["spec"]["template"]["spec"])


def test_kubernetes_knows_every_field_of_the_manifests() -> None:
    run(beside_python("kubernetes-validate"), "--strict", DEPLOY / "kubernetes.yaml")


def test_a_pod_is_the_images_user_and_may_nothing_else(pod: dict[str, Any]) -> None:
    [container] = pod["containers"]
    user, group = re.findall(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[0]
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["fsGroup"]) == (int(user), int(group))
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["image"].endswith(f"/mirror:{VERSION}")


# systemd. ------------------------------------------------------------------------------------------------


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a command that is there."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/mirror/bin/mirror", str(beside_python("mirror"))))
    return copy


def settings(name: str) -> Sequence[str]:
    """The values of a setting of the unit."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


def test_systemd_understands_all_of_the_unit(unit: Path) -> None:
    assert run("systemd-analyze", "verify", "--man=no", unit) == ""


def test_the_unit_exposes_little() -> None:
    run("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", UNIT)


def test_a_stop_is_given_the_time_that_transfers_are_given(
    services: dict[str, dict[str, Any]], pod: dict[str, Any]
) -> None:
    patience = Config().drain_timeout
    [of_the_unit] = settings("TimeoutStopSec")
    assert timedelta(seconds=int(of_the_unit)) > patience
    assert parse_duration(services["mirror"]["stop_grace_period"]) > patience
    assert timedelta(seconds=pod["terminationGracePeriodSeconds"]) > patience

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from yarl import URL

from mirror.cli.check.advice import advice
from mirror.cli.check.report import document, lines
from mirror.cli.check.targets import WELL_KNOWN, all_endpoints
from mirror.config import Config
from mirror.proxy.rate_limit import RateLimit
from mirror.upstream.probing.diagnosis import Reason
from mirror.upstream.probing.findings import Fault, Findings, Step

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
HUB = URL("https://registry-1.docker.io")


def findings() -> Findings:
    return Findings("docker.io", HUB, WELL_KNOWN[str(HUB)], seconds=0.123)


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("has_credentials", [False, True])
@pytest.mark.parametrize("withheld_from", [None, "https://auth.example"])
def test_there_is_something_to_do_about_everything(
    reason: Reason, has_credentials: bool, withheld_from: str | None
) -> None:
    found = findings()
    found.withheld_from = withheld_from
    line = advice(found, Fault(Step.HEAD, reason, "what happened"), has_credentials=has_credentials)
    assert line.startswith("docker.io: what happened; ")
    assert "{" not in line
    assert "None" not in line


def test_the_table_has_a_row_an_endpoint_and_a_column_a_step() -> None:
    found = findings()
    found.failed(Step.DNS, Reason.NAME, "its name does not resolve")
    heading, row, empty, line, _, verdict = lines(Config(), [found], NOW)
    steps = (step.upper() for step in Step)
    assert heading.split() == ["UPSTREAM", "ENDPOINT", *steps, "TIME", "VIA", "AS", "LIMIT", "IMAGE"]
    assert row.split() == [
        *(
            "docker.io",
            str(HUB),
            "failed",
            "-",
            "-",
            "-",
            "-",
            "-",
            "0.12",
            "s",
            "direct",
            "anonymous",
            "-",
            "library/alpine:latest",
        )
    ]
    assert row.index("failed") == heading.index("DNS")
    assert (empty, verdict) == ("", "1 endpoint: 1 failed")
    assert line.startswith("docker.io: ")


def test_a_proxy_is_named_without_what_it_wants_to_be_told(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2")
    proxy = {"url": "http://proxy.lan:3128", "username": "ci", "password_file": str(tmp_path / "password")}
    config = Config(upstreams={"docker.io": {"proxy": proxy}})  # type: ignore[dict-item]
    [_, row, *_] = lines(config, [findings()], NOW)
    assert "  http://proxy.lan:3128  anonymous" in row
    [entry] = document(config, [findings()])["endpoints"]
    assert entry["proxy"] == "http://proxy.lan:3128"
    assert "hunter2" not in row + json.dumps(entry)


def test_what_is_well_is_not_spoken_of() -> None:
    found = findings()
    found.certificate_until = NOW + timedelta(days=15)
    found.clock_ahead = -59.0
    assert lines(Config(), [found], NOW)[2:] == ["", "1 endpoint: all good"]


def test_an_endpoint_that_is_asked_without_credentials_is_not_counted_as_an_account() -> None:
    accelerator, first, second = (findings() for _ in range(3))
    accelerator.endpoint = URL("http://accelerator.example")
    second.account = 1
    assert lines(Config(), [accelerator, first, second], NOW)[-1] == "2 endpoints with 2 accounts: all good"
    assert lines(Config(), [accelerator, first], NOW)[-1] == "2 endpoints: all good"


def test_what_may_become_a_trouble_is() -> None:
    found = findings()
    found.certificate_until = NOW + timedelta(days=13)
    found.clock_ahead = -61.0
    found.rate_limit = RateLimit(100, 3, None)
    [_, _, _, certificate, clock, rate, _, _] = lines(Config(), [found], NOW)
    assert certificate == f"docker.io: {HUB}: its certificate ends on 2026-12-09; its owner has to renew it"
    assert clock.startswith(f"docker.io: {HUB}: its clock is 61 s ahead of this machine's")
    assert rate.startswith(f"docker.io: {HUB}: its rate limit leaves 3 of 100 pulls, which are for what is not cached")


def test_json_says_the_same() -> None:
    good, bad = findings(), findings()
    bad.failed(Step.TOKEN, Reason.REFUSED, "https://auth.docker.io cannot be reached: connection refused")
    report = json.loads(json.dumps(document(Config(), [good, bad])))
    assert report["ok"] is False
    first, second = report["endpoints"]
    assert first["failure"] is None
    assert first["steps"] == dict.fromkeys(map(str, Step), "-")
    assert (second["failure"]["step"], second["failure"]["reason"]) == ("token", "refused")
    assert document(Config(), [good])["ok"] is True


def test_each_built_in_registry_has_an_image_to_ask_for() -> None:
    assert all(target.sample is not None for target in all_endpoints(Config()))
    assert {str(target.endpoint.url) for target in all_endpoints(Config())} == set(WELL_KNOWN)

"""Operation: health, metrics, Cache-Status, log lines, starting, stopping and refusing to start."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from mirror import __version__
from mirror.__main__ import main
from mirror.cli import commands
from mirror.config import Config, load
from mirror.errors import AddressUnavailable, ConfigError
from mirror.store.folder import Folder
from tests.fakes import content, faults
from tests.fakes.gate import Gate
from tests.fakes.journal import Journal
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_service import FakeTokenService
from tests.integration.asking import ask, check_cache_status, send
from tests.integration.cache_folder import CacheFolder
from tests.integration.command import Serving, configuration, run, serving, write
from tests.integration.conftest import RunningMirror, StartMirror
from tests.integration.raw_http import raw_client
from tests.integration.waiting import until_metric

IMAGE = content.image(layers=1)
LAYER = IMAGE.layers[0]
LARGE = content.blob(3 * 1024 * 1024, "large")
TAG = "/v2/owner/app/manifests/1.0"
BLOB = f"/v2/owner/app/blobs/{LAYER.digest}"
LARGE_BLOB = f"/v2/owner/app/blobs/{LARGE.digest}"
SOON = 20.0  # seconds that a busy machine may take; less than the 60 after which who takes nothing is cut anyway


@pytest.fixture(autouse=True)
def image(registry: FakeRegistry) -> None:
    registry.add_image("owner/app", "1.0", IMAGE)
    registry.put_blob("owner/app", LARGE)


async def page(mirror: RunningMirror, path: str = "/metrics", method: str = "GET") -> tuple[int, str]:
    """Status and text of a page of the admin listener."""
    plain = {"Accept-Encoding": "identity"}
    async with mirror.session.request(method, mirror.admin_url + path, headers=plain) as response:
        return response.status, await response.text()


# Health. -------------------------------------------------------------------------------------------------


async def test_the_admin_listener_tells_what_there_is_and_not_what_it_is_made_with(mirror: RunningMirror) -> None:
    status, body = await page(mirror, "/")
    paths = json.loads(body)["paths"]
    assert (status, paths[:3]) == (200, ["/livez", "/readyz", "/metrics"])
    for path in paths:
        # A repository is named behind its path, and only deleted; what is warmed is in a body.
        assert (await page(mirror, path))[0] == (404 if path.endswith(("/repositories", "/warm")) else 200)
    status, body = await page(mirror, "/nothing")
    assert (status, json.loads(body)["error"]["code"]) == (404, "unknown-path")
    for path in ("/", "/livez", "/nothing", "/metrics"):
        async with mirror.session.get(mirror.admin_url + path) as response:
            assert response.headers["Server"] == "mirror"


async def test_health_does_not_depend_on_upstreams(
    mirror: RunningMirror, registry: FakeRegistry, journal: Journal
) -> None:
    await registry.stop()
    assert (await mirror.get(TAG))[0].status == 502
    status, body = await page(mirror, "/livez")
    assert (status, json.loads(body)) == (200, {"status": "ok"})
    status, body = await page(mirror, "/readyz")
    assert (status, json.loads(body)) == (200, {"status": "ready", "degraded": []})
    assert not journal.entries


async def test_the_metrics_page_says_whether_the_mirror_is_ready_now(
    mirror: RunningMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreadable = 'mirror_degraded{trouble="unreadable"}'
    assert (await mirror.metric("mirror_ready"), await mirror.metric(unreadable)) == (1, 0)
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "readable", lambda _: False)
        assert (await mirror.metric("mirror_ready"), await mirror.metric(unreadable)) == (0, 1)
    assert (await mirror.metric("mirror_ready"), await mirror.metric(unreadable)) == (1, 0)


async def test_probes_do_not_get_into_each_others_way(mirror: RunningMirror) -> None:
    answers = await asyncio.gather(*(page(mirror, "/readyz") for _ in range(50)))
    assert [(status, json.loads(text)["degraded"]) for status, text in answers] == [(200, [])] * 50


async def test_the_admin_listener_serves_no_images_and_changes_nothing(mirror: RunningMirror) -> None:
    assert (await page(mirror, "/v2/"))[0] == 404
    assert (await page(mirror, TAG))[0] == 404
    for path in ("/livez", "/readyz", "/metrics"):
        for method in ("POST", "PUT", "DELETE"):
            assert (await page(mirror, path, method))[0] == 405


# Metrics. ------------------------------------------------------------------------------------------------

METRICS = {
    "mirror_requests_total": {"upstream", "kind", "outcome"},
    "mirror_request_duration_seconds": {"kind", "outcome"},
    "mirror_response_bytes_total": {"upstream", "source"},
    "mirror_upstream_requests_total": {"upstream", "kind", "status"},
    "mirror_upstream_request_duration_seconds": {"upstream", "kind"},
    "mirror_upstream_bytes_total": {"upstream"},
    "mirror_read_ahead_total": {"upstream", "outcome"},
    "mirror_blob_parts_total": {"upstream", "outcome"},
    "mirror_upstream_healthy": {"upstream", "endpoint"},
    "mirror_cache_bytes": set(),
    "mirror_cache_max_bytes": set(),
    "mirror_cache_objects": {"kind"},
    "mirror_connections": set(),
    "mirror_connections_max": set(),
    "mirror_connections_refused_total": {"reason"},
    "mirror_evictions_total": {"reason"},
    "mirror_evicted_age_seconds": set(),
    "mirror_fill_resumes_total": {"upstream"},
    "mirror_fills_in_flight": set(),
    "mirror_digest_mismatches_total": {"upstream"},
    "mirror_scrubbed_files_total": {"result"},
    "mirror_scrubbed_bytes_total": set(),
    "mirror_scrub_finished_timestamp_seconds": set(),
    "mirror_deleted_upstream_total": {"upstream"},
    "mirror_workers": set(),
    "mirror_worker_restarts_total": {"reason"},
    "mirror_warmed_total": {"outcome"},
    "mirror_hot_tags_refreshed_total": {"outcome"},
    "mirror_warming_round_finished_timestamp_seconds": set(),
    "mirror_warming_round_failed_images": set(),
    "mirror_ratelimit_limit": {"upstream"},
    "mirror_ratelimit_remaining": {"upstream"},
    "mirror_ratelimit_exhausted_in_seconds": {"upstream"},
    "mirror_ratelimit_spending": {"upstream", "spending"},
    "mirror_pulls_spent_total": {"upstream"},
    "mirror_token_requests_total": {"upstream", "outcome"},
    "mirror_visibility_checks_total": {"upstream", "outcome"},
    "mirror_ready": set(),
    "mirror_degraded": {"trouble"},
    "mirror_build_info": {"version"},
}
"""Every metric there is so far, with its labels."""

_SERIES = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")


def series(text: str) -> dict[tuple[str, frozenset[str]], float]:
    """Every series of a metrics page: name and labels, and its value."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            match = _SERIES.fullmatch(line)
            assert match is not None, line
            labels = frozenset(re.findall(r'(\w+="[^"]*")', match[2] or ""))
            found[re.sub(r"_(bucket|count|sum)$", "", match[1]), labels] = float(match[3])
    return found


async def test_every_metric_has_the_name_and_labels_it_is_promised_under(mirror: RunningMirror) -> None:
    await mirror.get(TAG)
    found: dict[str, set[str]] = {}
    for name, labels in series((await page(mirror))[1]):
        found.setdefault(name, set()).update(label.partition("=")[0] for label in labels)
    ours = {name: labels - {"le"} for name, labels in found.items() if name.startswith("mirror_")}
    assert ours == METRICS


async def test_what_happens_is_counted(start_mirror: StartMirror, registry: FakeRegistry) -> None:
    registry.absent("/v2/owner/gone/*")
    registry.always("/v2/owner/private/*", faults.status(403))
    registry.absent("/v2/owner/private/*")
    async with start_mirror(freshness={"tag_ttl": "0s"}) as mirror:
        for path in (TAG, TAG, BLOB, "/v2/owner/gone/manifests/1.0", "/v2/owner/private/manifests/1.0"):
            await mirror.get(path)
        await until_metric(mirror, "mirror_fills_in_flight", 0)
        await mirror.get(BLOB)
        await mirror.get(f"/v2/owner/app/manifests/{IMAGE.digest}")
        await registry.stop()
        await mirror.get(TAG)
        await mirror.get("/v2/owner/app/manifests/other")
        for path in ("/v2/", "/v2/_catalog", "/v2/INVALID/manifests/1.0"):
            await mirror.get(path)
        await mirror.get("/v2/owner/app/manifests/1.0?ns=quay.io")
        text = (await page(mirror))[1]

    values = series(text)

    def value(name: str, **labels: str) -> float:
        return values[name, frozenset(f'{key}="{held}"' for key, held in labels.items())]

    outcomes = {
        (labels, number)
        for (name, labels), number in values.items()
        if name == "mirror_requests_total" and number and 'upstream="docker.io"' in labels
    }
    assert outcomes == {
        (frozenset({'upstream="docker.io"', f'kind="{kind}"', f'outcome="{outcome}"'}), number)
        for kind, outcome, number in (
            ("manifest", "miss", 1),
            ("manifest", "hit", 1),
            ("manifest", "revalidated", 1),
            ("manifest", "stale", 1),
            ("manifest", "negative", 1),
            ("manifest", "denied", 1),
            ("manifest", "error", 1),
            ("blob", "miss", 1),
            ("blob", "hit", 1),
        )
    }
    upstream = {"upstream": "docker.io"}
    size = IMAGE.manifest.size
    assert value("mirror_response_bytes_total", source="upstream", **upstream) == size + LAYER.size
    assert value("mirror_response_bytes_total", source="cache", **upstream) >= 3 * size + LAYER.size
    assert value("mirror_upstream_bytes_total", **upstream) == size + LAYER.size
    assert value("mirror_upstream_requests_total", kind="manifest", status="200", **upstream) == 3
    assert value("mirror_upstream_requests_total", kind="manifest", status="404", **upstream) == 1
    assert value("mirror_upstream_requests_total", kind="manifest", status="403", **upstream) == 1
    assert value("mirror_upstream_requests_total", kind="manifest", status="none", **upstream) == 2
    assert value("mirror_upstream_requests_total", kind="blob", status="200", **upstream) == 1
    assert value("mirror_cache_objects", kind="manifest") == 1
    assert value("mirror_cache_objects", kind="blob") == 1
    assert value("mirror_cache_bytes") == size + LAYER.size
    assert value("mirror_fills_in_flight") == 0
    assert value("mirror_build_info", version=__version__) == 1


async def test_no_client_can_make_new_series(mirror: RunningMirror, registry: FakeRegistry) -> None:
    registry.absent("/v2/*")

    async def everything(name: str) -> None:
        missing = content.digest_of(name.encode())
        for path in (
            f"/v2/owner/{name}/manifests/{name}",
            f"/v2/owner/{name}/manifests/{missing}",
            f"/v2/owner/{name}/blobs/{missing}",
            f"/v2/{name.upper()}/manifests/1.0",
            f"/v2/{name}.example/a/manifests/1.0",
            f"/v2/a/manifests/1.0?ns={name}.example",
            f"/{name}",
        ):
            await ask(mirror, path, User_Agent=name, Host=f"{name}.test", Accept=f"x/{name}")
            await ask(mirror, path, name.upper())
        await mirror.get(TAG)

    await everything("first")
    await everything("first")
    before = series((await page(mirror))[1]).keys()
    for number in range(5):
        await everything(f"name{number}")
    text = (await page(mirror))[1]
    assert series(text).keys() == before
    assert "name" not in text.replace("mirror_", "")


async def test_bytes_of_an_answer_that_is_not_read_are_not_counted(
    mirror: RunningMirror, registry: FakeRegistry
) -> None:
    await mirror.get(TAG)
    counter = 'mirror_response_bytes_total{source="cache",upstream="docker.io"}'
    before = await mirror.metric(counter)
    await mirror.get(TAG, "HEAD")
    assert await mirror.metric(counter) == before
    await mirror.get(TAG)
    assert await mirror.metric(counter) == before + IMAGE.manifest.size


# Cache-Status. -------------------------------------------------------------------------------------------


async def test_cache_status_tells_how_an_answer_came_about(
    start_mirror: StartMirror, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.absent("/v2/owner/gone/*")
    registry.absent("/v2/owner/private/*")
    registry.always("/v2/owner/private/*", faults.status(403))
    registry.add_image("owner/copy", "1.0", IMAGE)
    digest = f"manifests/{IMAGE.digest}"
    confirmed = "fwd=stale; fwd-status=200; detail=access-confirmed"
    async with start_mirror() as mirror:

        async def told(path: str, method: str = "GET", **headers: str) -> str:
            answer = await ask(mirror, path, method, **headers)
            check_cache_status(answer.head.headers["cache-status"])
            return answer.head.headers["cache-status"].removeprefix("mirror").removeprefix("; ")

        assert await told(TAG) == "fwd=miss; stored"
        assert await told(TAG) == "hit"
        assert await told(TAG, "HEAD") == "hit"
        assert await told(f"/v2/owner/app/{digest}") == "hit"
        assert await told(f"/v2/owner/copy/{digest}") == confirmed
        assert await told(BLOB, "HEAD") == "fwd=miss"
        assert await told(BLOB) == "fwd=miss; stored"
        await until_metric(mirror, "mirror_fills_in_flight", 0)
        assert await told(BLOB) == "hit"
        assert await told(BLOB, Range="bytes=100-") == "hit"
        assert await told(f"/v2/owner/copy/blobs/{LAYER.digest}") == confirmed
        assert await told("/v2/owner/gone/manifests/1.0") == "fwd=miss; fwd-status=404; detail=manifest-unknown"
        assert await told("/v2/owner/gone/manifests/1.0") == "hit; detail=manifest-unknown"
        # What upstream really said to this, 401 or 403 and by whom, is not told.
        assert await told("/v2/owner/private/manifests/1.0") == "fwd=miss; detail=denied"
        assert await told("/v2/owner/private/manifests/1.0") == "hit; detail=denied"
        assert await told("/v2/owner/gone/blobs/" + LAYER.digest) == "fwd=miss; fwd-status=404; detail=blob-unknown"
        assert await told("/v2/owner/gone/blobs/" + LAYER.digest) == "hit; detail=blob-unknown"
        for path in ("/v2/", "/healthz", "/nothing", "/v2/INVALID/manifests/1.0", "/v2/a/manifests/1?ns=quay.io"):
            assert "fwd" not in await told(path)
            assert "hit" not in await told(path)
        assert "fwd" not in await told(TAG, "DELETE")
        assert (await send(mirror, b"nonsense\r\n\r\n")).head.headers["cache-status"] == "mirror"
        await registry.stop()
        # Nothing is cached of what could not be asked, remembered or not.
        for _ in range(2):
            assert await told("/v2/owner/app/manifests/other") == "detail=upstream-unreachable"
    await registry.start()
    async with start_mirror(freshness={"tag_ttl": "0s"}) as mirror:
        assert await told(TAG) == "fwd=stale; fwd-status=200"
        await registry.stop()
        assert (await told(TAG)).startswith("fwd=stale; detail=")


# The log. ------------------------------------------------------------------------------------------------


async def test_why_a_tag_is_stale_is_in_the_line_of_the_request(
    start_mirror: StartMirror, registry: FakeRegistry
) -> None:
    async with start_mirror(freshness={"tag_ttl": "0s"}) as mirror:
        await mirror.get(TAG)
        registry.always(TAG, faults.status(500))
        with capture_logs() as logs:
            # The first one was told by upstream, the second one remembers.
            for _ in range(2):
                assert (await mirror.get(TAG))[0].status == 200
            registry.heal()
            assert (await mirror.get(BLOB))[0].status == 200
    first, second, other = (line for line in logs if line["event"] == "request")
    assert (first["outcome"], first["status"]) == ("stale", 200)
    assert first["cause"] == "served stale: upstream answered 500"
    assert (second["outcome"], second["detail"]) == ("stale", "upstream-unavailable")
    assert not {"cause", "detail"} & set(other)
    assert {line["event"] for line in logs} <= {"request", "filled"}


async def some_requests(mirror: Serving) -> list[tuple[str, str, int]]:
    """Make requests of many kinds; return what the log should tell of each."""
    asked = [
        ("GET", "/v2/"),
        ("GET", "/healthz"),
        ("HEAD", TAG),
        ("GET", TAG),
        ("GET", f"{TAG}?ns=docker.io&canary=query"),
        ("GET", f"{TAG}?ns=quay.io"),
        ("GET", BLOB),
        ("GET", "/v2/owner/gone/manifests/1.0"),
        ("GET", "/v2/INVALID/manifests/1.0"),
        ("DELETE", TAG),
        ("GET", "/nothing"),
    ]
    story = []
    for method, path in asked:
        response, _ = await mirror.get(path, method, headers={"User-Agent": "test client/1.0", "X-Secret": "canary"})
        story.append((method, path.partition("?")[0], response.status))
    return story


def is_request(line: str) -> bool:
    return re.search(r'\bevent"?(=|: ")request\b', line) is not None


def fields(line: str) -> dict[str, Any]:
    """A log line in either format."""
    if line.startswith("{"):
        document: dict[str, Any] = json.loads(line)
        return document
    return dict(part.split("=", 1) for part in shlex.split(line))


HOSTILE_AGENTS = [
    b'a" status=500 event="request',
    b'a\\" event=request \\',
    b"a=b status=500",
    b"a\tb",
    b"\xff\xfe\x80",
    "caf\u00e9 \u2028 \u0085".encode(),
    b"a" * 20_000,
    b"",
]


@pytest.mark.parametrize("form", ["text", "json"])
async def test_one_line_a_request(
    registry: FakeRegistry, token_service: FakeTokenService, tmp_path: Path, form: str
) -> None:
    registry.absent("/v2/owner/gone/*")
    config = configuration(registry, token_service, tmp_path, log={"format": form})
    # Python's choice in a locale like en_US.UTF-8, whatever the locale here is.
    async with serving(config, tmp_path, {"PYTHONIOENCODING": "utf-8:strict"}) as mirror:
        story = await some_requests(mirror)
        lines = await mirror.logged(is_request, len(story))
        records = [fields(line) for line in lines]
        assert [(one["method"], one["path"], int(one["status"])) for one in records] == story
        for record in records:
            assert record["client"] == "127.0.0.1"
            assert record["user_agent"] == "test client/1.0"
            assert float(record["seconds"]) >= 0
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", record["timestamp"])
            assert (record["level"] == "info") == (int(record["status"]) < 400 or int(record["status"]) == 405)
            assert ("cause" in record) == (record["level"] == "warning")
        assert [one["outcome"] for one in records[2:5]] == ["miss", "hit", "hit"]
        assert [int(one["bytes"]) for one in records[2:5]] == [0, IMAGE.manifest.size, IMAGE.manifest.size]
        assert {one["upstream"] for one in records[2:5]} == {"docker.io"}
        assert (records[6]["kind"], int(records[6]["bytes"])) == ("blob", LAYER.size)

        for agent in HOSTILE_AGENTS:
            await ask_as(mirror, agent)
        lines = (await mirror.logged(is_request, len(story) + len(HOSTILE_AGENTS)))[len(story) :]
        assert [int(fields(line)["status"]) for line in lines] == [200] * len(HOSTILE_AGENTS)
        assert all(line.isprintable() and len(line) < 2000 for line in lines), lines

        mirror.terminate(signal.SIGINT)
        assert await mirror.exit_code() == 0
    assert len([line for line in mirror.log if is_request(line)]) == len(story) + len(HOSTILE_AGENTS)
    assert "canary" not in "\n".join(mirror.log)
    events = [fields(line)["event"] for line in mirror.log]
    assert (events[0], events.count("listening"), events.count("stopping")) == ("listening", 1, 1)
    assert not mirror.stderr


async def ask_as(mirror: Serving, agent: bytes) -> None:
    """A request with this User-Agent, to the byte."""
    host, _, port = mirror.address("public").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUser-Agent: " + agent + b"\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()
    await writer.wait_closed()


# Starting and stopping. ----------------------------------------------------------------------------------


async def test_a_stop_lets_a_slow_body_come_to_its_end(
    registry: FakeRegistry, token_service: FakeTokenService, tmp_path: Path
) -> None:
    gate = Gate()
    registry.fault(LARGE_BLOB, faults.stop_at(LARGE.size // 2, gate))
    async with serving(configuration(registry, token_service, tmp_path), tmp_path) as mirror:
        url = f"http://{mirror.address('public')}"
        async with mirror.session.get(url + LARGE_BLOB) as response:
            assert response.status == 200
            begun = await response.content.readexactly(1024 * 1024)
            # A connection that is open and idle must not hold the stop up.
            assert (await mirror.get("/v2/"))[0].status == 200
            mirror.terminate()
            await mirror.logged(lambda line: "stopping" in line)
            await refuses_connections(mirror)
            ready, body = await mirror.admin("/readyz")
            assert (ready.status, json.loads(body)["status"]) == (503, "not ready")
            assert (await mirror.admin("/livez"))[0].status == 200
            gate.open()
            assert begun + await response.content.read() == LARGE.data
        assert await mirror.exit_code() == 0
        assert not mirror.stderr
    folder = CacheFolder(tmp_path / "cache")
    assert LARGE.digest in folder.digests()
    assert not folder.partials()


async def refuses_connections(mirror: Serving) -> None:
    """Wait until nobody can connect any more."""
    host, _, port = mirror.address("public").rpartition(":")
    async with asyncio.timeout(45):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
                writer.close()
            except ConnectionRefusedError:
                return
            except ConnectionResetError:
                pass  # accepted by the kernel in the moment of closing
            await asyncio.sleep(0.01)


async def test_a_stop_finishes_a_fill_that_nobody_reads(
    start_mirror: StartMirror, registry: FakeRegistry, cache_folder: CacheFolder
) -> None:
    gate = Gate()
    registry.fault(LARGE_BLOB, faults.stop_at(LARGE.size // 2, gate))
    async with start_mirror() as mirror:
        async with mirror.session.get(mirror.url + LARGE_BLOB) as response:
            await response.content.readexactly(1024)
        await gate.reached()
        gate.open()
    assert LARGE.digest in cache_folder.digests()


async def test_a_stop_waits_no_longer_than_it_should(
    start_mirror: StartMirror, registry: FakeRegistry, cache_folder: CacheFolder
) -> None:
    gate = Gate()
    registry.fault(LARGE_BLOB, faults.stop_at(LARGE.size // 2, gate))
    reading = asyncio.Event()

    async def read(mirror: RunningMirror) -> None:
        async with mirror.session.get(mirror.url + LARGE_BLOB) as response:
            await response.content.readexactly(1024)
            reading.set()
            with pytest.raises(aiohttp.ClientError):
                await response.content.read()

    # Nothing opens the gate: the stop comes to its end by itself.
    async with start_mirror(drain_timeout="100ms") as mirror:
        client = asyncio.create_task(read(mirror))
        await reading.wait()
        await mirror.mirror.public.stop()
        await client
    assert LARGE.digest not in cache_folder.digests()


@asynccontextmanager
async def stalled(
    registry: FakeRegistry, token_service: FakeTokenService, folder: Path, drain_timeout: str, form: str = "json"
) -> AsyncIterator[Serving]:
    """A mirror with a client that takes nothing of a large body, though it keeps its connection."""
    huge = content.blob(16 * 1024 * 1024, "huge")
    registry.put_blob("owner/app", huge)
    config = configuration(registry, token_service, folder, drain_timeout=drain_timeout, log={"format": form})
    async with serving(config, folder) as mirror, raw_client(mirror.address("public"), receive_buffer=4096) as client:
        await client.ask(f"/v2/owner/app/blobs/{huge.digest}")
        assert (await client.head()).status == 200
        await mirror.logged(lambda line: "filled" in line)
        yield mirror
        assert len(await client.rest()) < huge.size


async def seconds_to_end(mirror: Serving) -> float:
    """How long the mirror still runs; it must end in order."""
    began = time.monotonic()
    assert await mirror.exit_code() == 0
    assert not mirror.stderr
    return time.monotonic() - began


def assert_cut_is_told(mirror: Serving) -> None:
    """The line of a request that was cut has the status that its client got, and says what happened."""
    (line,) = (line for line in mirror.log if is_request(line) and "/blobs/" in line)
    record = fields(line)
    assert int(record["status"]) == 200
    assert record["cause"].startswith("cut: ")
    assert 0 < int(record["bytes"]) < 16 * 1024 * 1024
    assert [fields(line)["event"] for line in mirror.log][-1] == "stopped"


@pytest.mark.parametrize("form", ["json", "text"])
async def test_a_stop_cuts_who_reads_nothing_when_the_time_is_over(
    registry: FakeRegistry, token_service: FakeTokenService, tmp_path: Path, form: str
) -> None:
    drain_timeout = 3.0 if form == "json" else 0.5
    async with stalled(registry, token_service, tmp_path, f"{drain_timeout * 1000:.0f}ms", form) as mirror:
        mirror.terminate()
        took = await seconds_to_end(mirror)
    assert drain_timeout - 0.2 < took < drain_timeout + SOON
    assert_cut_is_told(mirror)


async def test_a_stop_without_drain_timeout_cuts_at_once(
    registry: FakeRegistry, token_service: FakeTokenService, tmp_path: Path
) -> None:
    async with stalled(registry, token_service, tmp_path, "0s") as mirror:
        mirror.terminate()
        assert await seconds_to_end(mirror) < SOON
    assert_cut_is_told(mirror)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_cuts_at_once(
    registry: FakeRegistry, token_service: FakeTokenService, tmp_path: Path, second: signal.Signals
) -> None:
    async with stalled(registry, token_service, tmp_path, "1h") as mirror:
        mirror.terminate()
        await mirror.logged(lambda line: "stopping" in line)
        await refuses_connections(mirror)
        await asyncio.sleep(0.3)
        assert mirror.process.returncode is None
        mirror.terminate(second)
        mirror.terminate(second)
        assert await seconds_to_end(mirror) < SOON
    assert_cut_is_told(mirror)


async def test_a_second_signal_does_no_harm_whenever_it_comes(start_mirror: StartMirror) -> None:
    async with start_mirror() as running:
        running.mirror.hurry()
        assert (await running.get(TAG))[0].status == 200
    # Requests have ended and files are being closed.
    running.mirror.hurry()


async def test_a_fill_has_what_a_client_left_of_the_time(
    start_mirror: StartMirror, registry: FakeRegistry, cache_folder: CacheFolder
) -> None:
    gate = Gate()
    registry.fault(LARGE_BLOB, faults.stop_at(LARGE.size // 2, gate))
    async with start_mirror(drain_timeout="60s") as mirror:
        async with raw_client(mirror) as client:
            await client.ask(LARGE_BLOB)
            await client.head()
        await gate.reached()
        asyncio.get_running_loop().call_later(0.5, gate.open)
        began = time.monotonic()
    # Nobody reads it any more, and it is finished all the same; nothing else is waited for.
    assert LARGE.digest in cache_folder.digests()
    assert 0.4 < time.monotonic() - began < SOON


# Refusing to start. --------------------------------------------------------------------------------------


def is_one_line(code: object, stdout: str, stderr: str) -> str:
    """Fail unless this is how a command ends whose configuration is bad; return the one line without its prefix."""
    assert (code, stdout) == (78, ""), stderr
    assert stderr.startswith("mirror: ")
    assert stderr.endswith("\n")
    assert stderr.count("\n") == 1
    return stderr.removeprefix("mirror: ").rstrip("\n")


async def test_a_port_in_use_ends_the_command(
    registry: FakeRegistry, token_service: FakeTokenService, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        file = write(configuration(registry, token_service, tmp_path, listen=address), tmp_path)
        finished = await run("serve", "--config", file, folder=tmp_path)
    # Not 78: who starts it may try again.
    assert (finished.code, finished.stdout) == (1, "")
    assert finished.stderr == f"mirror: listen: {address} is in use\n"


async def refusal_to_start(start_mirror: StartMirror, kind: type[Any] = ConfigError, **overrides: Any) -> Any:
    """Why the mirror does not start: an error of this kind."""
    with pytest.raises(kind) as caught:
        async with start_mirror(**overrides):
            pytest.fail("it started")
    return caught.value


async def test_a_port_of_the_admin_listener_in_use(start_mirror: StartMirror) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        error = await refusal_to_start(start_mirror, AddressUnavailable, admin={"listen": address})
    assert (error.key, str(error)) == ("admin.listen", f"admin.listen: {address} is in use")


@pytest.mark.parametrize("address", ["192.0.2.1:5000", "nobody.invalid:5000", "[2001:db8::1]:5000"])
async def test_an_address_that_is_not_ours(start_mirror: StartMirror, address: str) -> None:
    error = await refusal_to_start(start_mirror, AddressUnavailable, listen=address)
    assert error.key == "listen"
    assert address in str(error)


async def test_an_address_that_may_not_be_listened_on_is_a_bad_configuration(
    start_mirror: StartMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("mirror.server.accepting.Door.open", refuse)
    error = await refusal_to_start(start_mirror, admin={"listen": "127.0.0.1:80"})
    assert str(error).endswith("127.0.0.1:80 cannot be listened on: permission denied")


async def test_a_cache_folder_that_is_a_file(start_mirror: StartMirror, cache_folder: CacheFolder) -> None:
    cache_folder.path.write_text("not a folder")
    assert (await refusal_to_start(start_mirror)).key == "cache.path"


async def test_a_cache_folder_that_may_not_be_written_to(
    start_mirror: StartMirror, cache_folder: CacheFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may write everywhere; this is what everybody else is told.
    def refuse(_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("mirror.store.cache.Cache._open", refuse)
    assert str(await refusal_to_start(start_mirror)) == (
        f"cache.path: {cache_folder.path}: the disk refused: Permission denied to user {os.geteuid()},"
        " who has to be able to write there"
    )


async def test_a_start_that_fails_leaves_nothing_behind(start_mirror: StartMirror, registry: FakeRegistry) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        await refusal_to_start(start_mirror, AddressUnavailable, listen=f"127.0.0.1:{taken.getsockname()[1]}")
    async with start_mirror() as mirror:
        assert (await mirror.get(TAG))[0].status == 200


CREDENTIALS = "username: ci, password_file: password"
BAD_FILES = {
    # What is wrong: the file, and how the complaint begins.
    "an unknown key": ("lisen: 0.0.0.0:5000", "lisen: "),
    "an unknown key further in": ("cache: {max_sise: 1GiB}", "cache.max_sise: "),
    "an unknown key of an upstream": ("upstreams: {docker.io: {endpoint: x}}", "upstreams.docker.io.endpoint: "),
    "a password in the file": (
        "upstreams: {docker.io: {credentials: {username: ci, password: CANARY}}}",
        "upstreams.docker.io.credentials.",
    ),
    "a size without unit": ("cache: {max_size: 50}", "cache.max_size: "),
    "a size that is none": ("cache: {max_size: much}", "cache.max_size: "),
    "a size that nothing fits into": ("cache: {max_size: 0GiB}", "cache.max_size: at least 1MiB is needed"),
    "a size just below the smallest": ("cache: {max_size: 1023KiB}", "cache.max_size: at least 1MiB is needed"),
    "a duration without unit": ("freshness: {tag_ttl: 5}", "freshness.tag_ttl: "),
    "a duration that is none": ("drain_timeout: soon", "drain_timeout: "),
    "an address without port": ("listen: 0.0.0.0", "listen: "),
    "a port out of range": ("admin: {listen: '127.0.0.1:70000'}", "admin.listen: "),
    "an endpoint that is no address": ("upstreams: {docker.io: {endpoints: [x]}}", "upstreams.docker.io.endpoints"),
    "an endpoint with a secret": (
        "upstreams: {docker.io: {endpoints: ['https://ci:CANARY@registry-1.docker.io']}}",
        "upstreams.docker.io.endpoints",
    ),
    "a default that is none": ("default_upstream: registry.test", "default_upstream: "),
    "a name for two upstreams": (
        "upstreams: {docker.io: {}, quay.io: {aliases: [docker.io]}}",
        "upstreams.quay.io.aliases: ",
    ),
    "private content for nobody in particular": (
        "upstreams: {docker.io: {serve_private: authenticated}}",
        "upstreams.docker.io.serve_private: ",
    ),
    "a password file that is not there": (
        f"upstreams: {{docker.io: {{serve_private: everyone, credentials: {{{CREDENTIALS}}}}}}}",
        "upstreams.docker.io.credentials.password_file: ",
    ),
    "an unknown log level": ("log: {level: CANARY}", "log.level: "),
    "a list": ("- a\n- b", "mirror.yaml is not a mapping"),
    "text": ("hello", "mirror.yaml is not a mapping"),
    "not YAML": ("listen: [1, 2\ncache: }CANARY", "mirror.yaml, line 2: "),
    "a key twice": ("listen: 127.0.0.1:0\nlisten: 127.0.0.1:0", "mirror.yaml, line 2: "),
    "a YAML tag that makes objects": ("listen: !!python/object/apply:os.system [CANARY]", "mirror.yaml, line 1: "),
    "a key that is a list": ("? [CANARY]\n: x", "mirror.yaml"),
    "binary": ("listen: \0\0", "mirror.yaml"),
    "a section that is a number": ("cache: 5", "cache: "),
    "several at once": ("cache: {max_size: 5}\nfreshness: {tag_ttl: 5}", "cache.max_size: "),
}


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[object, str, str]]:
    """The command in this process: how it ends and what it writes. It cannot serve."""

    def call(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("mirror.app.serve", lambda config: pytest.fail("it serves"))
        monkeypatch.setattr("sys.argv", ["mirror", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        written = capsys.readouterr()
        return caught.value.code, written.out, written.err

    return call


Command = Callable[..., tuple[object, str, str]]


@pytest.mark.parametrize(("text", "beginning"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_configuration_is_one_line_that_names_the_key(
    command: Command, tmp_path: Path, text: str, beginning: str
) -> None:
    write(text, tmp_path)
    line = is_one_line(*command("serve", "--config", "mirror.yaml"))
    assert line.startswith(beginning)
    assert "CANARY" not in line


BAD_ENVIRONMENTS = [
    ("MIRROR_CACHE__MAX_SIZE", "5", "cache.max_size: "),
    ("MIRROR_CACHE__MAX_SISE", "5GiB", "cache.max_sise: "),
    ("MIRROR_LOG__LEVEL", "CANARY", "log.level: "),
    ("MIRROR_UPSTREAMS", '{"docker.io": {"CANARY"', "MIRROR_UPSTREAMS is not JSON, for example "),
    ("MIRROR_CACH__MAX_SIZE", "CANARY", "MIRROR_CACH__MAX_SIZE: there is no field cach"),
    ("MIRROR_cach__MAX_SIZE", "CANARY", "MIRROR_cach__MAX_SIZE: there is no field cach"),
    ("MIRROR_UPSTREAMS", '{"docker.io": {"endpoints": "https://ci:CANARY@x"}}', "upstreams.docker.io.endpoints"),
]


@pytest.mark.parametrize(("name", "value", "beginning"), BAD_ENVIRONMENTS)
def test_a_bad_environment_is_one_line_that_names_the_key(
    command: Command, monkeypatch: pytest.MonkeyPatch, name: str, value: str, beginning: str
) -> None:
    monkeypatch.setenv(name, value)
    line = is_one_line(*command("serve"))
    assert line.startswith(beginning)
    assert "CANARY" not in line


def test_a_field_that_the_environment_sets_is_told_with_its_variable(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIRROR_CACHE__MAXSIZE", "3")
    line = is_one_line(*command("serve"))
    assert line == "cache.maxsize: unknown key; did you mean max_size? (from MIRROR_CACHE__MAXSIZE)"


def test_an_only_upstream_is_what_names_without_a_registry_mean(tmp_path: Path) -> None:
    assert load(Path(write("upstreams: {ghcr.io: {}}", tmp_path))).default_upstream == "ghcr.io"
    assert load(Path(write("upstreams: {ghcr.io: {}, docker.io: {}}", tmp_path))).default_upstream == "docker.io"


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.0.0.2:5001", "[::1]:5001"])
def test_listeners_that_do_not_meet(tmp_path: Path, listen: str) -> None:
    assert str(load(Path(write(f"listen: '{listen}'", tmp_path))).listen) == listen


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = write({"cache": {"path": "/nowhere", "max_size": "1GiB"}, "log": {"level": "debug"}}, tmp_path)
    monkeypatch.setenv("MIRROR_CACHE__MAX_SIZE", "100MiB")
    config = load(Path(file))
    assert config.cache.max_size == 100 * 1024 * 1024
    assert (str(config.cache.path), config.log.level) == ("/nowhere", "debug")


def test_upstreams_of_the_environment_are_merged_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = write({"upstreams": {"docker.io": {"hosts": ["mirror.test"]}, "quay.io": {}}}, tmp_path)
    monkeypatch.setenv("MIRROR_UPSTREAMS", '{"docker.io": {"private_network": true}, "ghcr.io": {}}')
    config = load(Path(file))
    assert set(config.upstreams) == {"docker.io", "quay.io", "ghcr.io"}
    assert config.upstreams["docker.io"].hosts == ("mirror.test",)
    assert config.upstreams["docker.io"].private_network


def test_upstreams_of_the_environment_are_merged_with_the_built_in_ones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIRROR_UPSTREAMS", '{"registry.test": {}}')
    assert {"docker.io", "ghcr.io", "registry.test"} < set(load(None).upstreams)


def test_what_kubernetes_puts_into_the_environment_of_a_service_called_mirror_does_no_harm(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MIRROR_PORT", "tcp://10.0.0.1:5000")
    monkeypatch.setenv("MIRROR_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("MIRROR_PORT_5000_TCP_ADDR", "10.0.0.1")
    assert load(Path(write({"listen": "127.0.0.1:0"}, tmp_path))).listen.port == 0


def test_a_configuration_that_cannot_be_read(command: Command, tmp_path: Path) -> None:
    for name in ("missing.yaml", "."):
        assert "cannot be read" in is_one_line(*command("serve", "--config", name))
    (tmp_path / "huge.yaml").write_text("#" * (2 * 1024 * 1024))
    assert "huge.yaml" in is_one_line(*command("serve", "--config", "huge.yaml"))


def test_a_configuration_that_may_not_be_read(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path(write("listen: 127.0.0.1:0", tmp_path))
    file.chmod(0)
    # Root may read everything; this is what everybody else is told.
    monkeypatch.setattr("os.access", lambda *_: False)

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    line = is_one_line(*command("serve", "--config", "mirror.yaml"))
    assert line == "mirror.yaml cannot be read: Permission denied"


@pytest.mark.parametrize("data", [b"listen: \xff\xfe", b"\0\x01\x02"])
def test_a_configuration_that_is_not_text(command: Command, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "mirror.yaml").write_bytes(data)
    assert is_one_line(*command("serve", "--config", "mirror.yaml")).startswith("mirror.yaml")


def test_an_upstream_that_is_only_named_has_its_defaults(tmp_path: Path) -> None:
    named = load(Path(write("upstreams:\n  docker.io:\n  ghcr.io:\n", tmp_path)))
    empty = load(Path(write({"upstreams": {"docker.io": {}, "ghcr.io": {}}}, tmp_path)))
    assert named == empty
    assert [endpoint.url.host for endpoint in named.upstreams["ghcr.io"].endpoints] == ["ghcr.io"]


def test_a_section_that_is_only_named_has_its_defaults(tmp_path: Path) -> None:
    assert load(Path(write("cache:\nfreshness:\nlog:\n", tmp_path))) == load(Path(write("{}", tmp_path)))


PLAIN = {
    "cache: {max_sise: 1GiB}": "cache.max_sise: unknown key; did you mean max_size?",
    "cache: {nonsense: 1GiB}": "cache.nonsense: unknown key",
    "lisen: x": "lisen: unknown key; did you mean listen?",
    "upstreams: {quay.io: {endpoint: x}}": "upstreams.quay.io.endpoint: unknown key; did you mean endpoints?",
    "upstreams: {quay.io: {credentials: {user: x}}}": (
        "upstreams.quay.io.credentials.user: unknown key; did you mean username?"
    ),
    "upstreams: {quay.io: {endpoints: [quay.io]}}": (
        "upstreams.quay.io.endpoints.0.url: the scheme is missing, http:// or https://"
    ),
    "upstreams: {quay.io: {proxy: 3128}}": ("upstreams.quay.io.proxy.url: the scheme is missing, http:// or https://"),
    "upstreams: {quay.io: {serve_private: some}}": (
        "upstreams.quay.io.serve_private: expected is 'nobody' or 'everyone'"
    ),
    "upstreams: {docker.io: {aliases: [GHCR.io]}, ghcr.io: {}}": (
        "upstreams.docker.io.aliases: GHCR.io already means ghcr.io"
    ),
    "upstreams: {docker.io: {}, Docker.io: {}}": "upstreams.Docker.io: Docker.io already means docker.io",
    "admin: {listen: '0.0.0.0:5000'}": (
        "admin.listen: 0.0.0.0:5000 is what clients pull from (listen); give it another port"
    ),
    "listen: '127.0.0.1:5001'": "admin.listen: 127.0.0.1:5001 is what clients pull from (listen); give it another port",
    "a: [b": "mirror.yaml, line 1: expected ',' or ']', but got '<stream end>'",
    "a: {b: [c}": "mirror.yaml, line 1: expected ',' or ']', but got '}'",
    "a:\n\tb: c": "mirror.yaml, line 2: found a tab that cannot start any token",
    "a: *secret": "mirror.yaml, line 1: found undefined alias …",
    "cache: 5": "cache: fields are expected below this",
    "upstreams: [docker.io]": "upstreams: names are expected below this, each with its fields",
    "cache: {path: 5}": "cache.path: a path is expected",
    "cache: {path: /}": "cache.path: a folder of the mirror's own is expected",
    "upstreams: {quay.io: {}, ghcr.io: {}}": "default_upstream: docker.io is not among the upstreams, which replace the"
    " built-in ones: name it there too, or another one here, such as default_upstream: ghcr.io",
}


@pytest.mark.parametrize(("text", "expected"), PLAIN.items(), ids=PLAIN.keys())
def test_what_is_wrong_is_said_in_plain_words(command: Command, tmp_path: Path, text: str, expected: str) -> None:
    write(text, tmp_path)
    assert is_one_line(*command("serve", "--config", "mirror.yaml")) == expected


def test_the_configuration_for_a_local_registry_has_a_cache_of_its_own() -> None:
    # Its library/alpine is not Docker Hub's, whose name it bears.
    root = Path(__file__).parents[2]
    local, usual = load(root / "deploy/local-registry.yaml"), load(root / "config.yaml")
    assert local.cache.path.resolve() not in {usual.cache.path.resolve(), Config().cache.path.resolve()}


def test_config_yaml_in_the_working_folder_is_the_default(command: Command, tmp_path: Path) -> None:
    write("lisen: x", tmp_path, "config.yaml")
    assert is_one_line(*command("serve")).startswith("lisen: ")


# The command. --------------------------------------------------------------------------------------------


def test_version_and_help(command: Command) -> None:
    assert command("--version") == (0, f"mirror {__version__}\n", "")
    for option in ("--help", "-h"):
        code, stdout, stderr = command(option)
        assert (code, stderr) == (0, "")
        assert stdout.startswith("Usage: mirror ")
        assert "serve" in stdout
    code, stdout, _ = command("serve", "--help")
    assert code == 0
    assert "--config FILE" in stdout


def test_each_command_is_told_in_a_whole_sentence(command: Command) -> None:
    _, stdout, _ = command("--help")
    told = stdout.partition("Commands:\n")[2].splitlines()
    assert len(told) == len([command for command in commands.commands.values() if not command.hidden])
    assert all(line.endswith(".") and not line.endswith("...") for line in told), stdout


def test_help_loads_nothing_that_commands_need() -> None:
    code = "import sys, mirror.__main__; print(*{'aiohttp', 'asyncio', 'pydantic', 'yaml'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


@pytest.mark.parametrize("arguments", ["serf", "--nonsense", "serve --nonsense", "serve more", "serve --config"])
def test_wrong_usage_is_2(command: Command, arguments: str) -> None:
    code, stdout, stderr = command(*arguments.split())
    assert (code, stdout) == (2, "")
    assert "Error: " in stderr
    assert "Traceback" not in stderr


async def test_the_console_script_is_the_same(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("mirror")
    process = await asyncio.create_subprocess_exec(script, "--version", stdout=asyncio.subprocess.PIPE, cwd=tmp_path)
    stdout, _ = await process.communicate()
    assert (process.returncode, stdout.decode()) == (0, f"mirror {__version__}\n")

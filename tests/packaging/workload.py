"""A short day in the life of a mirror: everything that its dashboard shows happens once or twice."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes import content, faults
from tests.fakes.auth import TokenAuth
from tests.fakes.gate import Gate
from tests.fakes.registry import FakeRegistry
from tests.fakes.script import Fault
from tests.fakes.token_service import FakeTokenService
from tests.integration.conftest import RunningMirror, docker_io
from tests.integration.raw_http import raw_client
from tests.integration.waiting import until_metric

from .prometheus import Prometheus

IMAGE = content.image(layers=2)
PASSWORD = "correct horse"
MIB = 1024 * 1024


@dataclass(frozen=True)
class Day:
    """What happens, with two upstreams: one with tokens and a private repository, one that goes away."""

    hub: FakeRegistry
    other: FakeRegistry
    tokens: FakeTokenService
    folder: Path

    def configuration(self) -> dict[str, Any]:
        """What the mirror is to be started with: a small cache, tags that are old at once, endless scrubs."""
        self._furnish()
        folder = self.folder
        (folder / "password").write_text(PASSWORD)
        (folder / "images").write_text("")
        credentials = {"username": "ci", "password_file": str(folder / "password")}
        return {
            "drain_timeout": "20s",
            "cache": {"max_size": "4MiB"},
            "freshness": {
                "tag_ttl": "0s",
                "stale_while_revalidate": "0s",
                "keep_deleted": "1d",
                "tag_rules": [{"match": "hot", "ttl": "1s"}],
            },
            "warm": {"file": str(folder / "images"), "platforms": ["all"], "every": "1s", "hot": True},
            "scrub": {"every": "1s", "bandwidth": "1GiB"},
            "upstreams": {
                "docker.io": {**docker_io(self.hub, self.tokens), "credentials": credentials, "read_ahead": True},
                "ghcr.io": docker_io(self.other, self.tokens),
            },
        }

    def _furnish(self) -> None:
        self.hub.auth = TokenAuth(self.tokens)
        self.hub.add_image("library/app", "1", IMAGE)
        self.hub.add_image("library/app", "hot", IMAGE)
        self.hub.add_image("team/secret", "1", IMAGE)
        self.hub.absent("/v2/library/app/manifests/missing")
        self.tokens.accounts = {"ci": PASSWORD}
        self.tokens.restrict("team/*", "ci")
        for tag in ("1", "old"):
            self.other.add_image("owner/app", tag, IMAGE)

    async def goes_by(self, mirror: RunningMirror, prometheus: Prometheus) -> None:
        """Let everything happen but the end."""
        await self._pulls(mirror)
        await self._warming(mirror)
        await self._refusals(mirror)
        await self._trouble(mirror)
        await self._shared_fill(mirror, prometheus)
        await self._evictions(mirror)
        await self._deletion(mirror)
        await self._limits(mirror, prometheus)
        await self._outage(mirror)

    async def _pulls(self, mirror: RunningMirror) -> None:
        for _ in ("cold", "warm"):
            listings = ("tags/list", f"referrers/{IMAGE.digest}")
            for path in ("manifests/1", *(f"blobs/{blob.digest}" for blob in IMAGE.blobs), *listings):
                assert (await mirror.get(f"/v2/library/app/{path}"))[0].status == 200
            await until_metric(mirror, "mirror_fills_in_flight", 0)

    async def _warming(self, mirror: RunningMirror) -> None:
        """A tag that is asked for again and again, and an image to be warmed that there is not."""
        for _ in range(3):
            assert (await mirror.get("/v2/library/app/manifests/hot"))[0].status == 200
        await until_metric(mirror, 'mirror_hot_tags_refreshed_total{outcome="unchanged"}', 1)
        (self.folder / "images").write_text("app:missing\n")
        await until_metric(mirror, "mirror_warming_round_failed_images", 1)

    async def _refusals(self, mirror: RunningMirror) -> None:
        assert (await mirror.get("/v2/library/app/manifests/missing"))[0].status == 404
        assert (await mirror.get("/v2/team/secret/manifests/1"))[0].status == 403
        async with raw_client(mirror) as client:
            await client.send(b"\x16\x03\x01 this is not HTTP\r\n\r\n")

    async def _trouble(self, mirror: RunningMirror) -> None:
        """A transfer that is cut, and one that brings wrong bytes."""
        for fault in (faults.cut_at(MIB // 2), faults.wrong_bytes()):
            await self._get(mirror, self._blob(fault))

    async def _shared_fill(self, mirror: RunningMirror, prometheus: Prometheus) -> None:
        """Two clients, one fill, which stands still until it has been seen."""
        gate = Gate()
        path = self._blob(faults.stop_at(MIB // 2, gate))
        async with asyncio.TaskGroup() as clients:
            for _ in range(2):
                clients.create_task(self._get(mirror, path))
            await gate.reached()
            await seen(prometheus, "mirror_fills_in_flight", 1)
            gate.open()

    async def _evictions(self, mirror: RunningMirror) -> None:
        for _ in range(5):
            await self._get(mirror, self._blob(faults.healthy))
            await until_metric(mirror, "mirror_fills_in_flight", 0)

    async def _deletion(self, mirror: RunningMirror) -> None:
        """The other upstream deletes a tag, which is served on."""
        for _ in ("there", "deleted"):
            assert (await mirror.get("/v2/ghcr.io/owner/app/manifests/old"))[0].status == 200
            self.other.repositories["owner/app"].tags.pop("old", None)
            self.other.absent("/v2/owner/app/manifests/old")

    async def _limits(self, mirror: RunningMirror, prometheus: Prometheus) -> None:
        """The other upstream begins to count, until nothing is left."""
        for left in (50, 5, 0):
            told = {"ratelimit-limit": f"{50 + left};w=60", "ratelimit-remaining": f"{left};w=60"}
            self.other.headers = told
            assert (await mirror.get("/v2/ghcr.io/owner/app/manifests/1"))[0].status == 200
            await seen(prometheus, 'mirror_ratelimit_remaining{upstream="ghcr.io"}', left)

    async def _outage(self, mirror: RunningMirror) -> None:
        """The other upstream goes away: a tag is served stale, others not at all, and then it is asked no more."""
        assert (await mirror.get("/v2/ghcr.io/owner/app/manifests/1"))[0].status == 200
        await self.other.stop()
        assert (await mirror.get("/v2/ghcr.io/owner/app/manifests/1"))[0].status == 200
        for tag in ("2", "3", "4"):
            assert (await mirror.get(f"/v2/ghcr.io/owner/app/manifests/{tag}"))[0].status in (502, 503)
        endpoint = f'mirror_upstream_healthy{{endpoint="{self.other.url}",upstream="ghcr.io"}}'
        await until_metric(mirror, endpoint, 0)

    async def ends(self, mirror: RunningMirror, prometheus: Prometheus) -> asyncio.Task[None]:
        """Begin a fill that will go on for as long as the mirror has not been seen to drain."""
        gate = Gate()
        client = asyncio.create_task(self._get(mirror, self._blob(faults.stop_at(MIB // 2, gate))))
        await gate.reached()
        client.cancel()

        async def open_when_seen() -> None:
            await seen(prometheus, "mirror_ready", 0)
            gate.open()

        return asyncio.create_task(open_when_seen())

    def _blob(self, fault: Fault) -> str:
        """The path of a blob of 1 MiB that nobody has asked for yet, and whose first answer has a fault."""
        blob = content.blob(MIB, len(self.hub.repositories["library/app"].blobs))
        self.hub.put_blob("library/app", blob)
        path = f"/v2/library/app/blobs/{blob.digest}"
        self.hub.fault(path, fault)
        return path

    async def _get(self, mirror: RunningMirror, path: str) -> None:
        response, body = await mirror.get(path)
        assert (response.status, len(body)) == (200, MIB)


async def seen(prometheus: Prometheus, series: str, value: float) -> None:
    """Wait until Prometheus has this value of a series."""
    async with asyncio.timeout(60):
        while await asyncio.to_thread(prometheus.now, series) != [value]:  # noqa: ASYNC110  # a service to ask
            await asyncio.sleep(0.05)


async def scraped(prometheus: Prometheus, times: int) -> None:
    """Wait until Prometheus has asked the mirror so many more times."""
    async with asyncio.timeout(60):
        before = await asyncio.to_thread(_count, prometheus)
        while await asyncio.to_thread(_count, prometheus) < before + times:  # noqa: ASYNC110  # a service to ask
            await asyncio.sleep(0.05)


def _count(prometheus: Prometheus) -> float:
    return sum(prometheus.now("count_over_time(up[10m])"))
